// Entry <-> 16 bytes (docs/disk-format.md, Entry). Look-ups decode single entries out of pages whose checksum
// was verified when they were read, so decoding itself never fails; entry_valid is for entries from anywhere
// else.
#pragma once

#include "core/base/bytes.h"
#include "core/base/ids.h"

namespace cloudfs {

constexpr size_t kEntryBytes = 16;
constexpr Lsn kLsnMax = (Lsn{1} << 48) - 1;

inline Entry load_entry(const uint8_t* at) {
  return {load<uint32_t>(at), load<uint16_t>(at + 4), load48(at + 6), load<uint32_t>(at + 12)};
}

inline void store_entry(uint8_t* at, const Entry& entry) {
  store(at, entry.segment);
  store(at + 4, entry.slot);
  store48(at + 6, entry.birth);
  store(at + 12, entry.crc);
}

/// An entry that stores nothing has neither slot nor crc; births fit 48 bits.
inline bool entry_valid(const Entry& entry) {
  return entry.birth <= kLsnMax && (entry.segment != 0 || (entry.slot == 0 && entry.crc == 0));
}

}  // namespace cloudfs
