#include "shell/event_loop.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "core/base/assert.h"
#include "shell/clock.h"
#include "shell/error.h"

namespace cloudfs::shell {

namespace {

/// Rounded up, so that a timer is never early and then asked for again at once.
int timeout_ms(std::optional<uint64_t> deadline_ns) {
  if (!deadline_ns) return -1;
  const uint64_t now = now_ns();
  if (*deadline_ns <= now) return 0;
  const uint64_t ms = (*deadline_ns - now + 999'999) / 1'000'000;
  return static_cast<int>(std::min<uint64_t>(ms, std::numeric_limits<int>::max()));
}

}  // namespace

EventLoop::EventLoop()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!epoll_ || !wake_) throw Error("ERR_LISTEN", "cannot make an event loop", errno, "epoll_create1");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  const int result = ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event);
  ensure(result == 0, "epoll watches an eventfd");
}

void EventLoop::control(int operation, int fd, uint32_t events, Watcher& watcher) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &watcher;
  const int result = ::epoll_ctl(epoll_.get(), operation, fd, &event);
  ensure(result == 0, "epoll knows what is watched");
}

void EventLoop::watch(int fd, uint32_t events, Watcher& watcher) {
  control(EPOLL_CTL_ADD, fd, events, watcher);
}

void EventLoop::change(int fd, uint32_t events, Watcher& watcher) {
  control(EPOLL_CTL_MOD, fd, events, watcher);
}

void EventLoop::unwatch(int fd, Watcher& watcher) {
  control(EPOLL_CTL_DEL, fd, 0, watcher);
  // It may be ready in the round that is going on.
  for (int i = 0; i < ready_count_; ++i) {
    if (ready_[i].data.ptr == &watcher) ready_[i].events = 0;
  }
}

void EventLoop::wait(std::optional<uint64_t> deadline_ns) {
  const int count = ::epoll_wait(epoll_.get(), ready_, kEventsMax, timeout_ms(deadline_ns));
  ensure(count >= 0 || errno == EINTR, "epoll_wait waits");
  ready_count_ = std::max(count, 0);
  bool woken = false;
  for (int i = 0; i < ready_count_; ++i) {
    if (ready_[i].events == 0) continue;
    if (ready_[i].data.ptr == nullptr) {
      woken = true;
    } else {
      static_cast<Watcher*>(ready_[i].data.ptr)->ready(ready_[i].events);
    }
  }
  ready_count_ = 0;
  if (!woken) return;
  uint64_t wakes = 0;
  // Reset before the queues are looked at: what comes later wakes the next wait.
  [[maybe_unused]] const ssize_t bytes = ::read(wake_.get(), &wakes, sizeof wakes);
  std::vector<std::function<void()>> posted;
  {
    const std::lock_guard lock(mutex_);
    posted.swap(posted_);
  }
  for (const auto& work : posted) work();
}

void EventLoop::post(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(work));
  }
  const uint64_t one = 1;
  ensure(::write(wake_.get(), &one, sizeof one) == sizeof one, "an eventfd takes a wake-up");
}

}  // namespace cloudfs::shell
