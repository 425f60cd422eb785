#include "shell/relay.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "shell/clock.h"

using namespace cloudfs::shell;

namespace {

/// Two joined connections: the test holds the outer end of each.
struct Joined {
  explicit Joined(std::vector<uint8_t> early = {}) {
    int client_ends[2];
    int server_ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, client_ends) == 0);
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, server_ends) == 0);
    client = Fd(client_ends[0]);
    server = Fd(server_ends[0]);
    relay = std::make_unique<Relay>(loop, make_socket_stream(Fd(client_ends[1])),
                                    make_socket_stream(Fd(server_ends[1])), early, [this] {
                                      ended = true;
                                      relay.reset();
                                    });
  }
  void run(int rounds = 20) {
    for (int i = 0; i < rounds; ++i) loop.wait(now_ns());
  }

  EventLoop loop;
  Fd client;
  Fd server;
  bool ended = false;
  std::unique_ptr<Relay> relay;
};

std::string receive(const Fd& from, size_t bytes_max = 1 << 20) {
  std::string text(bytes_max, '\0');
  const ssize_t bytes = ::recv(from.get(), text.data(), text.size(), MSG_DONTWAIT);
  text.resize(bytes > 0 ? static_cast<size_t>(bytes) : 0);
  return text;
}

void send(const Fd& to, const std::string& text) {
  REQUIRE(::send(to.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
}

}  // namespace

TEST_CASE("a relay passes on what either side says, what came early first") {
  Joined joined({'h', 'i', ' '});
  send(joined.server, "there");
  send(joined.client, "hello");
  joined.run();
  CHECK(receive(joined.client) == "hi there");
  CHECK(receive(joined.server) == "hello");
  CHECK(!joined.ended);
}

TEST_CASE("a relay passes on a side's last words, then ends the other") {
  Joined joined;
  send(joined.server, "bye");
  joined.server.reset();
  joined.run();
  CHECK(joined.ended);
  CHECK(receive(joined.client) == "bye");
  uint8_t byte = 0;
  CHECK(::recv(joined.client.get(), &byte, 1, MSG_DONTWAIT) == 0);
}

TEST_CASE("a relay takes no more than a buffer from a side whose other side does not read") {
  Joined joined;
  const std::string block(64 * 1024, 'x');
  size_t taken = 0;
  for (int i = 0; i < 1000; ++i) {
    const ssize_t sent = ::send(joined.client.get(), block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) taken += static_cast<size_t>(sent);
    joined.run(2);
  }
  // The sockets' own buffers hold some of it besides.
  CHECK(taken >= kRelayBufferBytes);
  CHECK(taken < 8 * kRelayBufferBytes);
  size_t received = 0;
  for (int i = 0; i < 1000 && received < taken; ++i) {
    received += receive(joined.server).size();
    joined.run(2);
  }
  CHECK(received == taken);
  CHECK(!joined.ended);
}

TEST_CASE("a relay moves many bytes both ways at once, unchanged") {
  Joined joined;
  constexpr size_t kBytes = 8 << 20;
  const auto byte_at = [](size_t i) { return static_cast<char>((i * 2654435761u) >> 13); };
  std::string data(kBytes, '\0');
  for (size_t i = 0; i < kBytes; ++i) data[i] = byte_at(i);
  const auto speak = [&](const Fd& end) {
    for (size_t at = 0; at < kBytes;) {
      const ssize_t sent = ::send(end.get(), data.data() + at, kBytes - at, MSG_NOSIGNAL);
      if (sent <= 0) return;
      at += static_cast<size_t>(sent);
    }
  };
  std::string heard[2];
  const auto listen = [&](const Fd& end, std::string& text) {
    text.resize(kBytes);
    for (size_t at = 0; at < kBytes;) {
      const ssize_t bytes = ::recv(end.get(), text.data() + at, kBytes - at, 0);
      if (bytes <= 0) return;
      at += static_cast<size_t>(bytes);
    }
  };
  std::vector<std::thread> threads;
  threads.emplace_back([&] { speak(joined.client); });
  threads.emplace_back([&] { speak(joined.server); });
  threads.emplace_back([&] { listen(joined.client, heard[0]); });
  threads.emplace_back([&] { listen(joined.server, heard[1]); });
  std::atomic<int> done = 0;
  std::thread waiter([&] {
    for (std::thread& thread : threads) thread.join();
    done = 1;
    joined.loop.post([] {});
  });
  while (done == 0) joined.loop.wait(std::nullopt);
  waiter.join();
  CHECK(heard[0] == data);
  CHECK(heard[1] == data);
}
