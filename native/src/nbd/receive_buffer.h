// Where a connection's bytes arrive, and how they are handed on without copying: a large buffer into which many small
// requests are received at once, and a buffer of a payload's own size when it does not fit there.
//
// What is copied: the part of a request that has arrived when its buffer is found too small for the rest, once. After a
// payload that needed its own buffer the next receive is a short one, since another such request probably follows: then
// only that much of it has to move.
#pragma once

#include <cstdint>
#include <span>

#include "core/base/buffer.h"
#include "nbd/connection.h"

namespace cloudfs::nbd {

/// Offered after a payload that had a buffer of its own: room for a header and small requests behind it.
constexpr size_t kProbeBytes = 4096;

class ReceiveBuffer {
 public:
  /// Room for at least what want() asked for. Invalidates earlier targets, never slices.
  Window target();
  void received(size_t bytes);

  /// Bytes received and not consumed, contiguous.
  std::span<const uint8_t> available() const;
  void consume(size_t bytes);
  /// The next `bytes` bytes, consumed; at least so many are available.
  Slice take(size_t bytes);
  /// Nothing can be done before `bytes` bytes are available: the next target makes room for them.
  void want(size_t bytes);

  /// Drops the next `bytes` bytes, received or not.
  void skip(uint64_t bytes);
  bool skipping() const { return skip_ > 0; }

 private:
  void move_to(BufferRef buffer);
  BufferRef another();
  void retire();
  void apply_skip();

  BufferRef buffer_;
  size_t begin_ = 0;  // of what is available
  size_t end_ = 0;
  size_t wanted_ = 1;
  size_t offered_ = 0;
  uint64_t skip_ = 0;
  bool probe_ = false;
  BufferRef spares_[2];  // receive buffers whose payloads were in use when they were left
};

}  // namespace cloudfs::nbd
