// Segment header <-> 4096 bytes (docs/disk-format.md, Segment header).
#pragma once

#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/base/ids.h"

namespace cloudfs {

constexpr size_t kSegmentHeaderBytes = 4096;

enum class SegmentKind : uint8_t { user = 1, moved = 2, index = 3 };

struct SegmentHeader {
  uint32_t logical = 0;
  StoreId store;
  uint32_t physical = 0;
  uint64_t generation = 0;
  uint64_t first_sequence = 0;  // 0 in an index segment
  SegmentKind kind = SegmentKind::user;
  uint64_t start = 1;  // `starts` of the superblock when it was opened
  bool operator==(const SegmentHeader&) const = default;
};

/// What the segment's batches carry to tell them from stale bytes of its place, and from blocks that a client of a volume
/// made look like batches: nobody can compute it who does not know the store's id. Never 0.
uint64_t batch_seal(const SegmentHeader& header);

/// Fills exactly kSegmentHeaderBytes.
void encode_segment_header(const SegmentHeader& header, std::span<uint8_t> out);

/// Fails with ERR_SEGMENT_CORRUPT, ERR_STORE_VERSION. Whether
/// store, generation and physical place are the ones expected is for the caller to see: another store's
/// header means a free segment.
Result<SegmentHeader> decode_segment_header(ByteSpan bytes);

}  // namespace cloudfs
