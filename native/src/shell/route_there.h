// A connection to the engine of a volume's primary, over which an endpoint's requests go. What is said on it is
// nbd::Client's; here bytes are moved. Everything is called on the loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "bridge/endpoint.h"
#include "nbd/client.h"
#include "shell/event_loop.h"
#include "shell/stream.h"

namespace cloudfs::shell {

class RouteThere final : public bridge::Route, public Watcher {
 public:
  /// `early`: bytes that were received already. `touched` is called when receive() or flush() has something to do.
  RouteThere(EventLoop& loop, std::unique_ptr<Stream> stream, const std::vector<uint8_t>& early,
             std::function<void()> touched);
  ~RouteThere() override;
  RouteThere(const RouteThere&) = delete;
  RouteThere& operator=(const RouteThere&) = delete;

  void send(const ClientOp& op) override;
  void seen(uint64_t sequence) override;
  void ready(uint32_t events) override;

  /// Takes what has been received; appends answers.
  void receive(std::vector<Reply>& replies) { client_.advance(replies); }
  /// Sends what the socket takes, all of a turn in one write.
  void flush();

  bool is_greeted() const { return client_.greeted(); }
  const nbd::SessionGreeting& greeting() const { return client_.greeting(); }
  /// The socket is at its end, or what came is not believed.
  bool is_over() const { return !stream_ || client_.failure().has_value(); }
  const std::optional<nbd::Client::Failure>& failure() const { return client_.failure(); }
  uint64_t since_ns() const { return since_ns_; }

 private:
  void hang_up();

  EventLoop& loop_;
  std::unique_ptr<Stream> stream_;
  const std::function<void()> touched_;
  const uint64_t since_ns_;
  nbd::Client client_;
  uint32_t watched_ = 0;
};

}  // namespace cloudfs::shell
