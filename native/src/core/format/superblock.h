// Superblock <-> 4096 bytes (docs/disk-format.md, Superblock).
#pragma once

#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/base/ids.h"
#include "core/format/entry.h"

namespace cloudfs {

constexpr uint32_t kFormatVersion = 1;
constexpr uint32_t kHashSha256 = 0x12;  // multihash code
constexpr size_t kSuperblockBytes = 4096;
constexpr uint32_t kSegmentLog2Min = 16;
constexpr uint32_t kSegmentLog2Max = 26;

struct Superblock {
  uint32_t segment_log2 = 0;
  StoreId store;
  HostId host;
  uint64_t generation = 0;
  uint64_t sequence = 0;
  uint32_t segment_limit = 0;
  Entry checkpoint;  // root page of the checkpoint tree; segment 0 = no checkpoint yet, and the next three
                     // are 0
  uint64_t checkpoint_bytes = 0;
  uint32_t checkpoint_physical = 0;
  uint32_t checkpoint_height = 0;
  uint64_t starts = 1;
  bool operator==(const Superblock&) const = default;
};

/// Fills exactly kSuperblockBytes.
void encode_superblock(const Superblock& superblock, std::span<uint8_t> out);

/// Fails with ERR_SUPERBLOCK_CORRUPT (a torn copy too), ERR_STORE_VERSION. What is returned is consistent: the checkpoint's root lies in an index slot of a segment
/// of that size, its length fits the store, its height is checkpoint_tree_height(checkpoint_bytes).
Result<Superblock> decode_superblock(ByteSpan bytes);

/// Levels of interior pages above the pages of a blob of this length: the least that reach all of them.
uint32_t checkpoint_tree_height(uint64_t checkpoint_bytes);

}  // namespace cloudfs
