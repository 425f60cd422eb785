// Records that come from another host, and what replication asks of a volume.
#include <algorithm>
#include <cstring>

#include "core/volume/volume.h"

namespace cloudfs {

HelloFrame Volume::hello() const {
  HelloFrame hello;
  hello.volume = id_;
  hello.head = {made_.lsn, made_.epoch(), made_.public_id};
  hello.commit_lsn = committed_;
  hello.synced_lsn = own_.synced;
  hello.has_volume = true;
  return hello;
}

Lsn Volume::durable_wanted() const {
  const Lsn waiting = durable_waiters_.empty() ? 0 : durable_waiters_.back().lsn;
  return made_.mode == Mode::durable ? std::max(waiting, placed_lsn()) : waiting;
}

void Volume::want_sync() {
  // What was accepted this turn is not in a batch yet.
  if (!run_bodies_.empty()) accepted_sync_ = true;
  parts_.appender.want_sync(parts_.appender.made());
}

void Volume::ask_to_advance() {
  parts_.host.advance_soon(*this);
}

void Volume::serve() {
  for (Operation* operation : std::exchange(parked_, {})) {
    --operations_;
    submit(*operation);
  }
  parts_.host.make_soon(*this);
}

void Volume::create_replica(const RunView& run, NodeId parent) {
  const RecordView record = *run.records().begin();
  const Result<CreatePayload> payload = decode_create(record.payload());
  ensure(payload.ok(), "a run's payloads were checked");
  create_ = *payload;
  create_bytes_ = encode_create(*payload);
  is_witness_ = parts_.host.is_witness(create_.view);
  id_ = run.header().volume;
  begin_history(record, run.header().epoch, VersionId{id_.bytes}, parent);
  std::memcpy(parts_.appender.run_room(SegmentKind::user).data(), run.bytes().data(), run.bytes().size());
  if (replication_ != nullptr) run_bodies_.push_back({});
  parts_.appender.add_run(SegmentKind::user, run.header(), *this, cookie(made_.lsn));
}

Volume::Accepted Volume::accept_runs(const Slice& frame, ByteSpan runs, Taking taking, const Epoch& epoch) {
  Lsn last = 0;
  while (!runs.empty()) {
    const Result<RunView> run = decode_run(runs);
    if (!run) return {false, "ERR_RECORD_CORRUPT", run.error().message};
    const RunHeader& header = run->header();
    const size_t bytes = run->bytes().size();
    if (header.type != RunType::records || header.volume != id_)
      return {false, "ERR_RECORD_CORRUPT", "a run of another volume, or one that does not travel"};
    const uint32_t body_bytes = taking.headers ? 0 : header.body_bytes;
    if (body_bytes > runs.size() - bytes) return {false, "ERR_RECORD_CORRUPT", "a run without its body"};
    if (body_bytes < header.body_bytes && !is_witness_ && !has_run(*run))
      return {false, "ERR_WITNESS", "records without their blocks are for a witness"};
    const Slice body{frame.owner, runs.data() + bytes, is_witness_ ? 0 : body_bytes};
    const Accepted accepted = accept_run(*run, body, taking, epoch);
    if (accepted.wait || accepted.code != nullptr) return accepted;
    runs = runs.subspan(bytes + body_bytes);
    last = run->last_lsn();
  }
  return {.last = last};
}

/// Of what is applied the versions are not kept; the next run shows whether the histories are the same.
bool Volume::has_run(const RunView& run) const {
  const Lsn last = run.last_lsn();
  return last < applied_.lsn || (last <= made_.lsn && version_at(last) == run.header().last_public);
}

Volume::Accepted Volume::accept_run(const RunView& run, const Slice& body, Taking taking,
                                    const Epoch& epoch) {
  const RunHeader& header = run.header();
  if (header.first_lsn > made_.lsn + 1) return {false, "ERR_CHAIN_BROKEN", "a run that leaves a gap"};
  if (header.first_lsn <= made_.lsn) {
    if (has_run(run)) {
      // The leader does not ask again, and somebody may wait for it.
      if (taking.sync && own_.synced < run.last_lsn()) want_sync();
      return {};
    }
    // Before anything of it is dropped for that.
    if (const Accepted accepted = judge_force(run); accepted.code != nullptr) return accepted;
    // The leader's history differs from here on. What it never knew to be committed goes.
    if (header.first_lsn <= committed_)
      return {false, "ERR_HISTORY_DIVERGED", "a committed record would have to be dropped"};
    if (stamp_) return {false, "ERR_HISTORY_DIVERGED", "a primary drops no record"};
    if (own_.appended != made_.lsn) return {true};
    truncate(header.first_lsn - 1);
  }
  if (!verify_links(run, made_.public_id))
    return {false, "ERR_CHAIN_BROKEN", "a run does not follow from the head"};
  if (const char* why = view_refusal(run, epoch); why != nullptr) return {false, "ERR_EPOCH_STALE", why};
  if (const Accepted accepted = judge_force(run); accepted.code != nullptr) return accepted;
  if (stamp_ && !verify_tokens(run, *stamp_))
    return {false, "ERR_CHAIN_BROKEN", "a token is not the stamp's"};
  if (!is_witness_ && !verify_body_crcs(run, {body.data, body.size}))
    return {false, "ERR_BLOCK_CORRUPT", "a block differs from its checksum"};
  if (taking.check_digests && !is_witness_ && !verify_body_digests(run, {body.data, body.size}))
    return {false, "ERR_BLOCK_CORRUPT", "a block differs from its digest"};
  for (const RecordView record : run.records()) {
    if (record.kind() == RecordKind::create) return {false, "ERR_RECORD_CORRUPT", "a second creation"};
    if (record.kind() != RecordKind::write) continue;
    const size_t extents = record.extent_count();
    // A resize in the same run would be a run of its own.
    if (extents > 0 && record.extent(extents - 1).end() > made_.size_bytes / kBlockBytes)
      return {false, "ERR_RECORD_CORRUPT", "a record writes beyond the volume"};
  }

  constexpr SegmentKind kStream = SegmentKind::user;
  const Room room = parts_.appender.reserve(kStream, SpaceClass::shrink, run.bytes().size(), body.size);
  if (room != Room::ok) return {true};
  const std::span<uint8_t> out = parts_.appender.run_room(kStream);
  std::memcpy(out.data(), run.bytes().data(), run.bytes().size());
  if (body.size > 0) parts_.appender.add_body(kStream, body);
  std::vector<VersionId> versions;
  public_ids(run, versions);
  size_t index = 0;
  for (const RecordView record : run.records()) note_made(record, header, versions[index++]);
  accepted_sync_ |= taking.sync;
  if (stamp_) {
    RecordView last(nullptr, 0, 0);
    for (const RecordView record : run.records()) last = record;
    made_token_ = link_record(*stamp_, header, last).token;
  }
  if (replication_ != nullptr) run_bodies_.push_back({body});
  parts_.appender.add_run(kStream, header, *this, cookie(made_.lsn), !is_witness_);
  return {};
}

VersionId Volume::version_at(Lsn lsn) const {
  if (lsn == applied_.lsn) return applied_.public_id;
  if (lsn < applied_.lsn || lsn > made_.lsn) return {};
  return pending_[static_cast<size_t>(lsn - applied_.lsn - 1)].public_id;
}

void Volume::truncate(Lsn last) {
  ensure(last >= committed_ && own_.appended == made_.lsn && placed_ == pending_.size(),
         "only appended records that nobody knows to be committed are dropped");
  drop_pending(last, parts_.appender.made());
  own_.appended = std::min(own_.appended, last);
  own_.synced = std::min(own_.synced, last);
  // What is still to be told of the dropped records counts for those before them alone.
  cuts_.push_back(last);
  ++generation_;
}

bool Volume::try_drop_above(Lsn last) {
  if (made_.lsn <= last) return true;
  if (committed_ > last || own_.appended != made_.lsn || placed_ != pending_.size()) return false;
  truncate(last);
  return true;
}

void Volume::jump(const VolumeState& state, std::vector<uint8_t> link, NodeId head) {
  ensure(pending_.empty() && made_.lsn == applied_.lsn && run_bodies_.empty() && !stamp_,
         "a follower without pending records is moved on");
  // Older records of these lsns, dropped ones perhaps, are in the log still.
  superseded_.push_back({parts_.appender.made(), applied_.lsn});
  made_ = applied_ = state;
  applied_link_.restore(std::move(link));
  head_ = head;
  committed_ = state.lsn;
  touched_ = {};
  begin_views();
  parts_.host.on_head_moved(*this);
  wake_settled();
  if (head == 0) parts_.host.on_deleted(*this);
}

void Volume::forget_history() {
  ensure(pending_.empty() && run_bodies_.empty() && !stamp_,
         "a follower without pending records begins anew");
  own_ = {};
  cuts_.push_back(0);
  ++generation_;
  superseded_.push_back({parts_.appender.made(), 0});
  parts_.segments.forget_ranges(id_);
}

void Volume::landed() {
  own_.appended = std::max(own_.appended, applied_.lsn);
  own_.synced = std::max(own_.synced, applied_.lsn);
  parts_.host.advance_soon(*this);
}

CheckpointVolume Volume::describe() const {
  CheckpointVolume out;
  out.id = id_;
  out.head_node = head_;
  out.size_bytes = applied_.size_bytes;
  out.mode = applied_.mode;
  out.flags = applied_.deleted ? kVolumeDeleted : 0;
  out.name = create_.name;
  out.applied_lsn = applied_.lsn;
  out.applied_public = applied_.public_id;
  out.applied_link = applied_link_.bytes();
  out.epochs = applied_.epochs;
  out.view = applied_.view;
  out.create = create_bytes_;
  out.attach = applied_.attach;
  out.sessions = applied_.sessions;
  return out;
}

bool Volume::try_drop() {
  ensure(!stamp_, "a primary deletes by a record");
  if (own_.appended != made_.lsn || placed_ != pending_.size() || applying_ || operations_ > 0) return false;
  if (made_.lsn > committed_) truncate(committed_);
  if (!drained()) return false;
  made_.deleted = applied_.deleted = true;
  parts_.lineage.delete_volume(id_);
  head_ = 0;
  parts_.host.on_deleted(*this);
  return true;
}

void Volume::drop_pending(Lsn last, uint64_t sequence) {
  superseded_.push_back({sequence, last});
  while (!pending_.empty() && pending_.back().lsn > last) {
    const PendingRecord& dropped = pending_.back();
    ensure(dropped.operation == nullptr, "a follower's records have no client");
    const uint32_t blocks = dropped.kept_blocks;
    Segment& segment = parts_.segments.at(dropped.segment);
    for (uint32_t block = 0; block < blocks; ++block)
      parts_.segments.clear_live(segment, dropped.slot + block * (kBlockBytes / kSlotBytes));
    parts_.pending_blocks -= blocks;
    if (dropped.record.kind() != RecordKind::write) --pending_controls_;
    pending_.pop_back();
    --placed_;
  }
  made_ = state_at(last);
  while (views_.back().lsn > last) views_.pop_back();
  touched_ = {};
  for (size_t index = 0; index < pending_.size(); ++index) {
    const PendingRecord& kept = pending_[index];
    if (kept.end > kept.first) touched_.touch(kept.first, kept.end, kept.lsn);
  }
}

bool Volume::superseded(uint64_t sequence, const Epoch& epoch, Lsn lsn) const {
  // A start from a checkpoint behind the cut knows nothing of it; but an epoch and an lsn name one record.
  return epoch != epoch_at(made_.epochs, lsn) ||
         std::any_of(superseded_.begin(), superseded_.end(),
                     [&](const Superseded& cut) { return sequence <= cut.sequence && lsn > cut.last; });
}

}  // namespace cloudfs
