#include "shell/peer_streams.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "shell/clock.h"

namespace cloudfs::shell {

namespace {

constexpr size_t kPiecesMax = 256;  // of one writev

}  // namespace

class PeerStreams::End final : public Watcher {
 public:
  End(PeerStreams& owner, const Ended& ended, std::unique_ptr<Stream> socket)
      : what(ended), owner_(owner), id_(ended.id), socket_(std::move(socket)) {
    owner_.loop_.watch(socket_->fd(), watched_, *this);
  }
  ~End() { hang_up(); }

  void ready(uint32_t events) override {
    touch();
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) receive((events & (EPOLLERR | EPOLLHUP)) != 0);
  }

  void touch() {
    if (!std::exchange(touched, true)) owner_.touched_.push_back(id_);
  }

  void hang_up() {
    if (!socket_) return;
    owner_.loop_.unwatch(socket_->fd(), *this);
    socket_.reset();
    outgoing_.clear();
  }
  bool done() const { return !socket_ || (closing_ && now_ns() > linger_until_ns_); }

  void give(std::vector<Slice>&& slices) {
    if (!socket_ || closing_) return;
    for (Slice& slice : slices) outgoing_.push_back(std::move(slice));
    touch();
  }
  void close() {
    if (!std::exchange(closing_, true)) owner_.lingering_.push_back(id_);
    linger_until_ns_ = now_ns() + kStreamLingerNsMax;
    touch();
  }

  void send() {
    while (socket_ && !outgoing_.empty()) {
      iovec parts[kPiecesMax];
      size_t count = 0;
      for (; count < kPiecesMax && count < outgoing_.size(); ++count) {
        const size_t skip = count == 0 ? front_sent_ : 0;
        const Slice& slice = outgoing_[count];
        parts[count] = {const_cast<uint8_t*>(slice.data) + skip, slice.size - skip};
      }
      const ssize_t bytes = socket_->writev({parts, count});
      if (bytes == -EAGAIN) return;
      if (bytes < 0) return hang_up();
      taken(static_cast<size_t>(bytes));
    }
    // The other side's last words are read and dropped until it hangs up: closed over them, the socket would be reset, and
    // why it was closed might not be heard.
    if (socket_ && closing_ && !std::exchange(said_all_, true)) ::shutdown(socket_->fd(), SHUT_WR);
  }

  /// Watches for what can be used: bytes only while the core has room for them.
  void watch() {
    if (!socket_) return;
    const bool room = closing_ || owner_.core_.stream_receive_target(id_).bytes > 0;
    // When it has room again nothing need be sent here.
    if (!room) owner_.stalled_.push_back(id_);
    const uint32_t wanted = (room ? uint32_t{EPOLLIN} : 0) | (outgoing_.empty() ? 0 : uint32_t{EPOLLOUT});
    if (wanted == watched_) return;
    watched_ = wanted;
    owner_.loop_.change(socket_->fd(), wanted, *this);
  }

  bool closing() const { return closing_; }
  /// While it is closing.
  uint64_t linger_until_ns() const { return linger_until_ns_; }

  Ended what;
  bool touched = false;

 private:
  void taken(size_t bytes) {
    owner_.bytes_sent_ += bytes;
    if (!closing_) {
      owner_.core_.stream_sent(id_, bytes);
      owner_.told_ = true;
    }
    front_sent_ += bytes;
    while (!outgoing_.empty() && front_sent_ >= outgoing_.front().size) {
      front_sent_ -= outgoing_.front().size;
      outgoing_.pop_front();
    }
  }

  void receive(bool broken) {
    if (!socket_) return;
    if (closing_) return drop_received();
    const ReceiveWindow window = owner_.core_.stream_receive_target(id_);
    if (window.bytes == 0) {
      if (broken) hang_up();
      return;
    }
    const ssize_t bytes = socket_->read(window.data, window.bytes);
    if (bytes > 0) {
      owner_.bytes_received_ += static_cast<size_t>(bytes);
      owner_.received_ = true;
      owner_.core_.stream_received(id_, static_cast<size_t>(bytes));
    } else if (bytes != -EAGAIN) {
      hang_up();
    }
  }

  void drop_received() {
    uint8_t scratch[16 * 1024];
    const ssize_t bytes = socket_->read(scratch, sizeof scratch);
    if (bytes <= 0 && bytes != -EAGAIN) hang_up();
  }

  PeerStreams& owner_;
  const uint64_t id_;
  std::unique_ptr<Stream> socket_;
  std::deque<Slice> outgoing_;
  size_t front_sent_ = 0;  // bytes of the first one that are sent
  bool closing_ = false;
  bool said_all_ = false;  // while closing: nothing more is sent
  uint64_t linger_until_ns_ = 0;
  uint32_t watched_ = EPOLLIN;
};

PeerStreams::PeerStreams(EventLoop& loop, Core& core) : loop_(loop), core_(core) {}

PeerStreams::~PeerStreams() = default;

uint64_t PeerStreams::adopt(std::unique_ptr<Stream> socket, StreamRole role, const VolumeId& volume,
                            const std::optional<HostId>& host, const std::vector<uint8_t>& preface,
                            const std::vector<uint8_t>& early, std::string& refusal) {
  const uint64_t id = core_.open_stream(role, volume, refusal, host);
  if (id == 0) return 0;
  for (size_t at = 0; at < early.size();) {
    const ReceiveWindow window = core_.stream_receive_target(id);
    const size_t count = std::min(window.bytes, early.size() - at);
    if (count == 0)
      break;  // more than a receive buffer came with the upgrade: no engine sends so before our hello
    std::memcpy(window.data, early.data() + at, count);
    core_.stream_received(id, count);
    at += count;
  }
  // Nothing waits in the socket yet, so it takes these few bytes whole; or its other end is gone.
  const iovec part{const_cast<uint8_t*>(preface.data()), preface.size()};
  const bool sent = preface.empty() || socket->writev({&part, 1}) == static_cast<ssize_t>(preface.size());
  const auto added =
      ends_.emplace(id, std::make_unique<End>(*this, Ended{id, role, volume, {}}, std::move(socket)));
  if (!sent) added.first->second->hang_up();
  added.first->second->touch();
  return id;
}

void PeerStreams::take(std::vector<StreamSend>&& sends, const std::vector<uint64_t>& closes) {
  for (StreamSend& send : sends)
    if (const auto end = ends_.find(send.stream); end != ends_.end())
      end->second->give(std::move(send.slices));
  if (!sends.empty())
    for (const uint64_t id : touched_)
      if (const auto end = ends_.find(id); end != ends_.end()) end->second->send();
  for (const uint64_t id : closes)
    if (const auto end = ends_.find(id); end != ends_.end()) end->second->close();
}

void PeerStreams::end(uint64_t id) {
  const auto found = ends_.find(id);
  if (found == ends_.end()) return;
  found->second->hang_up();
  found->second->touch();
}

std::optional<uint64_t> PeerStreams::next_deadline_ns() const {
  std::optional<uint64_t> deadline;
  for (const uint64_t id : lingering_) {
    const uint64_t until = ends_.at(id)->linger_until_ns();
    deadline = std::min(deadline.value_or(until), until);
  }
  return deadline;
}

bool PeerStreams::flush() {
  for (const uint64_t id : std::exchange(stalled_, {}))
    if (const auto found = ends_.find(id); found != ends_.end()) found->second->touch();
  for (const uint64_t id : lingering_)
    if (End& end = *ends_.at(id); now_ns() > end.linger_until_ns()) end.touch();
  for (const uint64_t id : std::exchange(touched_, {})) {
    const auto found = ends_.find(id);
    if (found == ends_.end()) continue;
    End& end = *found->second;
    end.touched = false;
    end.send();
    if (end.done()) {
      end.what.refusal = core_.stream_refusal(id);
      ended_.push_back(std::move(end.what));
      if (end.closing()) std::erase(lingering_, id);
      ends_.erase(found);
      core_.stream_closed(id);
      told_ = true;
      continue;
    }
    end.watch();
  }
  return std::exchange(told_, false);
}

}  // namespace cloudfs::shell
