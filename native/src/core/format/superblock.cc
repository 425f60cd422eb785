#include "core/format/superblock.h"

#include "core/base/checksum.h"

namespace cloudfs {

namespace {

constexpr std::string_view kMagic = "CLOUDFS1";
constexpr size_t kReservedOffset = 120;
constexpr size_t kCrcOffset = kSuperblockBytes - 4;
constexpr uint32_t kSlotsPerPage = kBlockBytes / kSlotBytes;

DecodeError corrupt(const char* message, uint64_t offset) {
  return {ErrorCode::superblock_corrupt, message, offset};
}

/// Nullptr if the checkpoint's fields agree with each other and with the size of the store, else what does not.
const char* checkpoint_fault(const Superblock& superblock) {
  const Entry& root = superblock.checkpoint;
  if (!root.stored()) {
    const bool none = root == Entry{} && superblock.checkpoint_bytes == 0 &&
                      superblock.checkpoint_physical == 0 && superblock.checkpoint_height == 0;
    return none ? nullptr : "there is no checkpoint, but it has a place or a length";
  }
  const uint64_t segment_bytes = uint64_t{1} << superblock.segment_log2;
  if (root.slot % kSlotsPerPage != 0 || root.slot == 0 || uint64_t{root.slot} * kSlotBytes >= segment_bytes)
    return "the checkpoint's root is not in an index slot";
  if (superblock.checkpoint_physical >= superblock.segment_limit)
    return "the checkpoint's root is in a segment that cannot exist";
  if (superblock.checkpoint_bytes == 0 ||
      superblock.checkpoint_bytes > segment_bytes * superblock.segment_limit)
    return "the checkpoint's length does not fit the store";
  if (superblock.checkpoint_height != checkpoint_tree_height(superblock.checkpoint_bytes))
    return "the checkpoint's height does not fit its length";
  return nullptr;
}

}  // namespace

void encode_superblock(const Superblock& superblock, std::span<uint8_t> out) {
  ensure(out.size() == kSuperblockBytes, "a superblock has 4096 bytes");
  uint8_t* at = out.data();
  std::memset(at, 0, out.size());
  std::memcpy(at, kMagic.data(), kMagic.size());
  store(at + 8, kFormatVersion);
  store(at + 12, superblock.segment_log2);
  store_id(at + 16, superblock.store);
  store_id(at + 36, superblock.host);
  store(at + 56, superblock.generation);
  store(at + 64, superblock.sequence);
  store(at + 72, kHashSha256);
  store(at + 76, superblock.segment_limit);
  store_entry(at + 80, superblock.checkpoint);
  store(at + 96, superblock.checkpoint_bytes);
  store(at + 104, superblock.checkpoint_physical);
  store(at + 108, superblock.checkpoint_height);
  store(at + 112, superblock.starts);
  store(at + kCrcOffset, crc32c(out.first(kCrcOffset)));
}

Result<Superblock> decode_superblock(ByteSpan bytes) {
  if (bytes.size() < kSuperblockBytes) return corrupt("the superblock is cut off", bytes.size());
  const uint8_t* at = bytes.data();
  if (as_text(bytes.first(kMagic.size())) != kMagic) return corrupt("this is no superblock", 0);
  if (load<uint32_t>(at + kCrcOffset) != crc32c(bytes.first(kCrcOffset)))
    return corrupt("the superblock fails its checksum", kCrcOffset);
  const uint32_t version = load<uint32_t>(at + 8);
  if (version > kFormatVersion)
    return DecodeError{ErrorCode::store_version, "the store is of a later format version", 8};
  if (version == 0) return corrupt("the format version is 0", 8);
  if (load<uint32_t>(at + 72) != kHashSha256)
    return DecodeError{ErrorCode::store_version, "the store uses a hash function this version lacks", 72};

  Superblock superblock;
  superblock.segment_log2 = load<uint32_t>(at + 12);
  superblock.store = load_id<StoreId>(at + 16);
  superblock.host = load_id<HostId>(at + 36);
  superblock.generation = load<uint64_t>(at + 56);
  superblock.sequence = load<uint64_t>(at + 64);
  superblock.segment_limit = load<uint32_t>(at + 76);
  superblock.checkpoint = load_entry(at + 80);
  superblock.checkpoint_bytes = load<uint64_t>(at + 96);
  superblock.checkpoint_physical = load<uint32_t>(at + 104);
  superblock.checkpoint_height = load<uint32_t>(at + 108);
  superblock.starts = load<uint64_t>(at + 112);
  if (superblock.segment_log2 < kSegmentLog2Min || superblock.segment_log2 > kSegmentLog2Max)
    return corrupt("the segment size is out of range", 12);
  if (superblock.segment_limit == 0) return corrupt("the store has no segments", 76);
  if (superblock.starts == 0) return corrupt("starts count from 1", 112);
  if (const char* fault = checkpoint_fault(superblock)) return corrupt(fault, 80);
  if (!all_zero(bytes.subspan(kReservedOffset, kCrcOffset - kReservedOffset)))
    return corrupt("reserved bytes are not zero", kReservedOffset);
  return superblock;
}

uint32_t checkpoint_tree_height(uint64_t checkpoint_bytes) {
  uint64_t nodes = checkpoint_bytes / kBlockBytes + (checkpoint_bytes % kBlockBytes != 0);
  uint32_t height = 0;
  for (; nodes > 1; ++height) nodes = nodes / kPageEntries + (nodes % kPageEntries != 0);
  return height;
}

}  // namespace cloudfs
