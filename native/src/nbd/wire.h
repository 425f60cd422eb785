// Big-endian integers in bytes: unchecked loads for what has a fixed size, a cursor that checks for what has not, and a
// writer into room that was sized before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace cloudfs::nbd {

template <class Integer>
Integer load(const uint8_t* from) {
  Integer value = 0;
  for (size_t i = 0; i < sizeof(Integer); ++i)
    value = static_cast<Integer>(static_cast<uint64_t>(value) << 8 | from[i]);
  return value;
}

/// Reads option data, whose lengths a client chose. A take() that finds too little leaves `to` as it was.
class Cursor {
 public:
  explicit Cursor(std::span<const uint8_t> bytes) : rest_(bytes) {}

  template <class Integer>
  [[nodiscard]] bool take(Integer& to) {
    if (rest_.size() < sizeof(Integer)) return false;
    to = load<Integer>(rest_.data());
    rest_ = rest_.subspan(sizeof(Integer));
    return true;
  }

  [[nodiscard]] bool take(size_t bytes, std::string_view& to) {
    if (rest_.size() < bytes) return false;
    to = std::string_view(reinterpret_cast<const char*>(rest_.data()), bytes);
    rest_ = rest_.subspan(bytes);
    return true;
  }

  size_t rest() const { return rest_.size(); }

 private:
  std::span<const uint8_t> rest_;
};

/// Writes into room that holds exactly what is put.
class Writer {
 public:
  explicit Writer(uint8_t* to) : to_(to) {}

  template <class Integer>
  Writer& put(Integer value) {
    if constexpr (std::is_enum_v<Integer>) {
      return put(static_cast<std::underlying_type_t<Integer>>(value));
    } else {
      static_assert(std::is_unsigned_v<Integer>);
      for (size_t i = 0; i < sizeof(Integer); ++i)
        to_[i] = static_cast<uint8_t>(static_cast<uint64_t>(value) >> 8 * (sizeof(Integer) - 1 - i));
      to_ += sizeof(Integer);
      return *this;
    }
  }

  Writer& put(std::string_view text) {
    if (!text.empty()) std::memcpy(to_, text.data(), text.size());
    to_ += text.size();
    return *this;
  }

  Writer& zeroes(size_t bytes) {
    std::memset(to_, 0, bytes);
    to_ += bytes;
    return *this;
  }

 private:
  uint8_t* to_;
};

}  // namespace cloudfs::nbd
