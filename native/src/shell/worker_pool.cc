#include "shell/worker_pool.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "core/base/assert.h"

namespace cloudfs::shell {

void ResultQueue::push(IoResult result) {
  bool was_empty = false;
  {
    const std::lock_guard lock(mutex_);
    was_empty = results_.empty();
    results_.push_back(result);
  }
  if (!was_empty) return;  // the wake-up for the first one is still to come
  const uint64_t one = 1;
  ensure(::write(wake_fd_, &one, sizeof one) == sizeof one, "an eventfd takes a wake-up");
}

void ResultQueue::take(std::vector<IoResult>& results) {
  const std::lock_guard lock(mutex_);
  results.insert(results.end(), results_.begin(), results_.end());
  results_.clear();
}

std::thread start_thread(const char* name, std::function<void()> body) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread.native_handle(), name);
  return thread;
}

WorkerPool::WorkerPool(const char* name, size_t threads, ResultQueue& results) : results_(results) {
  for (size_t i = 0; i < threads; ++i) threads_.push_back(start_thread(name, [this] { work(); }));
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::run(uint64_t id, Job job) {
  {
    const std::lock_guard lock(mutex_);
    ensure(!closing_, "a pool that closes gets no more jobs");
    queue_.push_back({id, std::move(job)});
  }
  changed_.notify_one();
}

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return closing_ || !queue_.empty(); });
    if (queue_.empty()) return;
    Queued next = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    const int error = next.job();
    next.job = nullptr;  // lets go of its files before the loop hears of it
    results_.push({next.id, error});
    lock.lock();
  }
}

}  // namespace cloudfs::shell
