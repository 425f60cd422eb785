// Threads for system calls that block: disk reads, syncs, writing segments ahead. They see descriptors and raw pointers
// only, between an effect and its completion; no object of the core.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "core/base/effects.h"

namespace cloudfs::shell {

/// Results on their way back to the loop's thread. Writes to `wake_fd` (an eventfd) when it stops being empty.
class ResultQueue {
 public:
  explicit ResultQueue(int wake_fd) : wake_fd_(wake_fd) {}
  void push(IoResult result);
  /// Appends all results to `results`, in the order in which they came.
  void take(std::vector<IoResult>& results);

 private:
  const int wake_fd_;
  std::mutex mutex_;
  std::vector<IoResult> results_;
};

/// Jobs start in the order given; with one thread they also end in it.
class WorkerPool {
 public:
  /// Blocks and returns 0 or an errno.
  using Job = std::function<int()>;

  /// `name` is the threads' (at most 15 bytes).
  WorkerPool(const char* name, size_t threads, ResultQueue& results);
  /// Finishes all jobs first.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void run(uint64_t id, Job job);

 private:
  struct Queued {
    uint64_t id;
    Job job;
  };
  void work();

  ResultQueue& results_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Queued> queue_;
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

/// Starts a thread that takes no signals (they are the main thread's) and is called `name`.
std::thread start_thread(const char* name, std::function<void()> body);

}  // namespace cloudfs::shell
