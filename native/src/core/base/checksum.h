// The two checksums. crc32c finds rot on every read; SHA-256 is what the chain and the digests stand on
// (docs/disk-format.md). ISA-L, Nettle and Intel's multi-buffer library do the work.
#pragma once

#include <nettle/sha2.h>

#include <array>
#include <cstdint>

#include "core/base/bytes.h"
#include "core/base/ids.h"

namespace cloudfs {

/// CRC-32C (RFC 3720, appendix B.4). `seed` is the result of what came before: crc32c(b, crc32c(a)) is that
/// of a then b.
uint32_t crc32c(ByteSpan bytes, uint32_t seed = 0);

/// crc32c of `bytes` with the four bytes at `field` taken as zero: that of a header which holds its own
/// checksum.
uint32_t crc32c_without(ByteSpan bytes, size_t field);

/// The first 16 bytes of SHA-256 of a block.
using BlockDigest = std::array<uint8_t, 16>;

/// What a record says of each block it stores.
struct BlockSum {
  uint32_t crc = 0;
  BlockDigest digest{};
  bool operator==(const BlockSum&) const = default;
};

class Sha256 {
 public:
  Sha256() { sha256_init(&context_); }
  Sha256& add(ByteSpan bytes) {
    sha256_update(&context_, bytes.size(), bytes.data());
    return *this;
  }
  /// Adds an integer in its stored, little-endian form.
  template <class T>
    requires std::is_unsigned_v<T>
  Sha256& add_integer(T value) {
    uint8_t bytes[sizeof value];
    store(bytes, value);
    return add(bytes);
  }
  /// The first `out.size()` bytes of the hash; the object starts anew.
  void finish(std::span<uint8_t> out) { sha256_digest(&context_, out.size(), out.data()); }

 private:
  sha256_ctx context_;
};

/// H of the format page: SHA-256 cut to 160 bits. `Id` says what the result names.
template <class Id>
Id hash160(ByteSpan bytes) {
  Id id;
  Sha256().add(bytes).finish(id.bytes);
  return id;
}

BlockDigest block_digest(const uint8_t* block);

/// Those of many blocks, 4096 bytes each, in less time than one by one. `digests` has room for all.
void block_digests(std::span<const uint8_t* const> blocks, std::span<BlockDigest> digests);

/// crc and digest of the 4096 bytes at `block`.
BlockSum sum_block(const uint8_t* block);

inline uint32_t block_crc(const uint8_t* block) {
  return crc32c({block, kBlockBytes});
}

/// True if all 4096 bytes at `block` are zero. Nearly free for a block that does not start with zeros.
bool is_zero_block(const uint8_t* block);

}  // namespace cloudfs
