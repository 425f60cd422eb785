// Coded errors as values. Decoders never throw: bytes from a disk or a socket are the world, and hostile
// bytes must not cost an unwinding each. docs/errors.md lists the codes,
// docs/disk-format.md (Decoding) what is refused with which.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "core/base/assert.h"

namespace cloudfs {

enum class ErrorCode : uint8_t {
  superblock_corrupt,  // ERR_SUPERBLOCK_CORRUPT: one copy of the superblock
  store_version,       // ERR_STORE_VERSION: a later format, or a hash function this version lacks
  segment_corrupt,     // ERR_SEGMENT_CORRUPT: a segment header
  batch_corrupt,       // ERR_BATCH_CORRUPT: batch header, directory or layout
  record_corrupt,      // ERR_RECORD_CORRUPT: a run, or a record, moved block or local item in it
  record_version,      // ERR_RECORD_VERSION: a run of a later format
  block_corrupt,       // ERR_BLOCK_CORRUPT: a block's bytes differ from their crc or digest
  payload_invalid,     // ERR_PAYLOAD_INVALID: payload of a control record
  checkpoint_corrupt,  // ERR_CHECKPOINT_CORRUPT
  entry_corrupt,       // ERR_ENTRY_CORRUPT
  chain_broken,        // ERR_CHAIN_BROKEN: a record does not follow from the one before it
  frame_corrupt,       // ERR_FRAME_CORRUPT: a frame of a stream between engines
};

/// 'ERR_RECORD_CORRUPT' and so on.
std::string_view code_name(ErrorCode code);

/// Why bytes were refused. `message` is for people, static text; `offset` is where in the bytes given, as
/// near as known.
struct DecodeError {
  ErrorCode code{};
  const char* message = "";
  uint64_t offset = 0;
};

/// A T, or the DecodeError that says why there is none. Reading the one that is not there is a bug.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(const DecodeError& error) : error_(error) {}

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }

  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& value() {
    ensure(ok(), "a result is read only if it is there");
    return *value_;
  }
  const T& value() const {
    ensure(ok(), "a result is read only if it is there");
    return *value_;
  }
  const DecodeError& error() const {
    ensure(!ok(), "an error is read only if there is one");
    return error_;
  }

 private:
  std::optional<T> value_;
  DecodeError error_;
};

/// Success, or why not.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(const DecodeError& error) : error_(error) {}

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const DecodeError& error() const {
    ensure(!ok(), "an error is read only if there is one");
    return *error_;
  }

 private:
  std::optional<DecodeError> error_;
};

}  // namespace cloudfs
