// A batch: the unit of append (docs/disk-format.md, Batch). Its header area is [batch header][run
// directory][runs], padded to the alignment; the bodies follow in the order of the runs, without gaps, for
// each is a multiple of 4096 bytes.
#pragma once

#include <vector>

#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/format/run.h"
#include "core/format/segment_header.h"

namespace cloudfs {

constexpr size_t kBatchHeaderBytes = 64;
constexpr size_t kDirectoryEntryBytes = 8;
constexpr uint8_t kAlignLog2Min = 10;
constexpr uint8_t kAlignLog2Max = 12;
constexpr size_t kRunsMax = 65535;
constexpr uint32_t kBatchBytesMax = 64u << 20;  // no batch is longer than a segment

struct BatchHeader {
  uint32_t header_bytes = 0;  // without padding
  uint32_t segment = 0;
  uint32_t offset = 0;
  uint64_t sequence = 0;
  uint64_t synced_sequence = 0;
  uint64_t seal = 1;
  uint32_t batch_bytes = 0;
  uint16_t run_count = 0;
  uint8_t align_log2 = kAlignLog2Max;
  SegmentKind kind = SegmentKind::user;
  /// Length of the header area: where the bodies start.
  uint32_t padded_header_bytes() const {
    return static_cast<uint32_t>(align_up(header_bytes, uint64_t{1} << align_log2));
  }
  bool operator==(const BatchHeader&) const = default;
};

struct BatchRun {
  RunView run;
  uint32_t run_offset = 0;   // from the batch's start
  uint32_t body_offset = 0;  // from the batch's start; 0 = no body, or one that a witness does not keep
  /// Of its body that stand in the batch.
  uint32_t body_bytes() const { return body_offset == 0 ? 0 : run.header().body_bytes; }
};

/// A batch's header area, checked. The bytes must outlive it.
struct BatchView {
  BatchHeader header;
  std::vector<BatchRun> runs;
};

/// Reads the first kBatchHeaderBytes of what may be a batch, to learn how much to read before decode_batch
/// can be asked. Lengths are within bounds and consistent; nothing is verified. An error: no batch
/// starts here.
Result<BatchHeader> peek_batch(ByteSpan bytes);

/// Checks and views the batch whose header area `bytes` starts with (padding and bodies may follow).
/// Fails with ERR_BATCH_CORRUPT, or the error of the run that is refused. That segment, offset, seal and kind are those of the
/// place it was found in is for the caller to see: stale bytes of an earlier life differ there.
Result<BatchView> decode_batch(ByteSpan bytes);

/// crc of each block of all bodies. `batch` is the whole batch, batch_bytes long.
Result<void> verify_batch_bodies(const BatchView& batch, ByteSpan bytes);

/// Where a batch goes.
struct BatchPlace {
  uint32_t segment = 0;
  uint32_t offset = 0;
  uint64_t seal = 1;  // the segment's: batch_seal()
};

/// What finish() made.
struct BatchLayout {
  BatchHeader header;
  uint32_t bodies_offset = 0;  // = header.padded_header_bytes(), from the batch's start
};

/// Builds a header area in memory of the caller:
///
///   BatchBuilder batch(page, SegmentKind::user, 12, runs_max);
///   RunBuilder run(batch.room(), header);  …  run.finish(…);
///   batch.add_run(run.header());
///   const BatchLayout layout = batch.finish(place, sequence, synced_sequence);
///
/// and then appends page[0, bodies_offset) and the bodies, run by run.
class BatchBuilder {
 public:
  /// `runs_max`: room kept for the directory. If fewer runs come, finish() moves the runs up, so views of
  /// their records end there; run_at() and body_offset() say where things are.
  BatchBuilder(std::span<uint8_t> out, SegmentKind kind, uint8_t align_log2, size_t runs_max);

  /// Where the next run is to be written, or copied, to.
  std::span<uint8_t> room() const { return out_.subspan(used_); }
  /// Takes in the run that was finished at the start of room(). `with_body`: and the blocks that it tells of; a witness keeps
  /// none.
  void add_run(const RunHeader& run, bool with_body = true);
  size_t run_count() const { return runs_.size(); }

  /// batch_bytes if a run of this size were added: does it still fit the segment?
  uint64_t batch_bytes_with(size_t run_bytes, uint64_t body_bytes) const;

  /// Completes directory, header, checksum and padding. At least one run was added.
  BatchLayout finish(const BatchPlace& place, uint64_t sequence, uint64_t synced_sequence);

  // After finish().
  ByteSpan run_at(size_t index) const;       // bytes of the run
  uint32_t body_offset(size_t index) const;  // from the batch's start; 0 = no body

 private:
  struct Placed {
    uint32_t offset;
    uint32_t run_bytes;
    uint32_t body_bytes;
    uint32_t body_offset;
  };
  std::span<uint8_t> out_;
  SegmentKind kind_;
  uint8_t align_log2_;
  size_t runs_max_;
  size_t used_;
  uint64_t body_bytes_ = 0;
  std::vector<Placed> runs_;
};

}  // namespace cloudfs
