#include "shell/route_there.h"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "shell/clock.h"

namespace cloudfs::shell {

namespace {

constexpr size_t kPiecesMax = 512;  // of one writev

}  // namespace

RouteThere::RouteThere(EventLoop& loop, std::unique_ptr<Stream> stream, const std::vector<uint8_t>& early,
                       std::function<void()> touched)
    : loop_(loop),
      stream_(std::move(stream)),
      touched_(std::move(touched)),
      since_ns_(now_ns()),
      watched_(EPOLLIN) {
  for (size_t at = 0; at < early.size();) {
    const nbd::Window window = client_.receive_target();
    const size_t count = std::min(window.bytes, early.size() - at);
    if (count == 0) break;
    std::memcpy(window.data, early.data() + at, count);
    client_.received(count);
    at += count;
  }
  loop_.watch(stream_->fd(), watched_, *this);
  touched_();
}

RouteThere::~RouteThere() {
  hang_up();
}

void RouteThere::hang_up() {
  if (!stream_) return;
  loop_.unwatch(stream_->fd(), *this);
  stream_.reset();
}

void RouteThere::send(const ClientOp& op) {
  client_.request(op);
  touched_();
}

void RouteThere::seen(uint64_t sequence) {
  client_.seen(sequence);
  touched_();
}

void RouteThere::ready(uint32_t events) {
  touched_();
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0) return;
  const nbd::Window window = client_.receive_target();
  if (window.bytes == 0) return hang_up();
  const ssize_t bytes = stream_->read(window.data, window.bytes);
  if (bytes > 0) {
    client_.received(static_cast<size_t>(bytes));
  } else if (bytes != -EAGAIN) {
    hang_up();
  }
}

void RouteThere::flush() {
  bool is_blocked = false;
  while (stream_ && !is_blocked) {
    std::array<nbd::OutgoingPiece, kPiecesMax> pieces;
    std::array<iovec, kPiecesMax> parts;
    const size_t count = client_.outgoing(pieces);
    if (count == 0) break;
    for (size_t i = 0; i < count; ++i) parts[i] = {const_cast<uint8_t*>(pieces[i].data), pieces[i].bytes};
    const ssize_t bytes = stream_->writev({parts.data(), count});
    is_blocked = bytes == -EAGAIN;
    if (bytes >= 0) {
      client_.sent(static_cast<size_t>(bytes));
    } else if (!is_blocked) {
      hang_up();
    }
  }
  const uint32_t wanted = uint32_t{EPOLLIN} | (is_blocked ? uint32_t{EPOLLOUT} : 0);
  if (!stream_ || wanted == watched_) return;
  watched_ = wanted;
  loop_.change(stream_->fd(), wanted, *this);
}

}  // namespace cloudfs::shell
