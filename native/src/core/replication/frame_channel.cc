#include "core/replication/frame_channel.h"

#include <algorithm>
#include <cstring>

namespace cloudfs {

FrameChannel::Window FrameChannel::receive_target() {
  if (failed_) return {};
  // How much the frame at hand needs in one piece; its header comes first.
  size_t needed = kFrameHeaderBytes;
  if (unread() >= kFrameHeaderBytes) {
    const Result<FrameHeader> header = peek_frame({buffer_.data() + start_, kFrameHeaderBytes});
    if (!header) return {};  // next() reports it
    needed = header->frame_bytes;
  }
  if (!buffer_ || start_ + needed > buffer_.size() || filled_ == buffer_.size()) {
    // Frames handed out may still be in use, so the rest moves to a new buffer instead of the front of this one. It is
    // less than one frame, and for a long frame (which gets the right size at once) at most one receive.
    BufferRef fresh(std::max(kReceiveBytes, needed));
    if (unread() > 0) std::memcpy(fresh.data(), buffer_.data() + start_, unread());
    filled_ = unread();
    start_ = 0;
    buffer_ = std::move(fresh);
  }
  return {buffer_.data() + filled_, buffer_.size() - filled_};
}

void FrameChannel::received(size_t bytes) {
  ensure(buffer_ && bytes <= buffer_.size() - filled_, "no more is received than there was room for");
  filled_ += bytes;
}

Result<std::optional<FrameChannel::Frame>> FrameChannel::next() {
  if (failed_ || unread() < kFrameHeaderBytes) return std::optional<Frame>();
  const ByteSpan bytes{buffer_.data() + start_, unread()};
  const Result<FrameHeader> header = peek_frame(bytes.first(kFrameHeaderBytes));
  if (!header) {
    failed_ = true;
    return header.error();
  }
  if (bytes.size() < header->frame_bytes) return std::optional<Frame>();
  const Result<FrameView> view = decode_frame(bytes.first(header->frame_bytes));
  if (!view) {
    failed_ = true;
    return view.error();
  }
  Frame frame{{buffer_, bytes.data(), header->frame_bytes}, *view};
  start_ += header->frame_bytes;
  return std::optional<Frame>(std::move(frame));
}

}  // namespace cloudfs
