#include "core/volume/volume.h"

#include <algorithm>
#include <cerrno>

namespace cloudfs {

namespace {

/// Records of a placed run, whose bytes were made or checked here.
struct RecordCursor {
  explicit RecordCursor(ByteSpan run, Lsn first_lsn)
      : at(run.data() + kRunHeaderBytes), end(run.data() + run.size()), lsn(first_lsn) {}
  bool more() const { return at < end; }
  RecordView next() {
    const RecordView record(at, lsn++, body_offset);
    body_offset += record.data_blocks() * kBlockBytes;
    at += record.record_bytes();
    return record;
  }
  const uint8_t* at;
  const uint8_t* end;
  Lsn lsn;
  uint32_t body_offset = 0;
};

/// Blocks that a write record touches, from the first to the last.
std::pair<uint64_t, uint64_t> touched_blocks(const RecordView& record) {
  const size_t count = record.extent_count();
  if (count == 0) return {0, 0};
  return {record.extent(0).block, record.extent(count - 1).end()};
}

/// There is more than one voter.
bool have_others(std::span<const ViewInForce> views) {
  return std::any_of(views.begin(), views.end(), [](const ViewInForce& view) {
    return std::count_if(view.payload.members.begin(), view.payload.members.end(), is_voter) > 1;
  });
}

}  // namespace

// --- Life ---------------------------------------------------------------------------------------------------------

void Volume::restore(const VolumeId& id, const VolumeState& state, std::vector<uint8_t> link, NodeId head,
                     std::vector<uint8_t> create_payload) {
  id_ = id;
  const Result<CreatePayload> payload = decode_create(create_payload);
  ensure(payload.ok(), "a checkpoint's create payload was checked");
  create_ = *payload;
  create_bytes_ = std::move(create_payload);
  is_witness_ = parts_.host.is_witness(create_.view);
  made_ = applied_ = state;
  applied_link_.restore(std::move(link));
  head_ = head;
  committed_ = own_.appended = own_.synced = state.lsn;
  begin_views();
  parts_.host.on_history_begun(*this);
}

const char* Volume::replay(const RunView& run, const PlacedRun& placed, const Stamp* stamp, uint64_t frozen) {
  const RunHeader& header = run.header();
  std::vector<VersionId> versions;
  public_ids(run, versions);
  Segment& segment = parts_.segments.at(placed.segment);
  size_t index = 0;
  for (const RecordView record : run.records()) {
    const VersionId& version = versions[index++];
    if (record.lsn() <= applied_.lsn) {
      if (record.lsn() == applied_.lsn && version != applied_.public_id && placed.sequence > frozen)
        return "a record differs from the checkpoint's";
      continue;
    }
    // Older than the checkpoint, and no part of the history it holds: dropped when that was frozen.
    if (placed.sequence <= frozen && version_at(record.lsn() - 1) != version_before(record)) continue;
    // A follower dropped what its leader did not have, and went on from there.
    if (record.lsn() <= made_.lsn) drop_pending(record.lsn() - 1, placed.sequence - 1);
    if (record.lsn() != made_.lsn + 1) return "a record does not follow the one before it";
    if (version_before(record) != made_.public_id) return "a record's parent is not the one before it";
    if (record.kind() == RecordKind::write) {
      if (touched_blocks(record).second > made_.size_bytes / kBlockBytes)
        return "a record writes beyond the volume";
      if (record.data_blocks() > 0 && placed.body_slot == 0 && !is_witness_)
        return "a record without its blocks, in a store that is no witness of the volume";
    }
    PendingRecord& pending = note_made(record, header, version);
    place(pending, record, placed);
    segment.note_range(header.volume, record.lsn(), record.lsn());
    ++placed_;
    if (record.lsn() < run.last_lsn() || stamp == nullptr) continue;
    if (link_record(*stamp, header, record).public_id != version)
      return "a record's token is not the one its contents make";
  }
  return nullptr;
}

void Volume::replayed(Lsn committed) {
  own_.appended = own_.synced = made_.lsn;
  // What its primary knew to be committed is; the rest it, or the others, will tell. A witness is to know of less (W6).
  if (!is_witness_) committed_ = std::max(committed_, std::min(committed, made_.lsn));
  parts_.host.advance_soon(*this);
}

bool Volume::resume(const Epoch& epoch, const Stamp& stamp) {
  if (made_.epoch() != epoch) return false;
  const Result<ViewPayload> view = decode_view(made_.view);
  ensure(view.ok(), "a view's payload was checked");
  if (view->stamp_hash != stamp_hash(stamp)) return false;
  // The chain goes on from this token, which the stamp alone tells.
  const Token token = token_of(stamp, head_link());
  if (public_of(token) != made_.public_id) return false;
  made_token_ = token;
  stamp_ = stamp;
  return true;
}

void Volume::fail() {
  failed_ = true;
  end_operations(EIO, "ERR_STORE_FAILED", "the store stopped before it was synced");
}

// --- Records: made, placed, appended, synced ----------------------------------------------------------------------

PendingRecord& Volume::note_made(const RecordView& record, const RunHeader& run, const VersionId& public_id) {
  made_.absorb(record, run.epoch, run.session, public_id);
  PendingRecord& pending = pending_.push_back({});
  pending.lsn = record.lsn();
  pending.epoch = run.epoch;
  pending.session = run.session;
  pending.public_id = public_id;
  if (record.kind() == RecordKind::write) {
    std::tie(pending.first, pending.end) = touched_blocks(record);
    touched_.touch(pending.first, pending.end, pending.lsn);
  } else {
    ++pending_controls_;
    if (record.kind() == RecordKind::resize) {
      pending.end = UINT64_MAX;
      touched_.touch(0, UINT64_MAX, pending.lsn);
    }
  }
  if (record.kind() == RecordKind::view) {
    const Result<ViewPayload> view = decode_view(record.payload());
    ensure(view.ok(), "a record's payload was checked");
    note_view(run.epoch, record.lsn(), *view, (record.flags() & kFlagForce) != 0);
  }
  return pending;
}

void Volume::place(PendingRecord& pending, const RecordView& record, const PlacedRun& placed) {
  ensure(pending.batch == 0 && pending.lsn == record.lsn(), "a record is placed once, in order");
  pending.record = record;
  pending.owner = placed.bytes.owner;
  pending.segment = placed.segment;
  pending.slot = placed.body_slot + record.body_offset() / kSlotBytes;
  pending.batch = placed.sequence;
  const uint32_t blocks = placed.body_slot == 0 ? 0 : record.data_blocks();
  pending.kept_blocks = blocks;
  if (blocks == 0) return;
  parts_.segments.set_live(parts_.segments.at(placed.segment), pending.slot, blocks);
  parts_.pending_blocks += blocks;
}

void Volume::on_placed(const PlacedRun& run, uint64_t) {
  const Lsn first = load<uint64_t>(run.bytes.data + 56);
  RecordCursor records({run.bytes.data, run.bytes.size}, first);
  bool sync = made_.mode == Mode::durable || !durable_waiters_.empty() || view_lsn() > own_.synced;
  Lsn last = first;
  while (records.more()) {
    const RecordView record = records.next();
    last = record.lsn();
    if (record.kind() == RecordKind::create) continue;  // in force already
    PendingRecord& pending = pending_[placed_++];
    place(pending, record, run);
    if (const Operation* operation = pending.operation; operation != nullptr) {
      const bool is_whole = operation->last_lsn == record.lsn() && operation->cursor == operation->end;
      sync |= operation->request.fua || (is_whole && flush_habit_.wrote());
    }
  }
  parts_.segments.at(run.segment).note_range(id_, first, last);
  if (replication_ != nullptr) {
    sync |= std::exchange(accepted_sync_, false);
    replication_->on_placed(run, run_bodies_.front(), sync);
    run_bodies_.pop_front();
  }
  if (sync) parts_.appender.want_sync(run.sequence);
}

/// What of the records up to the lsn told was not dropped since.
Lsn Volume::kept_of(uint64_t told) const {
  Lsn lsn = told & kLsnMax;
  for (uint64_t cut = told >> 48; cut < generation_; ++cut) lsn = std::min(lsn, cuts_[cut]);
  return lsn;
}

void Volume::on_appended(uint64_t told, uint64_t) {
  own_.appended = std::max(own_.appended, kept_of(told));
  parts_.host.advance_soon(*this);
}

void Volume::on_synced(uint64_t told, uint64_t) {
  own_.synced = std::max(own_.synced, kept_of(told));
  parts_.host.advance_soon(*this);
}

// --- Commit, acknowledge, apply -----------------------------------------------------------------------------------

CommitInputs Volume::commit_inputs() const {
  const MemberProgress own{countable(), own_.synced};
  const Lsn view = parts_.plant == Plant::old_view_commit ? 0 : view_lsn();
  if (replication_ == nullptr) return {applied_.mode, own, {}, {&alone_, 1}, view};
  const bool counts_witness = parts_.plant == Plant::witness_counted_as_data;
  return {applied_.mode,           own,  replication_->peers(),
          replication_->quorums(), view, counts_witness ? kLsnMax + 1 : first_body_lsn()};
}

/// The first record behind what is committed that is more than its header (W1): any but a view's.
Lsn Volume::first_body_lsn() const {
  for (auto at = static_cast<size_t>(committed_ - applied_.lsn); at < placed_; ++at)
    if (pending_[at].record.kind() != RecordKind::view) return pending_[at].lsn;
  return placed_lsn() + 1;
}

void Volume::advance() {
  if (failed_) return;
  bool moved = false;
  for (bool more = true; more;) {
    more = false;
    // Though others may have it sooner: what is applied is read from here, and what is acknowledged is not to hang on
    // others alone.
    const Lsn point = follows()     ? *replication_->leader_commit()
                      : has_lease() ? commit_point(commit_inputs())
                                    : committed_;
    const Lsn own = follows() ? own_.appended : countable();
    const Lsn held = parts_.plant == Plant::commit_before_own_append ? placed_lsn() : own;
    committed_ = std::max(committed_, std::min(point, held));
    while (acknowledged_ < placed_ && pending_[acknowledged_].lsn <= committed_)
      acknowledge(pending_[acknowledged_++]);
    // Applying may change the mode, and with it what is committed.
    while (!applying_ && acknowledged_ > 0 && apply_front()) more = moved = true;
  }
  if (moved) {
    wake_settled();
    parts_.host.on_head_moved(*this);
  }
  answer_durable();
  if (replication_ != nullptr) replication_->on_advanced();
}

void Volume::acknowledge(PendingRecord& pending) {
  Operation* operation = std::exchange(pending.operation, nullptr);
  if (operation == nullptr || --operation->open_records > 0 || operation->stage != Operation::Stage::made)
    return;
  if (operation->error != 0) {
    answer(*operation, operation->error);
  } else if (operation->request.fua) {
    wait_durable(operation->last_lsn, operation, 0);
  } else {
    answer(*operation, 0);
  }
}

bool Volume::apply_front() {
  PendingRecord& pending = pending_.front();
  ensure(pending.lsn == applied_.lsn + 1 && pending.lsn <= committed_,
         "updates are applied in order, committed ones only");
  if (pending.record.kind() == RecordKind::write && is_witness_) {
    // There is nothing to read here: the map of a witness stays empty.
    parts_.pending_blocks -= pending.kept_blocks;
  } else if (pending.record.kind() == RecordKind::write) {
    MissingPages missing = prepare_write(pending.record);
    if (!missing.empty()) {
      applying_ = true;
      look_ahead(missing);
      parts_.page_reader.fetch(missing, *this);
      return false;
    }
    leave_version(pending.record);
    apply_write(pending);
    parts_.pending_blocks -= pending.kept_blocks;
  } else if (const MissingPages missing = prepare_control(pending.record); !missing.empty()) {
    applying_ = true;
    parts_.page_reader.fetch(missing, *this);
    return false;
  } else {
    leave_version(pending.record);
    apply_control(pending);
    --pending_controls_;
    parts_.host.make_soon(*this);
  }
  applied_.absorb(pending.record, pending.epoch, pending.session, pending.public_id);
  applied_link_.set(pending.record, pending.epoch, pending.session);
  const bool is_view = pending.record.kind() == RecordKind::view;
  pending_.pop_front();
  --placed_;
  --acknowledged_;
  if (is_view) {
    while (views_.size() > 1 && views_[1].lsn <= applied_.lsn) views_.erase(views_.begin());
    if (replication_ != nullptr) replication_->on_views_moved();
  }
  return true;
}

void Volume::on_pages(int error) {
  applying_ = false;
  if (error != 0) {
    parts_.host.on_map_unreadable(*this, error);
    return;
  }
  parts_.host.advance_soon(*this);
}

/// The record is about to be applied: what was shown is kept, so that it can be branched still.
void Volume::leave_version(const RecordView& record) {
  if (!writable()) return;
  Lineage& lineage = parts_.lineage;
  if (std::exchange(head_shown, false))
    lineage.keep_shown(head_, applied_.lsn, applied_.public_id, parts_.host.now_ns() + kShownNs);
  bool anchor = record.kind() == RecordKind::resize;
  const size_t extents = record.kind() == RecordKind::write ? record.extent_count() : 0;
  for (size_t index = 0; index < extents && !anchor; ++index) {
    const Extent extent = record.extent(index);
    anchor = extent.kind != ExtentKind::data && lineage.needs_anchor(head_, extent.block, extent.count);
  }
  if (anchor) lineage.set_anchor(head_, applied_.lsn, applied_.public_id);
}

MissingPages Volume::prepare_write(const RecordView& record) {
  MissingPages missing;
  for (size_t index = 0; index < record.extent_count() && missing.empty(); ++index) {
    const Extent extent = record.extent(index);
    missing = extent.kind == ExtentKind::data
                  ? parts_.lineage.prepare_write(head_, extent.block, extent.count)
                  : parts_.lineage.prepare_zero(head_, extent.block, extent.count);
  }
  return missing;
}

/// Adds the pages that records behind the front one lack: a volume whose map is not in memory would else take its updates one
/// read after the other.
void Volume::look_ahead(MissingPages& missing) {
  const size_t end = std::min(acknowledged_, kLookAheadRecords);
  for (size_t index = 1; index < end && missing.size() < kMissingMax; ++index) {
    const RecordView& record = pending_[index].record;
    if (record.kind() != RecordKind::write) return;  // the volume may have another size behind it
    for (const MissingPage& page : prepare_write(record))
      if (std::find(missing.begin(), missing.end(), page) == missing.end()) missing.push_back(page);
  }
}

void Volume::apply_write(const PendingRecord& pending) {
  const RecordView& record = pending.record;
  size_t stored = 0;
  for (size_t index = 0; index < record.extent_count(); ++index) {
    const Extent extent = record.extent(index);
    if (extent.kind != ExtentKind::data) {
      parts_.lineage.zero(head_, extent.block, extent.count, pending.lsn);
      continue;
    }
    entries_.clear();
    for (uint32_t block = 0; block < extent.count; ++block, ++stored) {
      const auto slot = static_cast<uint16_t>(pending.slot + stored * (kBlockBytes / kSlotBytes));
      entries_.push_back({pending.segment, slot, pending.lsn, record.block_crc(stored)});
    }
    parts_.lineage.write(head_, extent.block, entries_);
  }
}

// --- Answers ------------------------------------------------------------------------------------------------------

void Volume::answer(Operation& operation, int error) {
  Reply reply;
  reply.client = operation.request.client;
  reply.request = operation.request.request;
  // Of a store that failed: whoever came by a session asks the next primary, and whether it counts is for that one to say. Who
  // came directly, or to a volume that no other host votes on, has nobody else to ask, and is told.
  const bool asks_elsewhere = failed_ && operation.connection != 0 && have_others(views());
  reply.error = is_over(operation) || asks_elsewhere ? kUnanswered : error;
  reply.version = operation.version;
  if (reply.error > 0 && operation.connection != 0 && operation.request.sequence != 0 && !failed_)
    hold_behind(operation);
  parts_.host.reply(std::move(reply));
  finish(operation);
}

void Volume::finish(Operation& operation) {
  --operations_;
  parts_.host.release(operation);
}

void Volume::wait_durable(Lsn lsn, Operation* operation, uint64_t command) {
  if (operation != nullptr) operation->stage = Operation::Stage::sync;
  const auto at =
      std::upper_bound(durable_waiters_.begin(), durable_waiters_.end(), lsn,
                       [](Lsn wanted, const DurableWaiter& waiter) { return wanted < waiter.lsn; });
  durable_waiters_.insert(at, {lsn, operation, command});
  parts_.appender.want_sync(parts_.appender.made());
  parts_.host.advance_soon(*this);
}

void Volume::answer_durable() {
  if (durable_waiters_.empty() || !has_lease()) return;
  const Lsn synced = parts_.plant == Plant::flush_without_sync ? committed_ : durable_point(commit_inputs());
  const Lsn durable = std::min(synced, committed_);
  size_t count = 0;
  while (count < durable_waiters_.size() && durable_waiters_[count].lsn <= durable) ++count;
  if (count == 0) return;
  const std::vector<DurableWaiter> done(durable_waiters_.begin(),
                                        durable_waiters_.begin() + static_cast<std::ptrdiff_t>(count));
  durable_waiters_.erase(durable_waiters_.begin(),
                         durable_waiters_.begin() + static_cast<std::ptrdiff_t>(count));
  for (const DurableWaiter& waiter : done) {
    if (waiter.operation != nullptr) {
      answer(*waiter.operation, 0);
    } else {
      parts_.host.on_control_durable(waiter.command);
    }
  }
}

bool Volume::established() const {
  if (applied_.lsn > first_lsn()) return true;
  return (follows() ? *replication_->leader_commit() : commit_point(commit_inputs())) >= first_lsn();
}

std::vector<uint8_t> Volume::head_link() const {
  if (pending_.empty()) return applied_link_.bytes();
  ensure(placed_ == pending_.size(), "a head's link is asked for between turns");
  const PendingRecord& newest = pending_.back();
  return link_of(newest.epoch, newest.session, newest.record);
}

}  // namespace cloudfs
