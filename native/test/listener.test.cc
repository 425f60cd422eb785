#include "shell/listener.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <vector>

#include "shell/error.h"
#include "temp_dir.h"

using namespace cloudfs::shell;
using cloudfs::test::TempDir;

namespace {

Fd connect_unix(const std::string& path) {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(socket.get(), static_cast<const sockaddr*>(static_cast<const void*>(&address)),
                sizeof address) != 0) {
    socket.reset();
  }
  return socket;
}

Fd connect_tcp(uint16_t port) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket.get(), static_cast<const sockaddr*>(static_cast<const void*>(&address)),
                sizeof address) != 0) {
    socket.reset();
  }
  return socket;
}

ListenAddress at_path(const std::string& path) {
  ListenAddress address;
  address.path = path;
  return address;
}

ListenAddress at_loopback(uint16_t port) {
  ListenAddress address;
  address.host = "127.0.0.1";
  address.port = port;
  return address;
}

std::string listen_error(EventLoop& loop, const ListenAddress& address) {
  try {
    const Listener listener(loop, address, [](std::unique_ptr<Stream>) {});
  } catch (const Error& error) {
    return error.code();
  }
  return "";
}

}  // namespace

TEST_CASE("listener: bytes pass both ways over a unix socket and over TCP, and the end of a client is seen") {
  TempDir dir;
  EventLoop loop;
  for (const bool tcp : {false, true}) {
    CAPTURE(tcp);
    std::unique_ptr<Stream> stream;
    const Listener listener(loop, tcp ? at_loopback(0) : at_path(dir.file("socket")),
                            [&](std::unique_ptr<Stream> accepted) { stream = std::move(accepted); });
    Fd client = tcp ? connect_tcp(listener.port()) : connect_unix(dir.file("socket"));
    REQUIRE(client);
    while (!stream) loop.wait(std::nullopt);
    uint8_t bytes[8];
    CHECK(stream->read(bytes, sizeof bytes) == -EAGAIN);
    REQUIRE(::send(client.get(), "ping", 4, 0) == 4);
    CHECK(stream->read(bytes, sizeof bytes) == 4);
    iovec parts[2] = {{bytes, 2}, {bytes + 2, 2}};
    CHECK(stream->writev(parts) == 4);
    char back[4];
    CHECK(::recv(client.get(), back, 4, MSG_WAITALL) == 4);
    CHECK(std::string(back, 4) == "ping");
    client.reset();
    CHECK(stream->read(bytes, sizeof bytes) == 0);
  }
}

TEST_CASE("listener: writing to a client that is gone is an error, not a signal") {
  TempDir dir;
  EventLoop loop;
  std::unique_ptr<Stream> stream;
  const Listener listener(loop, at_path(dir.file("socket")),
                          [&](std::unique_ptr<Stream> accepted) { stream = std::move(accepted); });
  connect_unix(dir.file("socket")).reset();
  while (!stream) loop.wait(std::nullopt);
  uint8_t byte = 0;
  iovec part{&byte, 1};
  CHECK(stream->writev({&part, 1}) == -EPIPE);
}

TEST_CASE(
    "listener: a socket file left by a killed process is taken over; one in use, or a plain file, is not") {
  TempDir dir;
  EventLoop loop;
  const std::string path = dir.file("socket");
  {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const Fd stale(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(stale.get(), static_cast<const sockaddr*>(static_cast<const void*>(&address)),
                   sizeof address) == 0);
  }
  {
    const Listener listener(loop, at_path(path), [](std::unique_ptr<Stream>) {});
    CHECK(listen_error(loop, at_path(path)) == "ERR_ADDRESS_IN_USE");
    CHECK(std::filesystem::exists(path));
  }
  CHECK(!std::filesystem::exists(path));
  std::ofstream(path) << "mine";
  CHECK(listen_error(loop, at_path(path)) == "ERR_ADDRESS_IN_USE");
  CHECK(std::filesystem::file_size(path) == 4);
}

TEST_CASE("listener: a unix socket has the mode asked for, whatever the umask") {
  TempDir dir;
  EventLoop loop;
  const mode_t before = ::umask(0077);
  const Listener listener(loop, at_path(dir.file("socket")), [](std::unique_ptr<Stream>) {});
  ::umask(before);
  struct stat stat {};
  REQUIRE(::stat(dir.file("socket").c_str(), &stat) == 0);
  CHECK((stat.st_mode & 0777) == 0660);
}

TEST_CASE("listener: closing leaves alone a socket that somebody else put at the path") {
  TempDir dir;
  EventLoop loop;
  auto first = std::make_unique<Listener>(loop, at_path(dir.file("socket")), [](std::unique_ptr<Stream>) {});
  std::filesystem::remove(dir.file("socket"));
  const Listener second(loop, at_path(dir.file("socket")), [](std::unique_ptr<Stream>) {});
  first.reset();
  CHECK(connect_unix(dir.file("socket")));
}

TEST_CASE(
    "listener: a port in use, a path too long and a name for an address are refused, each with its code") {
  EventLoop loop;
  const Listener listener(loop, at_loopback(0), [](std::unique_ptr<Stream>) {});
  CHECK(listen_error(loop, at_loopback(listener.port())) == "ERR_ADDRESS_IN_USE");
  CHECK(listen_error(loop, at_path("/tmp/" + std::string(200, 'x'))) == "ERR_ADDRESS_INVALID");
  CHECK(listen_error(loop, at_path("/nonexistent/socket")) == "ERR_LISTEN");
  ListenAddress named;
  named.host = "localhost";
  CHECK(listen_error(loop, named) == "ERR_ADDRESS_INVALID");
}
