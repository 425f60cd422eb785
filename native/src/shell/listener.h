// Sockets that clients connect to: a unix socket or a TCP port.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "shell/event_loop.h"
#include "shell/stream.h"

namespace cloudfs::shell {

/// A path, or a host and port.
struct ListenAddress {
  std::string path;    // unix socket; empty: TCP
  mode_t mode = 0660;  // of the unix socket
  std::string host;    // numeric address to bind to, IPv4 or IPv6
  uint16_t port = 0;   // 0 = any that is free
};

class Listener final : public Watcher {
 public:
  using Accepted = std::function<void(std::unique_ptr<Stream>)>;

  /// Listens from now on. `accepted` is called in EventLoop::wait.
  /// @throws Error ERR_ADDRESS_IN_USE a process listens there; ERR_ADDRESS_INVALID; ERR_LISTEN for the rest
  Listener(EventLoop& loop, const ListenAddress& address, Accepted accepted);
  /// Closes; a unix socket's file is removed unless somebody put another one there.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  uint16_t port() const { return port_; }

  void ready(uint32_t events) override;

 private:
  EventLoop& loop_;
  const Accepted accepted_;
  const std::string path_;
  Fd socket_;
  Fd spare_;  // given up to turn a client away when descriptors have run out
  uint16_t port_ = 0;
  dev_t device_ = 0;  // which file the unix socket is
  ino_t inode_ = 0;
};

}  // namespace cloudfs::shell
