#include "core/log/log_scan.h"

#include <algorithm>
#include <tuple>

namespace cloudfs {

namespace {

// Read at a time: headers of some small batches that stand side by side, or one header and a bit of its bodies.
constexpr uint32_t kChunkBytes = 128u << 10;
// Batches as long as that have their headers read alone: most of what a chunk has would be bodies, which nobody looks at.
constexpr uint32_t kLongBatchBytes = 64u << 10;
constexpr uint32_t kHeaderChunkBytes = 8u << 10;

}  // namespace

LogScan::LogScan(IoQueue& io, uint32_t segment_bytes, std::vector<LogSource> sources,
                 LogScanListener& listener)
    : io_(io), segment_bytes_(segment_bytes), listener_(listener) {
  std::sort(sources.begin(), sources.end(), [](const LogSource& a, const LogSource& b) {
    return std::tie(a.header.start, a.header.first_sequence, a.header.logical) <
           std::tie(b.header.start, b.header.first_sequence, b.header.logical);
  });
  cursors_.reserve(sources.size());
  for (const LogSource& source : sources) {
    Cursor& cursor = cursors_.emplace_back();
    cursor.source = source;
    cursor.seal = batch_seal(source.header);
  }
}

std::optional<size_t> LogScan::candidate(SegmentKind kind, uint64_t sequence) const {
  // The start that governs this sequence: the newest one that began at or before it.
  uint64_t start = 0;
  for (const Cursor& cursor : cursors_)
    if (cursor.source.header.first_sequence <= sequence) start = std::max(start, cursor.source.header.start);
  std::optional<size_t> found;
  for (size_t index = 0; index < cursors_.size(); ++index) {
    const SegmentHeader& header = cursors_[index].source.header;
    if (header.start == start && header.kind == kind && header.first_sequence <= sequence) found = index;
  }
  return found;
}

LogScan::State LogScan::next(uint64_t sequence, ScannedBatch& out) {
  State result = State::end;
  for (const SegmentKind kind : {SegmentKind::user, SegmentKind::moved}) {
    const std::optional<size_t> index = candidate(kind, sequence);
    if (!index) continue;
    const State state = seek(cursors_[*index], sequence, out);
    if (state == State::found) return state;
    if (state != State::end) result = state;
  }
  return result;
}

LogScan::State LogScan::seek(Cursor& cursor, uint64_t sequence, ScannedBatch& out) {
  if (cursor.reading) return State::reading;
  while (!cursor.ended) {
    if (failed_) return State::failed;
    if (cursor.offset + kBatchHeaderBytes > segment_bytes_) break;
    const uint32_t chunk_bytes = cursor.is_long ? kHeaderChunkBytes : kChunkBytes;
    if (!load(cursor, kBatchHeaderBytes, chunk_bytes)) return State::reading;
    const ByteSpan bytes(cursor.chunk.data() + (cursor.offset - cursor.chunk_offset),
                         cursor.chunk_offset + cursor.chunk_bytes - cursor.offset);
    const Result<BatchHeader> peeked = peek_batch(bytes);
    if (!peeked.ok() || !lies_at(*peeked, cursor)) break;
    if (bytes.size() < peeked->padded_header_bytes()) {
      if (!load(cursor, peeked->padded_header_bytes(), chunk_bytes)) return State::reading;
      continue;
    }
    cursor.is_long = peeked->batch_bytes >= kLongBatchBytes;
    Result<BatchView> batch = decode_batch(bytes);
    if (!batch.ok()) {
      if (batch.error().code != ErrorCode::record_version) break;
      failed_ = true;
      return State::failed;
    }
    if (batch->header.sequence > sequence) return State::end;
    const uint32_t offset = cursor.offset;
    if (batch->header.sequence < sequence) {
      cursor.offset = offset + batch->header.batch_bytes;
      continue;
    }
    cursor.offset = offset + batch->header.batch_bytes;
    out.view = std::move(*batch);
    out.owner = cursor.chunk;
    out.physical = cursor.source.physical;
    out.kind = cursor.source.header.kind;
    return State::found;
  }
  cursor.ended = true;
  cursor.chunk = {};
  return State::end;
}

bool LogScan::lies_at(const BatchHeader& batch, const Cursor& cursor) const {
  const SegmentHeader& segment = cursor.source.header;
  return batch.segment == segment.logical && batch.offset == cursor.offset && batch.seal == cursor.seal &&
         batch.kind == segment.kind && batch.batch_bytes <= segment_bytes_ - cursor.offset;
}

LogScan::State LogScan::look_behind(uint64_t missing) {
  State result = State::end;
  uint64_t start = 0;
  for (const Cursor& cursor : cursors_)
    if (cursor.source.header.first_sequence <= missing) start = std::max(start, cursor.source.header.start);
  for (Cursor& cursor : cursors_) {
    // Of an earlier start's segments nothing counts from here on. A later start, which began behind the missing batch, had
    // it, and synced it before it wrote anything.
    if (cursor.source.header.start < start) continue;
    const State state = look_behind_in(cursor, missing);
    if (state == State::found || state == State::failed) return state;
    if (state == State::reading) result = state;
  }
  return result;
}

LogScan::State LogScan::look_behind_in(Cursor& cursor, uint64_t missing) {
  if (cursor.reading) return State::reading;
  const uint32_t step = 1u << kAlignLog2Min;
  for (; cursor.offset + kBatchHeaderBytes <= segment_bytes_; cursor.offset += step) {
    if (failed_) return State::failed;
    if (!load(cursor, kBatchHeaderBytes, kChunkBytes)) return State::reading;
    const ByteSpan bytes(cursor.chunk.data() + (cursor.offset - cursor.chunk_offset),
                         cursor.chunk_offset + cursor.chunk_bytes - cursor.offset);
    const Result<BatchHeader> peeked = peek_batch(bytes);
    if (!peeked.ok() || !lies_at(*peeked, cursor) || peeked->sequence <= missing ||
        peeked->synced_sequence < missing)
      continue;
    if (bytes.size() < peeked->padded_header_bytes() &&
        !load(cursor, peeked->padded_header_bytes(), kChunkBytes))
      return State::reading;
    if (decode_batch(
            {cursor.chunk.data() + (cursor.offset - cursor.chunk_offset), peeked->padded_header_bytes()})
            .ok())
      return State::found;
  }
  cursor.chunk = {};
  return State::end;
}

bool LogScan::load(Cursor& cursor, uint32_t bytes, uint32_t chunk_bytes) {
  const uint32_t wanted_end = cursor.offset + bytes;
  if (cursor.chunk && cursor.chunk_offset <= cursor.offset &&
      wanted_end <= cursor.chunk_offset + cursor.chunk_bytes)
    return true;
  cursor.chunk_offset = cursor.offset;
  cursor.chunk_bytes = std::min(std::max(bytes, chunk_bytes), segment_bytes_ - cursor.offset);
  cursor.chunk = BufferRef(cursor.chunk_bytes);
  cursor.reading = true;
  io_.read(*this, static_cast<uint64_t>(&cursor - cursors_.data()), cursor.source.physical, cursor.offset,
           cursor.chunk_bytes, cursor.chunk);
  return false;
}

void LogScan::on_io(uint64_t cookie, int error) {
  cursors_[cookie].reading = false;
  if (error != 0) {
    failed_ = true;
    error_ = error;
  }
  listener_.on_scan_ready();
}

}  // namespace cloudfs
