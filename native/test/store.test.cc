// The shell as it runs in production: a real device, real sockets, all threads. Under ThreadSanitizer this is what shows
// that they share nothing they must not.
#include "shell/store.h"

#include <doctest/doctest.h>

#include <random>
#include <thread>

#include "running_store.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

constexpr uint64_t kVolumeBytes = 8 << 20;

std::string bytes_of(size_t bytes, uint32_t seed) {
  std::mt19937 random(seed);
  std::string result(bytes, '\0');
  for (char& byte : result) byte = static_cast<char>(random());
  return result;
}

}  // namespace

TEST_CASE(
    "store: what a client writes, another reads, over a unix socket and over TCP, in a directory and in a "
    "file") {
  for (const uint64_t file_bytes : {uint64_t{0}, uint64_t{256} << 20}) {
    TempDir dir;
    RunningStore running(dir, RunningStore::running_params(), file_bytes);
    const std::string volume = running.create(kVolumeBytes, "disk");
    running.listen_unix(dir.file("socket"), volume);
    shell::ListenAddress loopback;
    loopback.host = "127.0.0.1";
    const auto [port, error] = running.listen("tcp", loopback);
    REQUIRE(error == "");

    NbdSocket unix_client(dir.file("socket"));
    REQUIRE(unix_client.open() == kVolumeBytes);
    NbdSocket tcp_client(port);
    REQUIRE(tcp_client.open(volume) == kVolumeBytes);
    const std::string data = bytes_of(100'000, 1);
    CHECK(unix_client.call(nbd_test::write(1, 12'345, data)) == 0);
    CHECK(unix_client.call(nbd_test::request(nbd_test::kFlush, 2, 0, 0)) == 0);
    CHECK(tcp_client.read(12'345, 100'000) == data);
    CHECK(tcp_client.read(0, 4096) == std::string(4096, '\0'));
  }
}

TEST_CASE("store: a volume's own socket shows that volume and its snapshots alone") {
  TempDir dir;
  RunningStore running(dir);
  const std::string volume = running.create(kVolumeBytes, "one", 1);
  const std::string other = running.create(kVolumeBytes, "two", 2);
  running.listen_unix(dir.file("socket"), volume);
  CHECK(NbdSocket(dir.file("socket")).open("") == kVolumeBytes);
  CHECK(NbdSocket(dir.file("socket")).open(volume) == kVolumeBytes);
  CHECK(NbdSocket(dir.file("socket")).open(other) == 0);
  CHECK(NbdSocket(dir.file("socket")).open("two") == 0);
  CHECK(NbdSocket(dir.file("socket")).open(volume.substr(0, 20)) == 0);
}

TEST_CASE(
    "store: a request of 32 MiB and one of a byte pass, many in flight, on a socket that is slow to read") {
  TempDir dir;
  RunningStore running(dir);
  const uint64_t size = 64 << 20;
  const std::string volume = running.create(size, "disk");
  running.listen_unix(dir.file("socket"), volume);
  NbdSocket client(dir.file("socket"));
  REQUIRE(client.open() == size);
  const std::string data = bytes_of(32 << 20, 7);
  CHECK(client.call(nbd_test::write(1, 4097, data)) == 0);
  CHECK(client.call(nbd_test::write(2, 5, "x")) == 0);
  // All reads are sent before any reply is taken: the server has to stop and go on as the socket fills and empties.
  for (uint64_t i = 0; i < 64; ++i) {
    client.send(nbd_test::request(nbd_test::kRead, i, 4097 + i * 500'000, 500'000));
  }
  for (int i = 0; i < 64; ++i) {
    const auto [error, cookie] = client.answer();
    REQUIRE(error == 0);
    const std::string got = client.receive(500'000);
    CHECK((got == data.substr(cookie * 500'000, 500'000)));
  }
  CHECK(client.read(4, 3) == std::string("\0x\0", 3));
}

TEST_CASE(
    "store: more requests at once than may be in flight are all answered, also if none reaches the core") {
  TempDir dir;
  RunningStore running(dir);
  const std::string volume = running.create(kVolumeBytes, "disk");
  running.listen_unix(dir.file("socket"), volume);
  NbdSocket client(dir.file("socket"));
  REQUIRE(client.open() == kVolumeBytes);
  // Nothing but the server's own sending makes room for the next of these: no event comes from elsewhere.
  constexpr uint64_t kRequests = 10 * nbd::kRequestsInFlightMax;
  std::string requests;
  for (uint64_t i = 0; i < kRequests; ++i) requests += nbd_test::request(99, i, 0, 0);
  client.send(requests);
  for (uint64_t i = 0; i < kRequests; ++i) {
    const auto [error, cookie] = client.answer();
    REQUIRE(error == nbd_test::kEinval);
    REQUIRE(cookie == i);
  }
}

TEST_CASE("store: clients that vanish with requests in flight leave the others served, and nothing behind") {
  TempDir dir;
  RunningStore running(dir);
  const std::string volume = running.create(kVolumeBytes, "disk");
  running.listen_unix(dir.file("socket"), volume);
  NbdSocket steady(dir.file("socket"));
  REQUIRE(steady.open() == kVolumeBytes);
  const std::string data = bytes_of(256 << 10, 3);
  for (uint64_t round = 0; round < 30; ++round) {
    NbdSocket client(dir.file("socket"));
    if (round % 3 != 0) REQUIRE(client.open() == kVolumeBytes);
    if (round % 3 == 1)
      client.send(nbd_test::write(1, 1 << 20, data) + nbd_test::request(nbd_test::kFlush, 2, 0, 0));
    if (round % 3 == 2) {
      for (uint64_t i = 0; i < 20; ++i)
        client.send(nbd_test::request(nbd_test::kRead, i, i << 18, 256 << 10));
      client.send(nbd_test::write(99, 0, data).substr(0, 1000));  // the end of it never comes
    }
    client.hang_up();
    CHECK(steady.call(nbd_test::write(round, 4 << 20, data)) == 0);
  }
  CHECK(steady.read(4 << 20, 256 << 10) == data);
  steady.hang_up();
  while (running.stats().connections > 0) std::this_thread::yield();
}

TEST_CASE("store: unlisten lets clients go once they are answered, and keeps new ones out") {
  TempDir dir;
  RunningStore running(dir);
  const std::string volume = running.create(kVolumeBytes, "disk");
  running.listen_unix(dir.file("socket"), volume);
  shell::ListenAddress again;
  again.path = dir.file("socket");
  CHECK(running.listen(dir.file("socket"), again).second == "ERR_ADDRESS_IN_USE");
  NbdSocket client(dir.file("socket"));
  REQUIRE(client.open() == kVolumeBytes);
  const std::string data = bytes_of(1 << 20, 4);
  CHECK(client.call(nbd_test::write(1, 0, data)) == 0);
  CHECK(running.unlisten(dir.file("socket")));
  CHECK(!running.unlisten(dir.file("socket")));
  CHECK(client.receive(1) == "");
  CHECK(!NbdSocket(dir.file("socket")).connected());
  while (running.stats().connections > 0) std::this_thread::yield();
  running.listen_unix(dir.file("socket"), volume);
  NbdSocket later(dir.file("socket"));
  REQUIRE(later.open() == kVolumeBytes);
  CHECK(later.read(0, 1 << 20) == data);
}

TEST_CASE("store: ending it with clients connected and I/O in flight is safe at any moment") {
  for (int round = 0; round < 5; ++round) {
    TempDir dir;
    RunningStore running(dir);
    const std::string volume = running.create(kVolumeBytes, "disk");
    running.listen_unix(dir.file("socket"), volume);
    NbdSocket client(dir.file("socket"));
    REQUIRE(client.open() == kVolumeBytes);
    const std::string data = bytes_of(64 << 10, 5);
    for (uint64_t i = 0; i < 20; ++i) {
      client.send(nbd_test::write(i, i << 18, data, i % 2 == 0 ? nbd_test::kFua : 0));
      client.send(nbd_test::request(nbd_test::kFlush, 100 + i, 0, 0));
    }
    for (int i = 0; i < round * 4; ++i) client.answer();
    running.store.reset();
  }
}

TEST_CASE(
    "store: many clients write, read and flush at once, commands come in between, and every block is right") {
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  TempDir dir;
  CoreParams params = RunningStore::running_params();
  params.sync_interval_ns = 5'000'000;
  RunningStore running(dir, params);
  const std::string volume = running.create(kVolumeBytes, "disk");
  running.listen_unix(dir.file("socket"), volume);
  constexpr uint32_t kClients = 4;
  constexpr uint64_t kPart = kVolumeBytes / kClients;
  std::atomic<uint32_t> wrong = 0;
  std::vector<std::thread> clients;
  for (uint32_t index = 0; index < kClients; ++index) {
    clients.emplace_back([&, index] {
      std::mt19937 random(seed + index);
      NbdSocket client(dir.file("socket"));
      if (client.open() != kVolumeBytes) ++wrong;
      std::string model(kPart, '\0');
      const uint64_t base = index * kPart;
      for (int round = 0; round < 40; ++round) {
        uint32_t sent = 0;
        for (; sent < 8; ++sent) {
          const size_t offset = random() % (kPart - 20'000);
          const std::string data = bytes_of(1 + random() % 20'000, static_cast<uint32_t>(random()));
          client.send(nbd_test::write(sent, base + offset, data, random() % 8 == 0 ? nbd_test::kFua : 0));
          model.replace(offset, data.size(), data);
          // Overlapping writes in flight have no order of their own.
          if (client.answer().error != 0) ++wrong;
        }
        if (client.call(nbd_test::request(nbd_test::kFlush, 1, 0, 0)) != 0) ++wrong;
        for (uint64_t i = 0; i < 8; ++i) {
          client.send(nbd_test::request(nbd_test::kRead, i, base + i * (kPart / 8), kPart / 8));
        }
        for (int i = 0; i < 8; ++i) {
          const auto [error, cookie] = client.answer();
          const std::string got = client.receive(kPart / 8);
          if (error != 0 || got != model.substr(cookie * (kPart / 8), kPart / 8)) ++wrong;
        }
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    CHECK(running.command("volumes").error_code == "");
    CHECK(running.stats().listeners == 1);
  }
  for (std::thread& client : clients) client.join();
  CHECK(wrong == 0);
}
