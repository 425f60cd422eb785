#include "core/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>
#include <limits>

namespace cloudfs {

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed) {
  // ISA-L takes an int length and a non-const pointer it does not write to, and leaves both inversions to the caller.
  constexpr std::size_t chunk_bytes_max = std::numeric_limits<int>::max();
  std::uint32_t crc = ~seed;
  while (!bytes.empty()) {
    const std::size_t chunk_bytes = std::min(bytes.size(), chunk_bytes_max);
    auto* start = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(bytes.data()));
    crc = crc32_iscsi(start, static_cast<int>(chunk_bytes), crc);
    bytes = bytes.subspan(chunk_bytes);
  }
  return ~crc;
}

}  // namespace cloudfs
