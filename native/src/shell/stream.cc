#include "shell/stream.h"

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace cloudfs::shell {

namespace {

class SocketStream final : public Stream {
 public:
  explicit SocketStream(Fd socket) : socket_(std::move(socket)) {
    ::fcntl(socket_.get(), F_SETFL, ::fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
  }

  int fd() const override { return socket_.get(); }

  ssize_t read(uint8_t* target, size_t bytes) override {
    return repeat([&] { return ::recv(socket_.get(), target, bytes, 0); });
  }

  ssize_t writev(std::span<const iovec> parts) override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts.data());
    message.msg_iovlen = std::min<size_t>(parts.size(), IOV_MAX);
    return repeat([&] { return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL); });
  }

 private:
  template <class Call>
  ssize_t repeat(Call call) {
    for (;;) {
      const ssize_t result = call();
      if (result >= 0) return result;
      if (errno == EWOULDBLOCK) return -EAGAIN;
      if (errno != EINTR) return -errno;
    }
  }

  const Fd socket_;
};

}  // namespace

std::unique_ptr<Stream> make_socket_stream(Fd socket) {
  return std::make_unique<SocketStream>(std::move(socket));
}

std::unique_ptr<Stream> make_connected_stream(Fd socket) {
  // Of a socket that is not TCP these fail, and are not needed.
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnconfirmedMsMax, sizeof kUnconfirmedMsMax);
  return make_socket_stream(std::move(socket));
}

}  // namespace cloudfs::shell
