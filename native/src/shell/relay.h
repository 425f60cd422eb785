// Two connected streams, joined: what comes on one goes out on the other. Bytes wait in one bounded buffer for each
// direction; while it is full its source is not read, so a slow reader holds up its own writer and nothing else. Everything
// is called on the loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "shell/event_loop.h"
#include "shell/stream.h"

namespace cloudfs::shell {

/// Of one direction. A full one takes about as long to send as a wake-up costs.
constexpr size_t kRelayBufferBytes = 256 * 1024;

class Relay {
 public:
  /// `early`: bytes of `server` that were received already. `ended` is called once, in EventLoop::wait, when either side
  /// has ended and what it had said has been passed on, as far as the other side still takes it; it may destroy the relay.
  Relay(EventLoop& loop, std::unique_ptr<Stream> client, std::unique_ptr<Stream> server,
        const std::vector<uint8_t>& early, std::function<void()> ended);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

 private:
  /// Bytes on their way, from `begin` to `end`. It is filled up to its end, then emptied, then filled anew.
  struct Way {
    std::unique_ptr<uint8_t[]> bytes;
    size_t size = 0;
    size_t begin = 0;
    size_t end = 0;
    bool source_ended = false;

    bool empty() const { return begin == end; }
    bool full() const { return end == size; }
    bool done() const { return source_ended && empty(); }
  };
  struct End final : Watcher {
    void ready(uint32_t events) override;
    Relay* relay = nullptr;
    std::unique_ptr<Stream> stream;
    uint32_t watched = 0;
    bool broken = false;
  };

  void pump();
  bool carry(End& source, Way& way, End& target);
  void watch(End& end, const Way& incoming, const Way& outgoing);

  EventLoop& loop_;
  std::function<void()> ended_;
  End client_;
  End server_;
  Way upstream_;    // client to server
  Way downstream_;  // server to client
};

}  // namespace cloudfs::shell
