#include "core/store/recovery.h"

#include <algorithm>

#include "core/store/store.h"

namespace cloudfs {

namespace {

// Batches in memory that are not replayed; past this the scan waits for them.
constexpr size_t kScannedMax = 1024;
// Committed records that a volume has replayed and not applied, for lack of map pages; past this the replay waits.
constexpr size_t kPendingMax = 4096;
// Batches replayed in one turn.
constexpr size_t kBatchesPerTurn = 256;

constexpr uint64_t kCookieKind = uint64_t{1} << 32;  // low half: index or place
constexpr uint64_t kCookieBody = 3;
constexpr uint64_t kCookieSync = 4;

}  // namespace

Recovery::Recovery(Store& store, SuperblockWriter& superblock, RecoveryListener& listener)
    : store_(store), superblock_(superblock), listener_(listener) {}

void Recovery::step() {
  eager_ = false;
  if (failed_) return;
  switch (phase_) {
    case Phase::tree:
      return read_tree();
    case Phase::mark:
      return mark();
    case Phase::headers:
      return read_headers();
    case Phase::replay:
      return replay();
    case Phase::apply:
      return apply();
    case Phase::sync:
    case Phase::superblock:
    case Phase::done:
      return;
  }
}

void Recovery::fail(const char* code, const std::string& message) {
  if (std::exchange(failed_, true)) return;
  listener_.on_recovery_failed(code, message);
}

void Recovery::on_io(uint64_t cookie, int error) {
  eager_ = true;
  if (failed_) return;
  const uint64_t kind = cookie / kCookieKind;
  const uint64_t index = cookie % kCookieKind;
  if (kind == kCookieTree) {
    tree_page_read(index, error);
  } else if (kind == kCookieHeader) {
    header_read(index, error);
  } else if (kind == kCookieBody) {
    --body_reads_;
    if (error != 0) fail("ERR_STORE_IO", "the log cannot be read: errno " + std::to_string(error));
  } else {
    if (error != 0)
      return fail("ERR_STORE_IO", "what was recovered cannot be synced: errno " + std::to_string(error));
    phase_ = Phase::superblock;
    Superblock next = superblock_.current();
    ++next.starts;
    superblock_.write(next, *this);
  }
}

// --- Roll-forward -------------------------------------------------------------------------------------------------

void Recovery::replay() {
  for (size_t count = 0; count < kBatchesPerTurn; ++count) {
    if (!scan_ended_ && scanned_.size() < kScannedMax && !take_batches()) return;
    if (failed_) return;
    if (scanned_.empty()) {
      if (scan_ended_) {
        phase_ = Phase::apply;
        eager_ = true;
      }
      return;
    }
    const uint64_t sequence = scanned_.front().view.header.sequence;
    if (sequence > synced_ && sequence > verified_) {
      // Perhaps a later batch tells that this one was synced; else its bodies tell whether it is whole.
      if (!scan_ended_ && scanned_.size() < kScannedMax) {
        eager_ = true;
        return;
      }
      if (!verify_front()) return;
      if (failed_ || scanned_.empty()) continue;
    }
    if (!replay_front()) return;
  }
  eager_ = true;
}

bool Recovery::take_batches() {
  while (end_ == 0 && scanned_.size() < kScannedMax) {
    ScannedBatch batch;
    switch (scan_->next(next_scanned_, batch)) {
      case LogScan::State::found:
        synced_ = std::max(synced_, batch.view.header.synced_sequence);
        ++next_scanned_;
        scanned_.push_back(std::move(batch));
        continue;
      case LogScan::State::reading:
        return !scanned_.empty() && scanned_.front().view.header.sequence <= synced_;
      case LogScan::State::failed:
        scan_failed();
        return false;
      case LogScan::State::end:
        end_ = next_scanned_;
    }
  }
  return end_ == 0 || look_behind();
}

bool Recovery::look_behind() {
  if (end_ <= synced_) {
    corrupt("the log ends at batch " + std::to_string(end_) + ", but batch " + std::to_string(synced_) +
            " was synced");
    return false;
  }
  switch (scan_->look_behind(end_)) {
    case LogScan::State::found:
      corrupt("batch " + std::to_string(end_) +
              " of the log is damaged: it was synced, and later ones are whole");
      return false;
    case LogScan::State::reading:
      return false;
    case LogScan::State::failed:
      scan_failed();
      return false;
    case LogScan::State::end:
      scan_ended_ = true;
      return true;
  }
  return true;
}

void Recovery::scan_failed() {
  if (scan_->error() == 0) return fail("ERR_STORE_VERSION", "the log holds runs of a later format version");
  fail("ERR_STORE_IO", "the log cannot be read: errno " + std::to_string(scan_->error()));
}

bool Recovery::verify_front() {
  const ScannedBatch& front = scanned_.front();
  const BatchHeader header = front.view.header;
  const uint32_t bodies = header.batch_bytes - header.padded_header_bytes();
  if (bodies > 0 && !body_) {
    body_ = BufferRef(header.batch_bytes);
    ++body_reads_;
    store_.io.read(*this, kCookieBody * kCookieKind, front.physical, header.offset, header.batch_bytes,
                   body_);
    return false;
  }
  if (body_reads_ > 0) return false;
  const bool whole = bodies == 0 || store_.params.plant == Plant::torn_tail_accepted ||
                     verify_batch_bodies(front.view, {body_.data(), header.batch_bytes}).ok();
  body_ = {};
  if (whole) {
    verified_ = header.sequence;
    return true;
  }
  // Torn: the log ends before it, and none of what lies behind was synced.
  scanned_.clear();
  end_ = header.sequence;
  eager_ = !scan_ended_;
  return scan_ended_;
}

bool Recovery::replay_front() {
  const ScannedBatch& batch = scanned_.front();
  const BatchHeader& header = batch.view.header;
  Segment& segment = store_.segments.at(header.segment);
  for (; replaying_run_ < batch.view.runs.size(); ++replaying_run_) {
    const BatchRun& placed_run = batch.view.runs[replaying_run_];
    if (!may_replay(placed_run.run)) return false;
    PlacedRun placed;
    const ByteSpan bytes = placed_run.run.bytes();
    placed.bytes = {batch.owner, bytes.data(), bytes.size()};
    placed.segment = header.segment;
    placed.body_slot =
        placed_run.body_offset == 0 ? 0 : (header.offset + placed_run.body_offset) / kSlotBytes;
    placed.sequence = header.sequence;
    if (const char* why = replay_run(placed_run.run, placed); why != nullptr) {
      corrupt("batch " + std::to_string(header.sequence) + " in segment " + std::to_string(header.segment) +
              " at " + std::to_string(header.offset) + ": " + why);
      return false;
    }
  }
  replaying_run_ = 0;
  segment.used_bytes = std::max(segment.used_bytes, header.offset + header.batch_bytes);
  segment.last_sequence = std::max(segment.last_sequence, header.sequence);
  last_sequence_ = header.sequence;
  store_.checkpoint.replayed(header.batch_bytes);
  if (header.sequence > synced_ &&
      std::find(unsynced_.begin(), unsynced_.end(), batch.physical) == unsynced_.end())
    unsynced_.push_back(batch.physical);
  scanned_.pop_front();
  return true;
}

bool Recovery::may_replay(const RunView& run) {
  const RunHeader& header = run.header();
  if (header.type != RunType::records) return true;
  if (const Volume* volume = store_.find(header.volume))
    return volume->committed() - volume->applied().lsn < kPendingMax;
  if (!starts_volume(run)) return true;
  const Result<CreatePayload> payload = decode_create((*run.records().begin()).payload());
  ensure(payload.ok(), "a record's payload was checked");
  // A witness keeps nothing that a branch could stand on, and believes no header that its parent's records are committed (W6).
  if (!payload->parent || store_.is_witness(payload->view)) return true;
  Volume* parent = store_.find(payload->parent->volume);
  if (parent == nullptr) return true;
  // A branch stands on all of its parent's records before it, applied; so they were known to be committed when it was made.
  parent->replayed(payload->parent->lsn);
  return parent->applied().lsn >= std::min(payload->parent->lsn, parent->made().lsn);
}

const char* Recovery::replay_run(const RunView& run, const PlacedRun& placed) {
  const RunHeader& header = run.header();
  switch (header.type) {
    case RunType::local:
      store_.locals.replay(run);
      return nullptr;
    case RunType::moved:
      return store_.replay_moved(run, placed);
    case RunType::records:
      return store_.replay_records(run, placed, checkpoint_.store.next_sequence - 1);
  }
  return "a run of no known type";
}

// --- The end ------------------------------------------------------------------------------------------------------

void Recovery::apply() {
  for (const auto& volume : store_.volumes())
    if (volume->applied().lsn < volume->committed()) return;
  // What was found is all there is: segments of the log are closed, both streams go on in fresh ones.
  store_.segments.list_free();
  phase_ = Phase::sync;
  // The superblock that was read may be in the page cache alone; the other copy, which is written next, may be the only one
  // on stable storage.
  unsynced_.push_back(kSuperblockRegion);
  store_.io.sync(*this, kCookieSync * kCookieKind, std::move(unsynced_));
}

void Recovery::on_superblock(int error) {
  if (error != 0)
    return fail("ERR_STORE_IO", "the superblock cannot be written: errno " + std::to_string(error));
  phase_ = Phase::done;
  // What was being staged or sent when the store ended begins anew.
  std::set<NodeId> heads;
  for (const auto& volume : store_.volumes()) heads.insert(volume->head());
  store_.lineage.drop_other_heads(heads);
  store_.lineage.drop_strays();
  for (const auto& volume : store_.volumes()) {
    if (store_.is_dropped(volume->id()) && !volume->applied().deleted)
      ensure(volume->try_drop(), "nothing is under way after recovery");
  }
  listener_.on_recovered(superblock_.current().starts, last_sequence_);
}

}  // namespace cloudfs
