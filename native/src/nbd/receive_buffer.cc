#include "nbd/receive_buffer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/base/assert.h"

namespace cloudfs::nbd {

Window ReceiveBuffer::target() {
  const size_t have = end_ - begin_;
  const bool own = buffer_ && buffer_.size() != kReceiveBytes;
  if (have == 0 && !own && buffer_.unique()) {
    // Nobody looks at these bytes any more: an idle connection keeps this one buffer.
    begin_ = end_ = 0;
    for (BufferRef& spare : spares_) spare = BufferRef();
  }
  const size_t room = buffer_.size() - begin_;
  // Without a request half received, a buffer that is half used up is left: short receives cost more than memory.
  const bool leave = room < wanted_ || (have == 0 && !own && room < kReceiveBytes / 2);
  if (leave) {
    const bool large = wanted_ > kReceiveBytes / 2;
    if (!large && own) probe_ = true;
    move_to(large ? BufferRef(wanted_) : another());
  }
  const size_t free = buffer_.size() - end_;
  offered_ = probe_ ? std::min(free, std::max(kProbeBytes, wanted_ - (end_ - begin_))) : free;
  return {buffer_.data() + end_, offered_};
}

void ReceiveBuffer::move_to(BufferRef buffer) {
  const size_t have = end_ - begin_;
  if (have > 0) std::memcpy(buffer.data(), buffer_.data() + begin_, have);
  retire();
  buffer_ = std::move(buffer);
  begin_ = 0;
  end_ = have;
}

// Keeps a receive buffer that is left, so that it can be taken up again when its payloads have been let go.
void ReceiveBuffer::retire() {
  if (buffer_.size() != kReceiveBytes) return;
  for (BufferRef& spare : spares_) {
    if (spare) continue;
    spare = std::move(buffer_);
    return;
  }
}

BufferRef ReceiveBuffer::another() {
  for (BufferRef& spare : spares_)
    if (spare.unique()) return std::exchange(spare, BufferRef());
  return BufferRef(kReceiveBytes);
}

void ReceiveBuffer::received(size_t bytes) {
  ensure(bytes <= offered_, "no more is received than was offered");
  offered_ = 0;
  end_ += bytes;
  probe_ = false;
  wanted_ = 1;
  apply_skip();
}

std::span<const uint8_t> ReceiveBuffer::available() const {
  if (begin_ == end_) return {};
  return {buffer_.data() + begin_, end_ - begin_};
}

void ReceiveBuffer::consume(size_t bytes) {
  ensure(bytes <= end_ - begin_, "no more is consumed than is available");
  begin_ += bytes;
}

Slice ReceiveBuffer::take(size_t bytes) {
  const uint8_t* data = buffer_.data() + begin_;
  consume(bytes);
  return {buffer_, data, bytes};
}

void ReceiveBuffer::want(size_t bytes) {
  wanted_ = bytes;
}

void ReceiveBuffer::skip(uint64_t bytes) {
  skip_ += bytes;
  apply_skip();
}

void ReceiveBuffer::apply_skip() {
  const size_t part = static_cast<size_t>(std::min<uint64_t>(skip_, end_ - begin_));
  begin_ += part;
  skip_ -= part;
}

}  // namespace cloudfs::nbd
