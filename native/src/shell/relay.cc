#include "shell/relay.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/assert.h"

namespace cloudfs::shell {

namespace {

// Reads of one direction in a row; then others get their turn.
constexpr int kReadsPerRound = 8;

}  // namespace

Relay::Relay(EventLoop& loop, std::unique_ptr<Stream> client, std::unique_ptr<Stream> server,
             const std::vector<uint8_t>& early, std::function<void()> ended)
    : loop_(loop), ended_(std::move(ended)) {
  client_.stream = std::move(client);
  server_.stream = std::move(server);
  for (Way* way : {&upstream_, &downstream_}) {
    // Left as they come: memory that no byte has passed through stays the kernel's.
    way->size = kRelayBufferBytes;
    way->bytes = std::make_unique_for_overwrite<uint8_t[]>(way->size);
  }
  ensure(early.size() <= kRelayBufferBytes, "what comes with an answer fits a buffer");
  std::copy(early.begin(), early.end(), downstream_.bytes.get());
  downstream_.end = early.size();
  for (End* end : {&client_, &server_}) {
    end->relay = this;
    // Both are writable: the first wake-up, which is certain, passes on what came early.
    end->watched = uint32_t{EPOLLIN} | uint32_t{EPOLLOUT};
    loop_.watch(end->stream->fd(), end->watched, *end);
  }
}

Relay::~Relay() {
  for (End* end : {&client_, &server_}) loop_.unwatch(end->stream->fd(), *end);
}

void Relay::End::ready(uint32_t events) {
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) broken = true;
  relay->pump();
}

void Relay::pump() {
  const bool whole = carry(client_, upstream_, server_) && carry(server_, downstream_, client_);
  // Of a side that is gone the loop would tell again and again. What it said last went out just now if there was room;
  // nobody waits for an answer to the rest.
  if (!whole || client_.broken || server_.broken || upstream_.done() || downstream_.done()) {
    const std::function<void()> ended = std::move(ended_);  // it may destroy this
    ended();
    return;
  }
  watch(client_, upstream_, downstream_);
  watch(server_, downstream_, upstream_);
}

/// @returns false if the target takes no more, ever
bool Relay::carry(End& source, Way& way, End& target) {
  for (int reads = 0;; ++reads) {
    while (!way.empty()) {
      const iovec part{way.bytes.get() + way.begin, way.end - way.begin};
      const ssize_t sent = target.stream->writev({&part, 1});
      if (sent == -EAGAIN) break;
      if (sent < 0) return false;
      way.begin += static_cast<size_t>(sent);
    }
    if (way.empty()) way.begin = way.end = 0;
    if (way.source_ended || way.full() || reads == kReadsPerRound) return true;
    const ssize_t received = source.stream->read(way.bytes.get() + way.end, way.size - way.end);
    if (received == -EAGAIN) return true;
    if (received <= 0) {
      way.source_ended = true;
      return true;
    }
    way.end += static_cast<size_t>(received);
  }
}

void Relay::watch(End& end, const Way& incoming, const Way& outgoing) {
  const bool readable = !incoming.source_ended && !incoming.full();
  const uint32_t wanted = (readable ? uint32_t{EPOLLIN} : 0) | (outgoing.empty() ? 0 : uint32_t{EPOLLOUT});
  if (wanted == end.watched) return;
  end.watched = wanted;
  loop_.change(end.stream->fd(), wanted, end);
}

}  // namespace cloudfs::shell
