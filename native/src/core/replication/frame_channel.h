// The receiving half of a stream as a state machine: bytes of the socket in, whole frames out. A frame lies in one
// buffer, so that runs are appended to the log from where they were received.
//
//   readable:  window = channel.receive_target(); n = recv(window); channel.received(n)
//   then:      while (channel.next(frame)) …        // frame.bytes keeps its buffer alive
//
// After an error nothing more is taken: end the connection.
#pragma once

#include <optional>

#include "core/format/frame.h"

namespace cloudfs {

class FrameChannel {
 public:
  /// Size of a receive buffer; a longer frame gets one of its own size.
  static constexpr size_t kReceiveBytes = 256u << 10;

  struct Window {
    uint8_t* data = nullptr;
    size_t bytes = 0;
  };

  struct Frame {
    Slice bytes;     // the whole frame
    FrameView view;  // into `bytes`
  };

  /// Room for the next receive, never empty before an error. Valid until the next call of a member.
  Window receive_target();
  void received(size_t bytes);

  /// The next whole frame, if there is one. ERR_FRAME_CORRUPT ends the channel.
  Result<std::optional<Frame>> next();

 private:
  size_t unread() const { return filled_ - start_; }

  BufferRef buffer_;
  size_t start_ = 0;   // first byte not handed out
  size_t filled_ = 0;  // end of the bytes received
  bool failed_ = false;
};

}  // namespace cloudfs
