// Ids and units. Each has one meaning; see docs/glossary.md.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

namespace cloudfs {

constexpr uint32_t kBlockBytes = 4096;
constexpr uint32_t kBlockLog2 = 12;
constexpr uint32_t kSlotBytes = 1024;   // unit of Entry.slot (docs/disk-format.md)
constexpr uint32_t kPageEntries = 256;  // entries in a map page
constexpr size_t kIdBytes = 20;

/// 160 bits: host, store, volume, version and token alike; wrapped so that they do not mix.
template <class Tag>
struct Id160 {
  std::array<uint8_t, kIdBytes> bytes{};
  auto operator<=>(const Id160&) const = default;
  bool is_zero() const {
    for (uint8_t byte : bytes)
      if (byte != 0) return false;
    return true;
  }
};
using HostId = Id160<struct HostTag>;
using StoreId = Id160<struct StoreTag>;
using VolumeId = Id160<struct VolumeTag>;
using VersionId = Id160<struct VersionTag>;
using Token = Id160<struct TokenTag>;          // secret until the record after it is written
using StampHash = Id160<struct StampHashTag>;  // H(s), public
using SessionId = std::array<uint8_t, 16>;
using Stamp = std::array<uint8_t, 32>;  // a view's secret s

using Lsn = uint64_t;  // 48 bits used

struct Epoch {
  uint64_t counter = 0;
  HostId host;
  auto operator<=>(const Epoch&) const = default;
};

/// A place for one block or page (docs/disk-format.md, Entry).
struct Entry {
  uint32_t segment = 0;
  uint16_t slot = 0;
  uint64_t birth = 0;  // 48 bits on disk
  uint32_t crc = 0;
  bool operator==(const Entry&) const = default;
  bool stored() const { return segment != 0; }
};

}  // namespace cloudfs

template <class Tag>
struct std::hash<cloudfs::Id160<Tag>> {
  // Ids are hash output already; eight of their bytes are as good as any.
  size_t operator()(const cloudfs::Id160<Tag>& id) const noexcept {
    size_t value = 0;
    std::memcpy(&value, id.bytes.data(), sizeof value);
    return value;
  }
};
