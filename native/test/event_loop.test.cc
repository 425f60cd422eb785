#include "shell/event_loop.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

#include "shell/clock.h"

using namespace cloudfs::shell;

namespace {

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);
    read_end = Fd(ends[0]);
    write_end = Fd(ends[1]);
  }
  Fd read_end;
  Fd write_end;
};

struct Recorder final : Watcher {
  void ready(uint32_t events) override {
    seen |= events;
    ++calls;
    if (then) then();
  }
  uint32_t seen = 0;
  int calls = 0;
  std::function<void()> then;
};

}  // namespace

TEST_CASE("event loop: a wait ends at its deadline, never before") {
  EventLoop loop;
  const uint64_t deadline = now_ns() + 3'000'000;
  loop.wait(deadline);
  CHECK(now_ns() >= deadline);
}

TEST_CASE(
    "event loop: work posted by other threads runs on the waiting thread, each once and in its thread's "
    "order") {
  EventLoop loop;
  constexpr int kThreads = 4;
  constexpr int kEach = 500;
  std::array<int, kThreads> next{};
  int total = 0;
  bool in_order = true;
  const auto self = std::this_thread::get_id();
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kEach; ++i) {
        loop.post([&, thread, i] {
          in_order = in_order && next[thread]++ == i && std::this_thread::get_id() == self;
          ++total;
        });
      }
    });
  }
  while (total < kThreads * kEach) loop.wait(std::nullopt);
  for (std::thread& thread : threads) thread.join();
  CHECK(in_order);
}

TEST_CASE("event loop: work posted by work waits for the next round and is not lost") {
  EventLoop loop;
  int calls = 0;
  loop.post([&] {
    ++calls;
    loop.post([&] { ++calls; });
  });
  loop.wait(std::nullopt);
  CHECK(calls == 1);
  loop.wait(std::nullopt);
  CHECK(calls == 2);
}

TEST_CASE("event loop: a watcher that another one unwatches in the same round is not called") {
  EventLoop loop;
  Pipe first;
  Pipe second;
  Recorder one;
  Recorder two;
  loop.watch(first.read_end.get(), EPOLLIN, one);
  loop.watch(second.read_end.get(), EPOLLIN, two);
  one.then = [&] { loop.unwatch(second.read_end.get(), two); };
  two.then = [&] { loop.unwatch(first.read_end.get(), one); };
  REQUIRE(::write(first.write_end.get(), "x", 1) == 1);
  REQUIRE(::write(second.write_end.get(), "x", 1) == 1);
  loop.wait(std::nullopt);
  CHECK(one.calls + two.calls == 1);
}

TEST_CASE("event loop: what is watched follows the last change") {
  EventLoop loop;
  Pipe pipe;
  Recorder recorder;
  loop.watch(pipe.read_end.get(), EPOLLIN, recorder);
  loop.change(pipe.read_end.get(), 0, recorder);
  REQUIRE(::write(pipe.write_end.get(), "x", 1) == 1);
  loop.wait(now_ns());
  CHECK(recorder.calls == 0);
  loop.change(pipe.read_end.get(), EPOLLIN, recorder);
  loop.wait(std::nullopt);
  CHECK(recorder.calls == 1);
  pipe.write_end.reset();
  loop.change(pipe.read_end.get(), 0, recorder);
  loop.wait(std::nullopt);  // a hang-up is told whatever is watched
  CHECK((recorder.seen & EPOLLHUP) != 0);
  loop.unwatch(pipe.read_end.get(), recorder);
}
