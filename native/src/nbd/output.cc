#include "nbd/output.h"

#include <algorithm>

#include "core/base/assert.h"

namespace cloudfs::nbd {

namespace {

constexpr size_t kZeroBytes = 64u << 10;
// Above this many sent items in front of unsent ones the vector is packed; a client that reads slowly must not make it grow.
constexpr size_t kSentItemsMax = 1024;

// Not const, so that it costs no bytes in the binary; never written.
alignas(4096) uint8_t zeroes[kZeroBytes];

}  // namespace

Writer Output::put(size_t bytes) {
  ensure(bytes <= kHeaderBlockBytes, "headers are smaller than a header block");
  if (!block_ || block_.size() - block_used_ < bytes) {
    block_ = BufferRef(kHeaderBlockBytes);
    block_used_ = 0;
    last_is_header_ = false;
  }
  uint8_t* to = block_.data() + block_used_;
  if (last_is_header_ && first_ < items_.size()) {
    items_.back().slice.size += bytes;
  } else {
    items_.push_back({{block_, to, bytes}});
  }
  block_used_ += bytes;
  bytes_ += bytes;
  last_is_header_ = true;
  return Writer(to);
}

void Output::append(Slice data) {
  if (data.size == 0) return;
  bytes_ += data.size;
  items_.push_back({std::move(data)});
  last_is_header_ = false;
}

void Output::append_zeroes(uint64_t bytes) {
  while (bytes > 0) {
    const size_t part = static_cast<size_t>(std::min<uint64_t>(bytes, kZeroBytes));
    append({BufferRef(), zeroes, part});
    bytes -= part;
  }
}

void Output::end_reply() {
  ensure(first_ < items_.size(), "a reply has bytes");
  ++items_.back().replies;
}

size_t Output::outgoing(std::span<OutgoingPiece> pieces) const {
  const size_t count = std::min(pieces.size(), items_.size() - first_);
  for (size_t i = 0; i < count; ++i)
    pieces[i] = {items_[first_ + i].slice.data, items_[first_ + i].slice.size};
  return count;
}

size_t Output::sent(size_t bytes) {
  ensure(bytes <= bytes_, "no more is sent than was given out");
  bytes_ -= bytes;
  size_t replies = 0;
  while (bytes > 0) {
    Item& item = items_[first_];
    const size_t part = std::min(bytes, item.slice.size);
    item.slice.data += part;
    item.slice.size -= part;
    bytes -= part;
    if (item.slice.size > 0) break;
    replies += item.replies;
    item.slice.owner = BufferRef();
    ++first_;
  }
  drop_sent_items();
  return replies;
}

void Output::drop_sent_items() {
  if (first_ == items_.size()) {
    items_.clear();
    first_ = 0;
    last_is_header_ = false;
    block_used_ = 0;  // nothing refers to the block any more
  } else if (first_ > kSentItemsMax && first_ > items_.size() / 2) {
    items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
}

void Output::clear() {
  items_.clear();
  first_ = 0;
  bytes_ = 0;
  block_ = BufferRef();
  block_used_ = 0;
  last_is_header_ = false;
}

}  // namespace cloudfs::nbd
