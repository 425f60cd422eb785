#include "core/store/store.h"

#include <algorithm>

#include "core/base/hex.h"

namespace cloudfs {

namespace {

// A turn looks at this many entries for deletions and trims that are still being accounted for.
constexpr size_t kLineageStepEntries = 2048;
constexpr size_t kReapPages = 256;
constexpr size_t kEvictPages = 1024;
// So many checkpoints at most, for what the map takes in memory, where the log's length asks for one.
constexpr uint64_t kDirtyCheckpointsMax = 256;
// The head of a volume is told at most this often.
constexpr uint64_t kHeadEventNs = 50'000'000;
// And those of many volumes so often together: each event is passed on to the hosts that have the volume attached.
constexpr uint64_t kHeadEventNsEach = 10'000'000;
constexpr uint64_t kPrepareRetryNs = 1'000'000'000;
// A frame for which there was no room is offered again: most often something completes before.
constexpr uint64_t kStreamRetryNs = 2'000'000;

}  // namespace

std::string json_text(std::string_view text) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\u00";
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
  return out;
}

Store::Store(const CoreParams& given, IoQueue& queue, SuperblockWriter& superblock, Effects& out,
             CommandListener& commands)
    : params(given),
      segments(params.segment_log2, params.segment_limit),
      lineage(pages, [this](const Entry& entry) { free_block(entry); }),
      io(queue),
      page_reader(io, segments, pages, *this),
      read_gate(io, params.reads_in_flight_max),
      appender(params, io, segments, *this),
      locals(appender, *this),
      checkpoint(*this, superblock),
      cleaner(*this),
      records(*this),
      staging({*this, identity, appender, segments, lineage, page_reader}),
      streams(out),
      identity{superblock.current().store, superblock.current().host, superblock.current().generation},
      out_(out),
      commands_(commands) {}

// --- Inputs -------------------------------------------------------------------------------------------------------

void Store::submit(ClientOp op, Volume& volume, NodeId snapshot, uint64_t connection) {
  pace_.asked(now_ns_);
  Operation& operation = operations_.take();
  operation.request = std::move(op);
  operation.snapshot = snapshot;
  operation.connection = connection;
  volume.submit(operation);
}

void Store::create(Creation creation) {
  if (creation.branch_of != nullptr && creation.branch_of_snapshot == 0 && !creation.version)
    creation.branch_of->hold(true);
  creations_.push_back(std::move(creation));
}

void Store::put_local(const VolumeId& volume, const Epoch& epoch, LocalKind kind, std::vector<uint8_t> bytes,
                      uint64_t command) {
  puts_.push_back({volume, epoch, kind, std::move(bytes), command});
}

void Store::sync(uint64_t command) {
  sync_waits_.push_back({appender.want_next_sync(), command});
}

void Store::mind_syncs() {
  std::erase_if(sync_waits_, [this](const SyncWait& one) {
    if (appender.syncs_done() < one.sync) return false;
    commands_.on_done(one.command);
    return true;
  });
}

void Store::begin_checkpoint(uint64_t command) {
  // One that runs was frozen before: the next one counts.
  checkpoint_wanted_ = true;
  if (command != 0) next_checkpoint_commands_.push_back(command);
}

Volume* Store::find(const VolumeId& id) const {
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : at->second;
}

Volume& Store::add_volume() {
  volumes_.push_back(std::make_unique<Volume>(VolumeParts{appender, segments, forwards, lineage, page_reader,
                                                          read_gate, *this, pending_blocks_, params.plant}));
  return *volumes_.back();
}

void Store::list_volume(Volume& volume) {
  const bool added = by_id_.emplace(volume.id(), &volume).second;
  ensure(added, "a volume has an id of its own");
}

// --- The turn -----------------------------------------------------------------------------------------------------

void Store::begin(const StoreIdentity& self, uint64_t start, uint64_t last_sequence) {
  appender.begin(self, start, last_sequence);
  checkpoint.slots.begin(identity, start);
}

void Store::turn(uint64_t now_ns) {
  now_ns_ = now_ns;
  if (failed_) return;
  appender.set_now(now_ns);
  prepare_segments();
  space_short_ = false;
  streams.turn();
  hand_overs.step();
  staging.reap();
  // Commits make room for control records, and records that are made may be refused: until nothing moves.
  do {
    advance_volumes();
    make_locals();
    make_creations();
    make_records();
  } while (!to_advance_.empty() && !failed_);
  mind_resignations();
  // Who waits for a repair goes on in the turn in which it ends.
  repairs.step();
  cleaner.step();
  scrubber.step();
  records.step();
  block_answers_.step();
  appender.close_batches();
  background();
  prepare_segments();
  appender.turn(now_ns);
  advance_volumes();
  mind_syncs();
  if (params.elections) leases_.turn(now_ns);
  pace_.turn(now_ns, operations_.in_use());
  for (const auto& [id, leader] : leaders_) leader->turn(now_ns);
  for (const auto& [id, follower] : followers_) follower->turn();
  std::erase_if(retired_, [](const auto& leader) { return leader->done(); });
  tell_heads();
}

void Store::recovery_turn(uint64_t now_ns) {
  now_ns_ = now_ns;
  if (!failed_) advance_volumes();
}

void Store::background() {
  if (failed_) return;
  mind_space();
  if (!checkpoint.running() && (checkpoint_wanted_ || checkpoint_is_due())) {
    checkpoint_wanted_ = false;
    checkpoint_commands_ = std::exchange(next_checkpoint_commands_, {});
    freed_since_freeze_ = false;
    checkpoint.begin();
  }
  if (checkpoint.running()) checkpoint.step();
  if (failed_) return;
  lineage.expire_shown(now_ns_);
  if (lineage_waiter_.pages_missing == 0) {
    Lineage::Step step = lineage.step(kLineageStepEntries);
    lineage_idle_ = step.idle;
    if (!step.missing.empty()) page_reader.fetch(step.missing, lineage_waiter_);
  }
  pages_idle_ = pages.reap(kReapPages);
  if (!audits_.empty() && lineage_idle_) run_audits();
  if (!checkpoint.running() && pages.memory_bytes() > params.map_bytes_max) lineage.evict(kEvictPages);
}

bool Store::checkpoint_is_due() const {
  const uint64_t behind = checkpoint.log_bytes_behind();
  if (behind >= params.checkpoint_bytes) return true;
  // Pages can be dropped from memory once they are written. Not for every few that a small map has, though.
  return pages.dirty_bytes() > params.map_bytes_max / 4 * 3 &&
         behind >= params.checkpoint_bytes / kDirtyCheckpointsMax;
}

uint64_t Store::first_unapplied_batch() const {
  uint64_t first = appender.appended() + 1;
  for (const auto& volume : volumes_)
    if (!volume->pending().empty() && volume->pending().front().batch != 0)
      first = std::min(first, volume->pending().front().batch);
  return first;
}

void Store::advance_soon(Volume& volume) {
  if (std::exchange(volume.advance_wanted, true)) return;
  to_advance_.push_back(&volume);
}

void Store::make_soon(Volume& volume) {
  if (std::exchange(volume.make_wanted, true)) return;
  to_make_.push_back(&volume);
}

void Store::advance_volumes() {
  // Advancing one volume may ask for another, or for itself again.
  while (!to_advance_.empty() && !failed_) {
    std::vector<Volume*> batch;
    batch.swap(to_advance_);
    for (Volume* volume : batch) {
      volume->advance_wanted = false;
      volume->advance();
    }
  }
}

void Store::make_records() {
  std::vector<Volume*> batch;
  batch.swap(to_make_);
  for (Volume* volume : batch) {
    volume->make_wanted = false;
    if (failed_) return;
    // What waits for a segment or for space is asked again next turn.
    if (volume->make_records() != Room::ok) make_soon(*volume);
  }
}

void Store::make_locals() {
  while (!puts_.empty()) {
    LocalPut& put = puts_.front();
    const Room room =
        appender.reserve(SegmentKind::user, SpaceClass::vital, LocalItems::run_bytes(put.bytes.size()), 0);
    if (room == Room::wait) return;
    if (room == Room::ok) {
      locals.add(put.volume, put.epoch, put.kind, put.bytes, put.command);
    } else {
      local_failed(put.command, "ERR_STORE_FULL", "no free segment is left for it");
    }
    puts_.pop_front();
  }
}

void Store::make_creations() {
  rebuilding_ = false;
  for (size_t index = 0; index < creations_.size();) {
    if (try_create(creations_[index])) {
      creations_.erase(creations_.begin() + static_cast<std::ptrdiff_t>(index));
    } else {
      ++index;
    }
  }
}

void Store::prepare_segments() {
  // A file system that is full is asked again from time to time; what is ready can be used meanwhile.
  if (segments.prepare_failed() && now_ns_ - prepare_failed_ns_ < kPrepareRetryNs) return;
  const uint32_t ahead = segments.prepare_failed() ? segments.ready_count() + 1 : params.prepared_segments;
  while (const std::optional<uint32_t> physical = segments.next_to_prepare(ahead))
    io.prepare(*this, *physical, *physical);
}

void Store::on_io(uint64_t cookie, int error) {
  segments.prepared(static_cast<uint32_t>(cookie), error == 0);
  if (error != 0) prepare_failed_ns_ = now_ns_;
}

uint64_t Store::head_event_ns() const {
  return std::max(kHeadEventNs, kHeadEventNsEach * heads_moved_.size());
}

void Store::tell_heads() {
  for (size_t index = 0; index < heads_moved_.size();) {
    Volume& volume = *heads_moved_[index];
    if (now_ns_ - volume.head_event_ns < head_event_ns() && volume.head_event_ns != 0) {
      ++index;
      continue;
    }
    volume.head_event_ns = now_ns_;
    volume.head_shown = true;
    volume.head_event_wanted = false;
    event("head-moved", "{\"volume\":\"" + to_hex(volume.id()) +
                            "\",\"lsn\":" + std::to_string(volume.applied().lsn) + ",\"version\":\"" +
                            to_hex(volume.applied().public_id) + "\"}");
    heads_moved_[index] = heads_moved_.back();
    heads_moved_.pop_back();
  }
}

std::optional<uint64_t> Store::next_deadline_ns() const {
  std::optional<uint64_t> deadline = appender.next_deadline_ns();
  const auto at_latest = [&](uint64_t when) { deadline = deadline ? std::min(*deadline, when) : when; };
  if (failed_) return std::nullopt;
  for (const Volume* volume : heads_moved_) at_latest(volume->head_event_ns + head_event_ns());
  if (segments.prepare_failed()) at_latest(prepare_failed_ns_ + kPrepareRetryNs);
  const bool lineage_works = !lineage_idle_ && lineage_waiter_.pages_missing == 0;
  if (lineage_works || !pages_idle_ || checkpoint.eager() || (checkpoint_wanted_ && !checkpoint.running()))
    at_latest(now_ns_);
  if (space_short_ && !checkpoint.running() && !cleaner.busy()) at_latest(space_progress_ns_ + kSpaceGraceNs);
  if (streams.has_work() || !to_advance_.empty()) at_latest(now_ns_);
  if (rebuilding_ && rebuild_waiter_.pages_missing == 0) at_latest(now_ns_);
  if (const auto when = lineage.next_expiry_ns()) at_latest(*when);
  if (streams.has_waiting()) at_latest(now_ns_ + kStreamRetryNs);
  if (const auto when = leases_.next_deadline_ns()) at_latest(*when);
  if (const auto when = repairs.next_deadline_ns()) at_latest(*when);
  if (scrubber.has_work() || cleaner.has_work()) at_latest(now_ns_);
  for (const Resignation& one : resignations_) at_latest(one.until_ns);
  for (const auto& [id, leader] : leaders_)
    if (const auto when = leader->next_deadline_ns()) at_latest(*when);
  for (const auto& [id, follower] : followers_)
    if (follower->has_work()) at_latest(now_ns_);
  return deadline;
}

bool Store::quiet() const {
  return operations_.in_use() == 0 && appender.idle() && creations_.empty() && puts_.empty() &&
         io.in_flight() == 0;
}

// --- What parts tell ----------------------------------------------------------------------------------------------

void Store::fail(const char* code, const std::string& message) {
  if (std::exchange(failed_, true)) return;
  event("store-failed", std::string("{\"code\":\"") + code + "\",\"message\":" + json_text(message) + "}");
  for (const auto& volume : volumes_) volume->fail();
  for (const Creation& creation : std::exchange(creations_, {}))
    commands_.on_failed(creation.command, "ERR_STORE_FAILED", "the store stopped");
  for (const Resignation& one : std::exchange(resignations_, {}))
    commands_.on_failed(one.command, "ERR_STORE_FAILED", "the store stopped");
  for (const LocalPut& put : std::exchange(puts_, {}))
    local_failed(put.command, "ERR_STORE_FAILED", "the store stopped");
  cleaner.fail();
  records.fail();
  scrubber.fail();
  repairs.fail();
  for (std::vector<uint64_t>* commands : {&checkpoint_commands_, &next_checkpoint_commands_, &audits_})
    for (const uint64_t command : std::exchange(*commands, {}))
      commands_.on_failed(command, "ERR_STORE_FAILED", "the store stopped");
}

void Store::event(std::string name, std::string detail) {
  out_.events.push_back({std::move(name), std::move(detail)});
}

void Store::free_block(const Entry& entry) {
  freed_since_freeze_ = true;
  const Entry place = forwards.resolve(entry);
  segments.clear_live(segments.at(place.segment), place.slot);
}

void Store::move_block(const VolumeId& volume, const MovedBlock& block, uint32_t to_segment,
                       uint32_t to_slot) {
  Segment* from = segments.find(block.from_segment);
  if (from == nullptr || !from->holds(block.from_slot) || !from->is_live(block.from_slot)) return;
  segments.set_live(segments.at(to_segment), to_slot, 1);
  segments.clear_live(*from, block.from_slot);
  const Entry old_entry{block.from_segment, block.from_slot, block.birth, block.sum.crc};
  const Entry new_entry{to_segment, static_cast<uint16_t>(to_slot), block.birth, block.sum.crc};
  const Volume* owner = find(volume);
  if (owner != nullptr && owner->head() != 0 &&
      lineage.mend(owner->head(), block.block, old_entry, new_entry))
    return;
  forwards.add(block.from_segment, {block.from_slot, new_entry.slot, to_segment});
}

void Store::on_checkpointed(uint64_t sequence) {
  full_ = false;
  space_low_told_ = false;
  space_progress_ns_ = now_ns_;
  event("checkpointed", "{\"sequence\":" + std::to_string(sequence) + "}");
  for (const uint64_t command : std::exchange(checkpoint_commands_, {}))
    commands_.on_result(command, "{\"sequence\":" + std::to_string(sequence) + "}");
}

void Store::command_done(uint64_t command, std::string result) {
  full_ = false;
  space_low_told_ = false;
  space_progress_ns_ = now_ns_;
  if (command != 0) commands_.on_result(command, std::move(result));
}

void Store::command_payload(uint64_t command, std::string result, Slice payload) {
  commands_.on_result(command, std::move(result), std::move(payload));
}

void Store::command_failed(uint64_t command, const char* code, std::string message) {
  if (command != 0) commands_.on_failed(command, code, std::move(message));
}

void Store::on_control_made(const Volume& volume, uint64_t command, Lsn lsn, const VersionId& version) {
  commands_.on_control_made(command, volume, lsn, version);
}

void Store::on_control_durable(uint64_t command) {
  if (command != 0) commands_.on_done(command);
}

void Store::on_control_failed(uint64_t command, const char* code, const char* message) {
  if (command != 0) commands_.on_failed(command, code, message);
}

void Store::on_local_synced(uint64_t command) {
  if ((command & kPromiseItem) != 0) return promise_settled(command & ~kPromiseItem, true);
  commands_.on_done(command);
}

void Store::local_failed(uint64_t command, const char* code, const char* message) {
  if ((command & kPromiseItem) != 0) return promise_settled(command & ~kPromiseItem, false);
  commands_.on_failed(command, code, message);
}

void Store::on_head_moved(Volume& volume) {
  if (std::exchange(volume.head_event_wanted, true)) return;
  heads_moved_.push_back(&volume);
}

void Store::on_deleted(Volume& volume) {
  lineage_idle_ = false;
  event("volume-deleted", "{\"volume\":\"" + to_hex(volume.id()) + "\"}");
}

void Store::on_attached(const Volume& volume) {
  event("attached", "{\"volume\":\"" + to_hex(volume.id()) + "\"}");
}

bool Store::on_corrupt_block(const Volume& volume, uint64_t block, const Entry& entry, RepairWaiter& waiter) {
  note_corrupt(volume.id(), block, entry);
  return repairs.want(volume.id(), block, entry, &waiter);
}

void Store::note_corrupt(const VolumeId& volume, uint64_t block, const Entry& entry) {
  ++repairs.counts.corrupt;
  event("block-corrupt", "{\"volume\":\"" + to_hex(volume) + "\",\"block\":" + std::to_string(block) +
                             ",\"logical\":" + std::to_string(entry.segment) +
                             ",\"offset\":" + std::to_string(entry.slot * kSlotBytes) + "}");
}

void Store::on_corrupt_page(const Entry& entry, uint8_t level) {
  event("page-corrupt", "{\"level\":" + std::to_string(level) +
                            ",\"logical\":" + std::to_string(entry.segment) +
                            ",\"offset\":" + std::to_string(entry.slot * kSlotBytes) + "}");
}

void Store::on_map_unreadable(Volume& volume, int error) {
  fail("ERR_STORE_CORRUPT", "a map page of volume " + to_hex(volume.id()) + " cannot be read (errno " +
                                std::to_string(error) + "): its updates cannot be applied");
}

void Store::on_append_failed(const char* what, int error) {
  fail("ERR_STORE_IO", std::string(what) + " failed with errno " + std::to_string(error) +
                           ": nothing after it was acknowledged");
}

void Store::on_sealed(const Segment& segment) {
  event("segment-sealed", "{\"logical\":" + std::to_string(segment.logical) + "}");
}

}  // namespace cloudfs
