#include "core/base/checksum.h"

#include <isa-l/crc.h>
#include <isa-l/mem_routines.h>

#include <algorithm>
#include <limits>

namespace cloudfs {

uint32_t crc32c(ByteSpan bytes, uint32_t seed) {
  // ISA-L takes an int length and a non-const pointer it does not write to, and leaves both inversions to us.
  constexpr size_t kChunkBytesMax = std::numeric_limits<int>::max();
  uint32_t crc = ~seed;
  while (!bytes.empty()) {
    const size_t chunk_bytes = std::min(bytes.size(), kChunkBytesMax);
    crc = crc32_iscsi(const_cast<uint8_t*>(bytes.data()), static_cast<int>(chunk_bytes), crc);
    bytes = bytes.subspan(chunk_bytes);
  }
  return ~crc;
}

uint32_t crc32c_without(ByteSpan bytes, size_t field) {
  constexpr uint8_t kZero[4] = {};
  ensure(field + sizeof kZero <= bytes.size(), "a checksum stands inside what it covers");
  const uint32_t before = crc32c(bytes.first(field));
  return crc32c(bytes.subspan(field + sizeof kZero), crc32c(kZero, before));
}

BlockSum sum_block(const uint8_t* block) {
  return {block_crc(block), block_digest(block)};
}

bool is_zero_block(const uint8_t* block) {
  // Most blocks that hold anything differ early; only then is the whole worth a call.
  if ((load<uint64_t>(block) | load<uint64_t>(block + kBlockBytes - 8)) != 0) return false;
  return isal_zero_detect(const_cast<uint8_t*>(block), kBlockBytes) == 0;
}

}  // namespace cloudfs
