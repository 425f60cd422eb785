// What the fuzzers of the codecs share: every input is tried as it is, and with its checksums made right, for a mutation
// hardly ever gets past a checksum by itself.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/checksum.h"

namespace cloudfs::fuzz {

inline void require(bool holds) {
  if (!holds) std::abort();
}

inline void require_same(ByteSpan expected, const std::vector<uint8_t>& actual) {
  require(expected.size() == actual.size() &&
          std::memcmp(expected.data(), actual.data(), actual.size()) == 0);
}

/// Puts the checksum of `bytes` [0, declared length at 4) at `field`, if the length allows.
inline void seal(std::span<uint8_t> bytes, size_t field) {
  if (bytes.size() < field + 4) return;
  const auto length = load<uint32_t>(bytes.data() + 4);
  if (length < field + 4 || length > bytes.size()) return;
  store(bytes.data() + field, crc32c_without(bytes.first(length), field));
}

}  // namespace cloudfs::fuzz
