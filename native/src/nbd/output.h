// What a connection has to send: headers written into small blocks, data slices uncopied, neighbouring headers in one
// piece, so that the replies of a turn go out in one writev.
#pragma once

#include <span>
#include <vector>

#include "core/base/buffer.h"
#include "nbd/connection.h"
#include "nbd/wire.h"

namespace cloudfs::nbd {

/// Most that one put() may ask for. Blocks of this size are released when what is in them has been sent.
constexpr size_t kHeaderBlockBytes = 16u << 10;

class Output {
 public:
  /// Appends `bytes` bytes, to be written through the Writer before anything else is appended.
  Writer put(size_t bytes);
  /// Appends the slice's bytes without copying them.
  void append(Slice data);
  /// Appends zeroes, from static memory.
  void append_zeroes(uint64_t bytes);
  /// What was appended last ends a reply; sent() counts it when its last byte has gone.
  void end_reply();

  size_t outgoing(std::span<OutgoingPiece> pieces) const;
  /// @returns how many replies have now been sent completely
  size_t sent(size_t bytes);

  size_t bytes() const { return bytes_; }
  bool empty() const { return bytes_ == 0; }
  void clear();

 private:
  struct Item {
    Slice slice;
    uint32_t replies = 0;
  };
  void drop_sent_items();

  std::vector<Item> items_;  // from `first_` on; those before have been sent
  size_t first_ = 0;
  size_t bytes_ = 0;
  BufferRef block_;
  size_t block_used_ = 0;
  bool last_is_header_ = false;  // the last item ends at block_used_ of block_ and may grow
};

}  // namespace cloudfs::nbd
