// Unix sockets whose clients are served by another host: each client is joined to a connection that somebody else opens,
// and from then on its bytes are moved here, on one thread for all of them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "shell/error.h"
#include "shell/event_loop.h"
#include "shell/listener.h"
#include "shell/relay.h"

namespace cloudfs::shell {

/// Clients at once, of all sockets. At this many the next one is closed as soon as it is accepted.
constexpr size_t kBridgeClientsMax = 1024;

/// Told on the bridge's thread; must not block, nor call the bridge.
class BridgeObserver {
 public:
  virtual ~BridgeObserver() = default;
  /// Somebody has connected to the socket at `path`, and waits for join() or refuse().
  virtual void client(uint64_t id, const std::string& path) = 0;
};

/// Methods may be called from any thread.
class Bridge {
 public:
  explicit Bridge(BridgeObserver& observer);
  /// Ends the thread and all connections.
  ~Bridge();
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;

  // `done` is called on the bridge's thread. `error` is null, or what Listener threw.
  using Listened = std::function<void(const Error* error)>;
  void listen(ListenAddress address, Listened done);
  /// Stops listening at `path` and ends the connections that came from there.
  void unlisten(std::string path, std::function<void(bool known)> done);

  /// Joins a client to `server`; `early`: bytes of it received already. A client that is gone closes `server`.
  void join(uint64_t client, Fd server, std::vector<uint8_t> early);
  /// Closes a client that waits.
  void refuse(uint64_t client);

 private:
  struct Client {
    std::string path;
    std::unique_ptr<Stream> waiting;  // until it is joined
    std::unique_ptr<Relay> relay;
  };
  void run();
  void accept(const std::string& path, std::unique_ptr<Stream> stream);

  BridgeObserver& observer_;
  EventLoop loop_;
  bool ending_ = false;  // this and what follows are the thread's
  uint64_t clients_ever_ = 0;
  std::unordered_map<std::string, std::unique_ptr<Listener>> listeners_;
  std::unordered_map<uint64_t, Client> clients_;
  std::thread thread_;
};

}  // namespace cloudfs::shell
