// The checksum of blocks and record headers: CRC-32C (Castagnoli), as iSCSI and ext4 use it (RFC 3720, appendix B.4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cloudfs {

// CRC-32C of `bytes`. `seed` is the result of what came before, so that crc32c(b, crc32c(a)) is that of a followed by b.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed = 0);

}  // namespace cloudfs
