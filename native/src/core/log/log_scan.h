// Finds the batches of the log in the order of their sequence, over all segments that may hold some.
//
// Within one start, segments of a stream follow one another, and a batch is in the newest one whose first sequence is not
// above its own. What a start's first segment calls its first sequence voids what segments of earlier starts hold from
// there on: a tail that was torn, and given up, when that start recovered.
#pragma once

#include <optional>
#include <vector>

#include "core/base/io_queue.h"
#include "core/format/batch.h"

namespace cloudfs {

/// A segment of the log, as its header tells.
struct LogSource {
  uint32_t physical = 0;
  SegmentHeader header;
};

struct ScannedBatch {
  BatchView view;
  BufferRef owner;  // of the bytes that `view` shows
  uint32_t physical = 0;
  SegmentKind kind = SegmentKind::user;
};

class LogScanListener {
 public:
  /// next() can be asked again.
  virtual void on_scan_ready() = 0;

 protected:
  ~LogScanListener() = default;
};

class LogScan final : IoOwner {
 public:
  LogScan(IoQueue& io, uint32_t segment_bytes, std::vector<LogSource> sources, LogScanListener& listener);

  enum class State : uint8_t { found, reading, end, failed };
  /// The batch numbered `sequence`, which counts up from call to call. `reading`: ask again when the listener is told.
  State next(uint64_t sequence, ScannedBatch& out);
  /// After `end`: is there a batch behind the missing one that says the missing one was synced? Then it was not torn by a
  /// crash but lost since. `found`: there is; `end`: there is none.
  State look_behind(uint64_t missing);
  /// Why it failed: an errno, or 0 for a batch of a later format version.
  int error() const { return error_; }

 private:
  struct Cursor {
    LogSource source;
    uint64_t seal = 0;
    uint32_t offset = kSegmentHeaderBytes;  // of the batch at hand
    // Bytes of the segment from `chunk_offset` on.
    BufferRef chunk;
    uint32_t chunk_offset = 0;
    uint32_t chunk_bytes = 0;
    bool reading = false;
    bool is_long = false;  // the batch before was
    bool ended = false;    // no batch starts at `offset`
  };
  /// Index of the cursor that must hold the batch in this stream, if any does.
  std::optional<size_t> candidate(SegmentKind kind, uint64_t sequence) const;
  /// Moves on to the first batch not before `sequence`. @returns found if it is that one
  State seek(Cursor& cursor, uint64_t sequence, ScannedBatch& out);
  State look_behind_in(Cursor& cursor, uint64_t missing);
  bool lies_at(const BatchHeader& batch, const Cursor& cursor) const;
  /// `bytes` at the cursor's offset are in memory; if they have to be read, `chunk_bytes` if there are so many.
  bool load(Cursor& cursor, uint32_t bytes, uint32_t chunk_bytes);
  void on_io(uint64_t cookie, int error) override;

  IoQueue& io_;
  const uint32_t segment_bytes_;
  LogScanListener& listener_;
  std::vector<Cursor> cursors_;  // by start, first sequence, logical id
  bool failed_ = false;
  int error_ = 0;
};

}  // namespace cloudfs
