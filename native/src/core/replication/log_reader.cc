#include "core/replication/log_reader.h"

#include <algorithm>
#include <cerrno>

#include "core/format/batch.h"
#include "core/volume/volume.h"

namespace cloudfs {

namespace {

// Read at once; a longer batch is read whole.
constexpr uint32_t kPieceBytes = 256u << 10;

}  // namespace

LogReader::~LogReader() {
  ensure(!in_flight_ || io_.closed(), "a log reader outlives its reads");
}

bool LogReader::read(Lsn lsn, LogReaderOwner& owner, bool inside) {
  ensure(owner_ == nullptr, "one request at a time");
  lsn_ = lsn;
  inside_ = inside;
  owner_ = &owner;
  if (in_flight_) return true;  // of a cancelled request: this one starts when it is back
  if (!find()) {
    owner_ = nullptr;
    return false;
  }
  fetch(kPieceBytes);
  return true;
}

void LogReader::cancel() {
  owner_ = nullptr;
  logical_ = 0;
}

bool LogReader::find() {
  const auto holds = [&](const Segment& segment) {
    if (segment.free() || segment.kind != SegmentKind::user) return false;
    return std::any_of(segment.ranges.begin(), segment.ranges.end(), [&](const LsnRange& range) {
      return range.volume == volume_.id() && range.first <= lsn_ && lsn_ <= range.last;
    });
  };
  // Of several the newest: records that were dropped and written anew lie in older ones too.
  const Segment* best = nullptr;
  for (const Segment& segment : segments_.places())
    if (holds(segment) && (best == nullptr || segment.logical > best->logical)) best = &segment;
  if (best == nullptr) return false;
  // On from where the last request ended, if this one begins there: a follower may be given the same lsns again.
  if (best->logical == logical_ && lsn_ == next_ && offset_ < best->used_bytes) return true;
  logical_ = best->logical;
  offset_ = kSegmentHeaderBytes;
  return true;
}

void LogReader::fetch(uint32_t bytes) {
  Segment& segment = segments_.at(logical_);
  ensure(offset_ < segment.used_bytes, "a segment's records end where it does");
  const uint32_t length = std::min(bytes, segment.used_bytes - offset_);
  ++segment.pins;
  pinned_ = logical_;
  in_flight_ = true;
  piece_ = BufferRef(length);
  io_.read_aside(*this, ++asked_, segment.physical, offset_, length, piece_);
}

void LogReader::on_io(uint64_t, int error) {
  in_flight_ = false;
  --segments_.at(pinned_).pins;
  if (owner_ == nullptr) {
    piece_ = {};
    return;
  }
  std::vector<LogReaderOwner::Run> none;
  if (error != 0) return deliver(none, error);
  if (logical_ == pinned_) return parse();
  // The request that this read was for is cancelled; the one that waits starts now.
  if (!find()) return deliver(none, ENODATA);
  fetch(kPieceBytes);
}

void LogReader::parse() {
  std::vector<LogReaderOwner::Run> runs;
  const size_t size = piece_.size();
  size_t at = 0;
  const uint32_t piece_offset = offset_;
  Lsn next = lsn_;
  while (size - at >= kBatchHeaderBytes) {
    const Result<BatchHeader> header = peek_batch({piece_.data() + at, size - at});
    if (!header || header->segment != logical_ || header->offset != offset_) return deliver(runs, EIO);
    if (header->sequence > appender_.appended()) break;
    if (header->batch_bytes > size - at) break;
    const Result<BatchView> batch = decode_batch({piece_.data() + at, header->batch_bytes});
    if (!batch) return deliver(runs, EIO);
    for (const BatchRun& placed : batch->runs) {
      const RunView& run = placed.run;
      if (run.header().type != RunType::records || run.header().volume != volume_.id()) continue;
      const bool holds = run.header().first_lsn == next ||
                         (inside_ && run.header().first_lsn < next && next <= run.last_lsn());
      if (!holds || volume_.superseded(header->sequence, run.header().epoch, next)) continue;
      const ByteSpan body{piece_.data() + at + placed.body_offset, placed.body_bytes()};
      // A witness has none.
      if (body.size() == run.header().body_bytes) {
        if (!verify_body_crcs(run, body)) return deliver(runs, EIO);
        if (digests_ == Digests::check && !verify_body_digests(run, body)) return deliver(runs, EIO);
      }
      runs.push_back(
          {run, {piece_, run.bytes().data(), run.bytes().size()}, {piece_, body.data(), body.size()}});
      next = run.last_lsn() + 1;
    }
    at += header->batch_bytes;
    offset_ = piece_offset + static_cast<uint32_t>(at);
  }
  next_ = next;
  if (!runs.empty()) return deliver(runs, 0);
  // Not here yet: on with what follows, or the whole of a batch that is longer than the piece.
  uint32_t bytes = kPieceBytes;
  if (at == 0 && size >= kBatchHeaderBytes) {
    const Result<BatchHeader> header = peek_batch({piece_.data(), size});
    if (header && header->sequence > appender_.appended()) return deliver(runs, EAGAIN);
    if (header) bytes = std::max(bytes, header->batch_bytes);
  }
  if (offset_ >= segments_.at(logical_).used_bytes) {
    // Its range names the lsn, but no run starts with it: the caller asked for the middle of a run.
    logical_ = 0;
    return deliver(runs, ENODATA);
  }
  fetch(bytes);
}

void LogReader::deliver(std::vector<LogReaderOwner::Run>& runs, int error) {
  piece_ = {};
  if (error != 0) logical_ = 0;
  LogReaderOwner* owner = std::exchange(owner_, nullptr);
  owner->on_runs(runs, runs.empty() ? error : 0);
}

}  // namespace cloudfs
