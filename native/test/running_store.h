// A store in production's shape (thread, files, sockets) for tests, and a client that speaks to it over a real socket.
#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core_driver.h"
#include "nbd_peer.h"
#include "shell/store.h"
#include "temp_dir.h"

namespace cloudfs::test {

/// Keeps what a store tells, for the test's thread to wait for.
class Told final : public shell::StoreObserver {
 public:
  void event(Event event) override {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    changed_.notify_all();
  }
  void answer(shell::CommandAnswer answer) override {
    const std::lock_guard lock(mutex_);
    answers_.emplace(answer.id, std::move(answer));
    changed_.notify_all();
  }

  /// The first event of this name, or 'store-failed'.
  Event wait_event(const std::string& name) {
    std::unique_lock lock(mutex_);
    const Event* found = nullptr;
    changed_.wait(lock, [&] {
      for (const Event& event : events_) {
        if (event.name == name || event.name == "store-failed") found = &event;
        if (found != nullptr) break;
      }
      return found != nullptr;
    });
    return *found;
  }

  shell::CommandAnswer wait_answer(uint64_t id) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return answers_.contains(id); });
    shell::CommandAnswer answer = answers_.at(id);
    answers_.erase(id);
    return answer;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Event> events_;
  std::map<uint64_t, shell::CommandAnswer> answers_;
};

class RunningStore {
 public:
  /// Formats one in `dir`; with `file_bytes`, as one big file.
  explicit RunningStore(const TempDir& dir, CoreParams params = running_params(), uint64_t file_bytes = 0)
      : store(std::make_unique<shell::Store>(shell::create_device({dir.file("store"), false, file_bytes}),
                                             params, told)) {
    store->format(sample_identity());
    REQUIRE(told.wait_event("ready").name == "ready");
  }

  static CoreParams running_params() {
    CoreParams params;
    params.segment_log2 = 20;
    params.segment_limit = 200;
    return params;
  }

  shell::CommandAnswer command(const std::string& verb, const std::string& arguments = "{}") {
    const uint64_t id = ++commands_;
    store->command(id, verb, arguments, {});
    return told.wait_answer(id);
  }

  std::string create(uint64_t size_bytes, const std::string& name, uint8_t seed = 1) {
    const auto answer = command("create", create_arguments(sample_create(size_bytes, name, seed), seed));
    REQUIRE_MESSAGE(answer.error_code == "", answer.message);
    return field(answer.result, "volume");
  }

  /// @returns the port, or an error's code
  std::pair<uint16_t, std::string> listen(const std::string& key, const shell::ListenAddress& address,
                                          const std::string& volume = "") {
    return call<std::pair<uint16_t, std::string>>([&](auto done) {
      store->listen(key, address, volume, [done](uint16_t port, const shell::Error* error) {
        done({port, error == nullptr ? "" : error->code()});
      });
    });
  }

  void listen_unix(const std::string& path, const std::string& volume = "") {
    shell::ListenAddress address;
    address.path = path;
    REQUIRE(listen(path, address, volume).second == "");
  }

  bool unlisten(const std::string& key) {
    return call<bool>([&](auto done) { store->unlisten(key, done); });
  }

  shell::StoreStats stats() {
    return call<shell::StoreStats>([&](auto done) { store->stats(done); });
  }

  Told told;
  std::unique_ptr<shell::Store> store;

 private:
  /// Waits for a callback on the store's thread.
  template <class Result, class Start>
  static Result call(Start start) {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Result> result;
    start([&](Result given) {
      const std::lock_guard lock(mutex);
      result = std::move(given);
      changed.notify_all();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return result.has_value(); });
    return *result;
  }

  uint64_t commands_ = 0;
};

/// A blocking NBD client on a real socket; simple replies.
class NbdSocket {
 public:
  explicit NbdSocket(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    connect(address);
  }
  explicit NbdSocket(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connect(address);
  }

  bool connected() const { return connected_; }

  /// Chooses an export the old way. @returns its size; 0 = refused
  uint64_t open(const std::string& name = "") {
    if (receive(18) != nbd_test::greeting()) return 0;
    send(nbd_test::hello() + nbd_test::option(nbd_test::kOptExportName, name));
    const std::string answer = receive(10);
    return answer.size() < 10 ? 0 : nbd_test::from_be<uint64_t>(answer.substr(0, 8));
  }

  void send(const std::string& bytes) {
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t count = ::send(socket_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) return;
      sent += static_cast<size_t>(count);
    }
  }

  /// So many bytes; fewer if the server hangs up first.
  std::string receive(size_t bytes) {
    std::string result(bytes, '\0');
    size_t got = 0;
    while (got < bytes) {
      const ssize_t count = ::recv(socket_.get(), result.data() + got, bytes - got, 0);
      if (count <= 0) break;
      got += static_cast<size_t>(count);
    }
    result.resize(got);
    return result;
  }

  struct Answer {
    uint32_t error = 0xffffffff;  // the server hung up
    uint64_t cookie = 0;
  };
  /// The header of the next simple reply; a read's data follows.
  Answer answer() {
    const std::string header = receive(16);
    if (header.size() < 16) return {};
    return {nbd_test::from_be<uint32_t>(header.substr(4, 4)),
            nbd_test::from_be<uint64_t>(header.substr(8, 8))};
  }

  /// @returns the reply's error
  uint32_t call(const std::string& request) {
    send(request);
    return answer().error;
  }
  std::string read(uint64_t offset, uint32_t bytes) {
    CHECK(call(nbd_test::request(nbd_test::kRead, 1, offset, bytes)) == 0);
    return receive(bytes);
  }

  void hang_up() { socket_.reset(); }

 private:
  template <class Address>
  void connect(const Address& address) {
    const auto* const generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
    connected_ = ::connect(socket_.get(), generic, sizeof address) == 0;
  }

  shell::Fd socket_;
  bool connected_ = false;
};

}  // namespace cloudfs::test
