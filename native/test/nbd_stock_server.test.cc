// The client's half against a server that others wrote, once: what both sides read in the protocol document is the same.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "nbd_client_peer.h"

using namespace nbd_test;

namespace {

/// nbdkit with a disk in memory, at the other end of a socket.
class StockServer {
 public:
  StockServer() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    process_ = ::fork();
    if (process_ == 0) {
      ::dup2(ends[1], 0);
      ::dup2(ends[1], 1);
      ::dup2(::open("/dev/null", O_WRONLY), 2);  // it tells of the request that it refuses
      ::execlp("nbdkit", "nbdkit", "-s", "memory", "1M", nullptr);
      ::_exit(127);
    }
    ::close(ends[1]);
    socket_ = ends[0];
    const timeval patience{10, 0};
    REQUIRE(::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
  }
  ~StockServer() {
    ::close(socket_);
    ::waitpid(process_, nullptr, 0);
  }

  void say(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      REQUIRE(sent > 0);
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  std::string hear(size_t bytes) {
    std::string text(bytes, '\0');
    if (bytes > 0) REQUIRE(::recv(socket_, text.data(), bytes, MSG_WAITALL) == static_cast<ssize_t>(bytes));
    return text;
  }
  /// Up to the acknowledgement.
  void agree(const std::string& option) {
    say(option);
    for (;;) {
      const std::string header = hear(20);
      const auto reply = from_be<uint32_t>(std::string_view(header).substr(12));
      hear(from_be<uint32_t>(std::string_view(header).substr(16)));
      REQUIRE(reply < 0x80000000);
      if (reply == kRepAck) return;
    }
  }
  void answer(ClientPeer& peer, size_t replies) {
    say(peer.sent());
    while (peer.replies.size() < replies) {
      const auto window = peer.client.receive_target();
      REQUIRE(window.bytes > 0);
      const ssize_t got = ::recv(socket_, window.data, window.bytes, 0);
      REQUIRE(got > 0);
      peer.client.received(static_cast<size_t>(got));
      peer.client.advance(peer.replies);
    }
  }

 private:
  int socket_ = -1;
  pid_t process_ = 0;
};

bool have_nbdkit() {
  return ::access("/usr/bin/nbdkit", X_OK) == 0;
}

}  // namespace

TEST_CASE("a stock server understands the client's requests, and is understood" *
          doctest::skip(!have_nbdkit())) {
  using Kind = ClientOp::Kind;
  for (const bool structured : {true, false}) {
    StockServer server;
    REQUIRE(server.hear(18).substr(0, 16) == "NBDMAGICIHAVEOPT");
    server.say(hello());
    if (structured) {
      server.agree(option(kOptStructuredReply));
      server.agree(meta(kOptSetMetaContext, "", {"base:allocation"}));
    }
    server.agree(go(""));
    // nbdkit gives its only context this id.
    ClientPeer peer(Terms{structured, 1});
    const std::string payload(300'000, 'p');
    peer.ask(Kind::write, 65'536, payload.size(), 0, payload);
    peer.ask(Kind::flush, 0, 0);
    server.answer(peer, 2);
    peer.ask(Kind::read, 0, 1 << 20);
    peer.ask(Kind::trim, 983'040, 65'536);
    if (structured) peer.ask(Kind::block_status, 0, 1 << 20);
    peer.ask(Kind::read, 1 << 21, 512);
    const size_t replies = structured ? 6 : 5;
    server.answer(peer, replies);
    REQUIRE_FALSE(peer.client.failure());
    std::string bytes(1 << 20, '\0');
    uint64_t status = 0;
    for (const Reply& reply : peer.replies) {
      CHECK(reply.error == (reply.request == replies ? EINVAL : 0));
      uint64_t at = 0;
      for (const Piece& piece : reply.pieces) {
        if (reply.request == 3 && !piece.hole) bytes.replace(at, piece.bytes, text_of(piece.data));
        at += piece.bytes;
      }
      if (reply.request == 5 && structured) status = at;
    }
    CHECK(bytes == std::string(65'536, '\0') + payload + std::string((1 << 20) - 65'536 - 300'000, '\0'));
    CHECK(status == (structured ? 1 << 20 : 0));
  }
}
