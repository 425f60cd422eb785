#include "shell/bridge.h"

#include <utility>

#include "shell/worker_pool.h"

namespace cloudfs::shell {

Bridge::Bridge(BridgeObserver& observer)
    : observer_(observer), thread_(start_thread("cfs-bridge", [this] { run(); })) {}

Bridge::~Bridge() {
  loop_.post([this] { ending_ = true; });
  thread_.join();
}

void Bridge::run() {
  while (!ending_) loop_.wait(std::nullopt);
}

void Bridge::listen(ListenAddress address, Listened done) {
  loop_.post([this, address = std::move(address), done = std::move(done)] {
    const std::string& path = address.path;
    try {
      if (listeners_.contains(path)) throw Error("ERR_ADDRESS_IN_USE", "there is a bridge at " + path);
      listeners_.emplace(
          path, std::make_unique<Listener>(loop_, address, [this, path](std::unique_ptr<Stream> stream) {
            accept(path, std::move(stream));
          }));
    } catch (const Error& error) {
      done(&error);
      return;
    }
    done(nullptr);
  });
}

void Bridge::unlisten(std::string path, std::function<void(bool known)> done) {
  loop_.post([this, path = std::move(path), done = std::move(done)] {
    const bool known = listeners_.erase(path) > 0;
    std::erase_if(clients_, [&](const auto& client) { return client.second.path == path; });
    done(known);
  });
}

void Bridge::accept(const std::string& path, std::unique_ptr<Stream> stream) {
  if (clients_.size() >= kBridgeClientsMax) return;
  const uint64_t id = ++clients_ever_;
  clients_.emplace(id, Client{path, std::move(stream), nullptr});
  observer_.client(id, path);
}

void Bridge::join(uint64_t client, Fd server, std::vector<uint8_t> early) {
  // std::function wants what it holds to be copied.
  auto held = std::make_shared<Fd>(std::move(server));
  loop_.post([this, client, held, early = std::move(early)] {
    const auto found = clients_.find(client);
    if (found == clients_.end() || !found->second.waiting) return;
    found->second.relay = std::make_unique<Relay>(loop_, std::move(found->second.waiting),
                                                  make_connected_stream(std::move(*held)), early,
                                                  [this, client] { clients_.erase(client); });
  });
}

void Bridge::refuse(uint64_t client) {
  loop_.post([this, client] { clients_.erase(client); });
}

}  // namespace cloudfs::shell
