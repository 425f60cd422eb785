// What a store is after a restart: one story a test.
#include <doctest/doctest.h>

#include "core_driver.h"

using namespace cloudfs;
using namespace cloudfs::test;
using Kind = ClientOp::Kind;

namespace {

std::string places(Driver& driver) {
  return driver.must("volumes", "{}");
}

}  // namespace

TEST_CASE("everything written is there after a kill, without any checkpoint") {
  Driver driver;
  driver.format();
  driver.create(1 << 20, "disk");
  uint64_t target = driver.open("disk").handle;
  const auto first = pattern(100000, 1);
  const auto second = pattern(5000, 2);
  CHECK(driver.write(target, 4096, first) == 0);
  CHECK(driver.write(target, 50000, second) == 0);
  CHECK(driver.call(Driver::range_op(Kind::trim, target, 8192, 8192)).error == 0);
  const std::string before = places(driver);
  const auto content = driver.read(target, 0, 1 << 20);

  Random random(1);
  for (int round = 0; round < 3; ++round) {
    driver.restart_after_kill(random);
    REQUIRE(driver.saw_event("ready"));
    CHECK(places(driver).substr(0, 100) == before.substr(0, 100));
    target = driver.open("disk").handle;
    CHECK(driver.read(target, 0, 1 << 20) == content);
  }
  CHECK(driver.write(target, 0, first) == 0);
  driver.restart_after_kill(random);
  target = driver.open("disk").handle;
  CHECK(driver.read(target, 0, first.size()) == first);
}

TEST_CASE("a checkpoint holds everything, and the log goes on behind it") {
  Driver driver;
  driver.format();
  driver.create(1 << 20, "disk");
  uint64_t target = driver.open("disk").handle;
  const auto first = pattern(300000, 1);
  CHECK(driver.write(target, 4096, first) == 0);
  driver.must("snapshot", "{\"volume\":\"disk\",\"name\":\"one\"}");
  driver.must("checkpoint", "{}");
  Random random(1);
  driver.restart_after_kill(random);
  REQUIRE(driver.saw_event("ready"));
  target = driver.open("disk").handle;
  CHECK(driver.read(target, 4096, first.size()) == first);
  CHECK(driver.write(target, 4096, pattern(10000, 5)) == 0);
  driver.must("checkpoint", "{}");
  CHECK(driver.write(target, 40960, pattern(10000, 6)) == 0);
  const auto content = driver.read(target, 0, 1 << 20);
  driver.restart_after_kill(random);
  REQUIRE(driver.saw_event("ready"));
  CHECK(driver.read(driver.open("disk").handle, 0, 1 << 20) == content);
  CHECK(driver.read(driver.open("disk@one").handle, 4096, first.size()) == first);
}
