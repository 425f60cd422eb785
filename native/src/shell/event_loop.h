// epoll, timers and work posted by other threads, for one thread.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "shell/fd.h"

namespace cloudfs::shell {

/// Told when its descriptor is ready. May be destroyed in any ready(), its own too, once unwatched.
class Watcher {
 public:
  /// `events` are those of epoll_wait: readable, writable, error, hang-up.
  virtual void ready(uint32_t events) = 0;

 protected:
  ~Watcher() = default;
};

class EventLoop {
 public:
  EventLoop();

  /// Level-triggered. A descriptor is unwatched before it is closed.
  void watch(int fd, uint32_t events, Watcher& watcher);
  void change(int fd, uint32_t events, Watcher& watcher);
  void unwatch(int fd, Watcher& watcher);

  /// Waits until something happens or the clock (now_ns) reaches `deadline_ns`, calls the watchers that are
  /// ready, then the functions posted, in their order.
  void wait(std::optional<uint64_t> deadline_ns);

  /// Has `work` called by the next wait(). From any thread.
  void post(std::function<void()> work);

  /// An eventfd: writing to it ends a wait().
  int wake_fd() const { return wake_.get(); }

 private:
  static constexpr int kEventsMax = 256;  // more are taken by the next wait
  void control(int operation, int fd, uint32_t events, Watcher& watcher);

  Fd epoll_;
  Fd wake_;
  epoll_event ready_[kEventsMax];
  int ready_count_ = 0;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;
};

}  // namespace cloudfs::shell
