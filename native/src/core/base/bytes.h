// Little-endian integers in bounded bytes. A reader fails once and stays failed, so that a decoder may read a
// whole table and ask at the end; a writer that runs out of room is a bug, for its caller knows every length
// beforehand.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/base/assert.h"
#include "core/base/ids.h"

namespace cloudfs {

static_assert(std::endian::native == std::endian::little,
              "the stored byte order is that of every host this builds for");

using ByteSpan = std::span<const uint8_t>;

template <class T>
  requires std::is_unsigned_v<T>
inline T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class T>
  requires std::is_unsigned_v<T>
inline void store(uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

/// 48-bit lsns of an Entry.
inline uint64_t load48(const uint8_t* at) {
  return load<uint32_t>(at) | (uint64_t{load<uint16_t>(at + 4)} << 32);
}
inline void store48(uint8_t* at, uint64_t value) {
  store(at, static_cast<uint32_t>(value));
  store(at + 4, static_cast<uint16_t>(value >> 32));
}

template <class Id>
inline Id load_id(const uint8_t* at) {
  Id id;
  std::memcpy(id.bytes.data(), at, id.bytes.size());
  return id;
}
template <class Tag>
inline void store_id(uint8_t* at, const Id160<Tag>& id) {
  std::memcpy(at, id.bytes.data(), id.bytes.size());
}

bool all_zero(ByteSpan bytes);

constexpr uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

inline ByteSpan as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Reads from its start on. Past the end every read gives zeros (or no bytes) and ok() is false for good.
class ByteReader {
 public:
  explicit ByteReader(ByteSpan bytes) : bytes_(bytes) {}

  template <class T>
  T integer() {
    if (!take(sizeof(T))) return 0;
    return load<T>(bytes_.data() + offset_ - sizeof(T));
  }
  uint8_t u8() { return integer<uint8_t>(); }
  uint16_t u16() { return integer<uint16_t>(); }
  uint32_t u32() { return integer<uint32_t>(); }
  uint64_t u64() { return integer<uint64_t>(); }

  template <class Id>
  Id id() {
    if (!take(kIdBytes)) return Id{};
    return load_id<Id>(bytes_.data() + offset_ - kIdBytes);
  }

  template <size_t kBytes>
  std::array<uint8_t, kBytes> array() {
    std::array<uint8_t, kBytes> value{};
    if (take(kBytes)) std::memcpy(value.data(), bytes_.data() + offset_ - kBytes, kBytes);
    return value;
  }

  /// A view of the next `count` bytes; empty, and failed, if there are fewer.
  ByteSpan bytes(uint64_t count) {
    if (!take(count)) return {};
    return bytes_.subspan(offset_ - static_cast<size_t>(count), static_cast<size_t>(count));
  }

  /// Reserved bytes: fails unless all of them are zero.
  void zeros(uint64_t count) {
    if (!all_zero(bytes(count))) ok_ = false;
  }

  /// Fails unless `holds`: a field outside its range.
  void require(bool holds) {
    if (!holds) ok_ = false;
  }

  /// Fails unless `count` items of at least `item_bytes_min` each can follow: before room for them is
  /// allocated.
  bool can_hold(uint64_t count, uint64_t item_bytes_min) {
    if (count > remaining() / item_bytes_min) ok_ = false;
    return ok_;
  }

  bool ok() const { return ok_; }
  size_t offset() const { return offset_; }
  size_t remaining() const { return bytes_.size() - offset_; }

 private:
  bool take(uint64_t count) {
    if (!ok_ || count > remaining()) {
      ok_ = false;
      return false;
    }
    offset_ += static_cast<size_t>(count);
    return true;
  }

  ByteSpan bytes_;
  size_t offset_ = 0;
  bool ok_ = true;
};

/// Appends to bytes that grow; for control records and checkpoints. What runs per I/O writes into its page
/// (run.h).
class ByteWriter {
 public:
  template <class T>
    requires std::is_unsigned_v<T>
  void integer(T value) {
    store(grow(sizeof value), value);
  }
  void u8(uint8_t value) { integer(value); }
  void u16(uint16_t value) { integer(value); }
  void u32(uint32_t value) { integer(value); }
  void u64(uint64_t value) { integer(value); }
  template <class Tag>
  void id(const Id160<Tag>& value) {
    bytes(value.bytes);
  }
  void bytes(ByteSpan value) {
    if (!value.empty()) std::memcpy(grow(value.size()), value.data(), value.size());
  }
  void zeros(size_t count) { grow(count); }
  void pad_to(size_t alignment) { zeros(static_cast<size_t>(align_up(size(), alignment)) - size()); }

  size_t size() const { return bytes_.size(); }
  /// Room for a value that is known later, as a section's length.
  uint8_t* at(size_t offset) {
    ensure(offset <= bytes_.size(), "patched bytes are already written");
    return bytes_.data() + offset;
  }
  std::vector<uint8_t> take() { return std::move(bytes_); }

 private:
  uint8_t* grow(size_t count) {
    bytes_.resize(bytes_.size() + count);
    return bytes_.data() + bytes_.size() - count;
  }

  std::vector<uint8_t> bytes_;
};

}  // namespace cloudfs
