// A connected byte stream that does not block. Sockets are one kind; TLS over a socket will be another: everything above
// speaks to this interface only.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "shell/fd.h"

namespace cloudfs::shell {

class Stream {
 public:
  virtual ~Stream() = default;  // closes it

  /// What epoll is to watch.
  virtual int fd() const = 0;
  /// @returns bytes read (above 0); 0 = the other side sends no more; -EAGAIN = nothing there now; else -errno
  virtual ssize_t read(uint8_t* target, size_t bytes) = 0;
  /// @returns bytes taken (perhaps not all); -EAGAIN = none now; else -errno
  virtual ssize_t writev(std::span<const iovec> parts) = 0;
};

/// Over a connected socket, which it makes non-blocking.
std::unique_ptr<Stream> make_socket_stream(Fd socket);

/// Bytes that the other host has not confirmed after this long end the connection: the host is gone.
constexpr unsigned kUnconfirmedMsMax = 15'000;

/// As make_socket_stream, for a connection to another host: small messages leave at once, and a host that vanishes ends it.
std::unique_ptr<Stream> make_connected_stream(Fd socket);

}  // namespace cloudfs::shell
