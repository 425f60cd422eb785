#include "shell/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "shell/error.h"

namespace cloudfs::shell {

namespace {

constexpr int kBacklog = 128;
constexpr int kAcceptsPerRound = 16;  // then other sockets have their turn

[[noreturn]] void fail(const std::string& what, const char* syscall, int error) {
  throw Error(error == EADDRINUSE ? "ERR_ADDRESS_IN_USE" : "ERR_LISTEN", what, error, syscall);
}

Fd make_spare() {
  return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

template <class Address>
const sockaddr* generic(const Address& address) {
  return static_cast<const sockaddr*>(static_cast<const void*>(&address));
}

Fd make_socket(int family) {
  Fd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) fail("cannot make a socket", "socket", errno);
  return socket;
}

/// A socket file that nobody listens at is left over from a process that was killed.
void remove_stale(const sockaddr_un& address) {
  struct stat stat {};
  if (::lstat(address.sun_path, &stat) != 0 || !S_ISSOCK(stat.st_mode)) return;
  const Fd probe = make_socket(AF_UNIX);
  if (::connect(probe.get(), generic(address), sizeof address) != 0 && errno == ECONNREFUSED) {
    ::unlink(address.sun_path);
  }
}

Fd listen_unix(const std::string& path, mode_t mode) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    throw Error("ERR_ADDRESS_INVALID", "a unix socket's path has at most 107 bytes: " + path);
  }
  path.copy(address.sun_path, path.size());
  remove_stale(address);
  Fd socket = make_socket(AF_UNIX);
  ::fchmod(socket.get(), mode);  // before bind: the file never has another mode
  if (::bind(socket.get(), generic(address), sizeof address) != 0)
    fail("cannot listen at " + path, "bind", errno);
  ::chmod(path.c_str(), mode);  // what the umask took away
  if (::listen(socket.get(), kBacklog) != 0) fail("cannot listen at " + path, "listen", errno);
  return socket;
}

template <class Address>
Fd listen_tcp_at(const std::string& name, int family, const Address& address) {
  Fd socket = make_socket(family);
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket.get(), generic(address), sizeof address) != 0)
    fail("cannot listen at " + name, "bind", errno);
  if (::listen(socket.get(), kBacklog) != 0) fail("cannot listen at " + name, "listen", errno);
  return socket;
}

Fd listen_tcp(const std::string& host, uint16_t port) {
  const std::string name = host + " port " + std::to_string(port);
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) return listen_tcp_at(name, AF_INET, v4);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) return listen_tcp_at(name, AF_INET6, v6);
  throw Error("ERR_ADDRESS_INVALID", "not an IPv4 or IPv6 address: " + host);
}

uint16_t port_of(int socket) {
  sockaddr_storage address{};
  socklen_t bytes = sizeof address;
  if (::getsockname(socket, static_cast<sockaddr*>(static_cast<void*>(&address)), &bytes) != 0) return 0;
  in_port_t port = 0;  // at the same place for both families
  std::memcpy(&port,
              static_cast<const char*>(static_cast<const void*>(&address)) + offsetof(sockaddr_in, sin_port),
              sizeof port);
  return ntohs(port);
}

}  // namespace

Listener::Listener(EventLoop& loop, const ListenAddress& address, Accepted accepted)
    : loop_(loop),
      accepted_(std::move(accepted)),
      path_(address.path),
      socket_(address.path.empty() ? listen_tcp(address.host, address.port)
                                   : listen_unix(address.path, address.mode)) {
  if (path_.empty()) {
    port_ = port_of(socket_.get());
  } else {
    struct stat stat {};
    if (::stat(path_.c_str(), &stat) == 0) {
      device_ = stat.st_dev;
      inode_ = stat.st_ino;
    }
  }
  spare_ = make_spare();
  loop_.watch(socket_.get(), EPOLLIN, *this);
}

Listener::~Listener() {
  loop_.unwatch(socket_.get(), *this);
  struct stat stat {};
  if (!path_.empty() && ::stat(path_.c_str(), &stat) == 0 && stat.st_dev == device_ &&
      stat.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

void Listener::ready(uint32_t) {
  for (int i = 0; i < kAcceptsPerRound; ++i) {
    Fd client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client) {
      // Left in the queue, it would make the listener ready for ever.
      if (errno == EMFILE && spare_) {
        spare_.reset();
        Fd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC)).reset();
        spare_ = make_spare();
      }
      return;  // else EAGAIN, or a client that went away before it was accepted
    }
    if (path_.empty()) {
      const int on = 1;
      ::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      ::setsockopt(client.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    accepted_(make_socket_stream(std::move(client)));
  }
}

}  // namespace cloudfs::shell
