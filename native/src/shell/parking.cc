#include "shell/parking.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <utility>

#include "shell/clock.h"

namespace cloudfs::shell {

struct Parking::Parked final : public Watcher {
  Parked(std::unique_ptr<Stream> stream, Take taker) : socket(std::move(stream)), take(std::move(taker)) {}

  void ready(uint32_t) override { spoke = true; }

  std::unique_ptr<Stream> socket;
  const Take take;
  const uint64_t until_ns = now_ns() + kParkedNsMax;
  struct Lead {
    VolumeId volume;
    Epoch epoch;
    LeadStage stage;
  };
  std::optional<Lead> lead;        // of this store; left out: until the other end has said something
  std::optional<VolumeId> volume;  // that the other end is about to lead
  bool failed = false;
  bool spoke = false;    // or has come to its end
  bool elected = false;  // as this host was told
};

Parking::Parking(EventLoop& loop, const Core& core) : loop_(loop), core_(core) {}

Parking::~Parking() {
  for (const auto& one : parked_)
    if (!one->lead) loop_.unwatch(one->socket->fd(), *one);
}

void Parking::until_led(std::unique_ptr<Stream> socket, const VolumeId& volume, const Epoch& epoch,
                        LeadStage stage, const std::vector<uint8_t>& preface, Take take) {
  if (parked_.size() >= kParkedMax) return take(nullptr);
  // Nothing waits in the socket yet, so it takes these few bytes whole; or its other end is gone.
  const iovec part{const_cast<uint8_t*>(preface.data()), preface.size()};
  const bool sent = preface.empty() || socket->writev({&part, 1}) == static_cast<ssize_t>(preface.size());
  parked_.push_back(std::make_unique<Parked>(std::move(socket), std::move(take)));
  parked_.back()->lead = {volume, epoch, stage};
  parked_.back()->failed = !sent;
}

void Parking::until_spoken(std::unique_ptr<Stream> socket, const VolumeId& volume, Take take) {
  if (parked_.size() >= kParkedMax) return take(nullptr);
  parked_.push_back(std::make_unique<Parked>(std::move(socket), std::move(take)));
  parked_.back()->volume = volume;
  loop_.watch(parked_.back()->socket->fd(), EPOLLIN, *parked_.back());
}

void Parking::follow_now(const VolumeId& volume) {
  for (const auto& one : parked_) one->elected |= one->volume == volume;
}

Parking::State Parking::state_of(const Parked& parked) const {
  if (parked.failed || now_ns() > parked.until_ns) return State::is_over;
  if (parked.lead) {
    const auto& [volume, epoch, stage] = *parked.lead;
    if (core_.promised(volume) > epoch) return State::is_over;
    return core_.leads(volume, epoch, stage) ? State::has_come : State::waits;
  }
  if (parked.elected) return State::has_come;
  if (!parked.spoke) return State::waits;
  uint8_t byte = 0;
  const ssize_t bytes = ::recv(parked.socket->fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (bytes > 0) return State::has_come;
  return bytes < 0 && (errno == EAGAIN || errno == EINTR) ? State::waits : State::is_over;
}

bool Parking::step() {
  bool any = false;
  // By index: who takes one may park another.
  for (size_t index = 0; index < parked_.size();) {
    const State state = state_of(*parked_[index]);
    if (state == State::waits) {
      ++index;
      continue;
    }
    const std::unique_ptr<Parked> one = std::move(parked_[index]);
    parked_.erase(parked_.begin() + static_cast<std::ptrdiff_t>(index));
    if (!one->lead) loop_.unwatch(one->socket->fd(), *one);
    if (state == State::is_over) one->socket.reset();
    one->take(std::move(one->socket));
    any = true;
  }
  return any;
}

std::optional<uint64_t> Parking::next_deadline_ns() const {
  std::optional<uint64_t> deadline;
  for (const auto& one : parked_) deadline = std::min(deadline.value_or(UINT64_MAX), one->until_ns + 1);
  return deadline;
}

}  // namespace cloudfs::shell
