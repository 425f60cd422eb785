// Streams to other engines over sockets: between an event loop and a core. The bytes are the core's; here they are moved.
// Everything is called on the loop's thread.
//
// Once per round of the loop: EventLoop::wait (receives), the core's turns with take() for what each says, flush().
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/store/core.h"
#include "shell/event_loop.h"
#include "shell/stream.h"

namespace cloudfs::shell {

/// A stream that is closing may take this long to send what is left and to hear the other side hang up; then it is dropped.
constexpr uint64_t kStreamLingerNsMax = 1'000'000'000;

class PeerStreams {
 public:
  PeerStreams(EventLoop& loop, Core& core);
  ~PeerStreams();
  PeerStreams(const PeerStreams&) = delete;
  PeerStreams& operator=(const PeerStreams&) = delete;

  /// `preface` goes out ahead of what the core says (the answer to an HTTP upgrade); `early`: bytes that were received
  /// already; `host` as in Core::open_stream. @returns the stream, or 0 and the core's refusal; the socket is closed then
  uint64_t adopt(std::unique_ptr<Stream> socket, StreamRole role, const VolumeId& volume,
                 const std::optional<HostId>& host, const std::vector<uint8_t>& preface,
                 const std::vector<uint8_t>& early, std::string& refusal);
  /// Ends a stream at once; nothing happens if it has ended.
  void end(uint64_t id);
  /// Whether the core was given bytes since this was asked last.
  bool received() { return std::exchange(received_, false); }
  /// What a turn of the core wants sent and ended. Sends what the sockets take.
  void take(std::vector<StreamSend>&& sends, const std::vector<uint64_t>& closes);
  /// Sends what they take now. @returns whether the core was told of anything: then the next round must not wait
  bool flush();
  /// When flush() wants to be called at the latest: streams that are closing are given up.
  std::optional<uint64_t> next_deadline_ns() const;
  size_t count() const { return ends_.size(); }
  /// Of all streams, ever.
  uint64_t bytes_sent() const { return bytes_sent_; }
  uint64_t bytes_received() const { return bytes_received_; }

  /// A stream that is no more.
  struct Ended {
    uint64_t id;
    StreamRole role;
    VolumeId volume;
    StreamRefusal refusal;
  };
  /// Those that have ended since it was last asked.
  std::vector<Ended> take_ended() { return std::exchange(ended_, {}); }

 private:
  class End;

  EventLoop& loop_;
  Core& core_;
  std::unordered_map<uint64_t, std::unique_ptr<End>> ends_;
  std::vector<uint64_t> touched_;
  std::vector<uint64_t> stalled_;    // had no room for bytes
  std::vector<uint64_t> lingering_;  // are closing
  std::vector<Ended> ended_;
  uint64_t bytes_sent_ = 0;
  uint64_t bytes_received_ = 0;
  bool told_ = false;
  bool received_ = false;
};

}  // namespace cloudfs::shell
