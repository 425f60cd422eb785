#include "core/volume/flush_habit.h"

#include <doctest/doctest.h>

#include "core_driver.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

/// @returns behind which of `writes` writes a flush was foreseen; 0: behind none
int write_and_flush(FlushHabit& habit, int writes) {
  int foreseen = 0;
  for (int number = 1; number <= writes; ++number) {
    if (habit.wrote()) foreseen = number;
  }
  habit.flushed();
  return foreseen;
}

}  // namespace

TEST_CASE("a flush is foreseen behind the n-th write once four came behind n writes each") {
  for (const int writes : {1, 3, 32}) {
    FlushHabit habit;
    for (int time = 0; time < 4; ++time) CHECK(write_and_flush(habit, writes) == 0);
    CHECK(write_and_flush(habit, writes) == writes);
    CHECK(write_and_flush(habit, writes) == writes);
  }
}

TEST_CASE("what breaks the habit ends the guessing: a write more, or a flush sooner") {
  FlushHabit habit;
  for (int time = 0; time < 5; ++time) (void)write_and_flush(habit, 3);
  CHECK(write_and_flush(habit, 4) == 3);
  CHECK(write_and_flush(habit, 3) == 0);
  for (int time = 0; time < 3; ++time) (void)write_and_flush(habit, 3);
  CHECK(write_and_flush(habit, 3) == 3);
  CHECK(write_and_flush(habit, 2) == 0);
  CHECK(write_and_flush(habit, 3) == 0);
}

TEST_CASE("a flush behind a flush is none of the habit's") {
  FlushHabit habit;
  for (int time = 0; time < 4; ++time) {
    (void)write_and_flush(habit, 1);
    habit.flushed();
  }
  CHECK(write_and_flush(habit, 1) == 1);
}

TEST_CASE("of a client that flushes behind each write the sync begins with the write") {
  Driver driver;
  driver.format();
  driver.create(1 << 20, "disk");
  const Export target = driver.open("disk");
  const auto bytes = pattern(4096, 1);
  const auto syncs_of_write = [&] {
    const int before = driver.disk.syncs;
    CHECK(driver.write(target.handle, 0, bytes) == 0);
    driver.run();
    return driver.disk.syncs - before;
  };
  const auto flush = [&] {
    const int before = driver.disk.syncs;
    CHECK(driver.call(Driver::range_op(ClientOp::Kind::flush, target.handle, 0, 0)).error == 0);
    return driver.disk.syncs - before;
  };
  for (int time = 0; time < 4; ++time) {
    CHECK(syncs_of_write() == 0);
    CHECK(flush() == 1);
  }
  CHECK(syncs_of_write() == 1);
  CHECK(flush() == 0);
  // A second write that no flush came before.
  CHECK(syncs_of_write() == 1);
  CHECK(syncs_of_write() == 0);
  CHECK(flush() == 1);
}
