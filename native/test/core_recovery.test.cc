// What a store is after a restart: one story a test.
#include <doctest/doctest.h>

#include "core/volume/volume.h"
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

TEST_CASE(
    "what starts go through counts for the next checkpoint: the log behind it does not grow with every "
    "kill") {
  CoreParams params = small_params();
  params.checkpoint_bytes = 256u << 10;
  Driver driver(params);
  driver.format();
  driver.create(4 << 20, "disk");
  driver.must("checkpoint", "{}");
  driver.events.clear();
  Random random(1);
  // Each life writes two fifths of that distance.
  const uint64_t life_bytes = 100u << 10;
  for (int life = 0; life < 3; ++life) {
    CHECK_FALSE(driver.saw_event("checkpointed"));
    const uint64_t target = driver.open("disk").handle;
    CHECK(driver.write(target, static_cast<uint64_t>(life) << 20, pattern(life_bytes, 1)) == 0);
    if (life < 2) driver.restart_after_kill(random);
  }
  CHECK(driver.saw_event("checkpointed"));
  CHECK(std::stoull(field(driver.must("stats", "{}"), "checkpointLogBytes")) < life_bytes);
}

TEST_CASE("a checkpoint is made before the map's dirty pages take all the memory that the map may have") {
  CoreParams params = small_params();
  params.checkpoint_bytes = 16u << 20;
  params.map_bytes_max = 200'000;
  Driver driver(params);
  driver.format();
  driver.create(uint64_t{1} << 30, "disk");
  const uint64_t target = driver.open("disk").handle;
  const auto block = pattern(4096, 1);
  // Blocks of different pages, so few bytes of log make many pages dirty.
  for (uint64_t page = 0; page < 100; ++page) {
    CHECK(driver.write(target, page << 20, block) == 0);
    CHECK(std::stoull(field(driver.must("stats", "{}"), "mapDirtyPages")) * 4096 < params.map_bytes_max);
  }
  CHECK(driver.saw_event("checkpointed"));
  CHECK(std::stoull(field(driver.must("stats", "{}"), "mapBytes")) < params.map_bytes_max * 2);
  for (uint64_t page = 0; page < 100; ++page) CHECK(driver.read(target, page << 20, 4096) == block);
}

TEST_CASE(
    "updates whose map pages are on disk read them side by side, and clients wait before too many are in "
    "memory") {
  constexpr uint64_t kPages = 100;
  CoreParams params = small_params();
  params.segment_limit = 256;
  Driver driver(params);
  driver.format();
  driver.create(uint64_t{1} << 30, "disk");
  uint64_t target = driver.open("disk").handle;
  for (uint64_t page = 0; page < kPages; ++page)
    CHECK(driver.write(target, page << 20, pattern(4096, page)) == 0);
  driver.must("checkpoint", "{}");
  Random random(1);
  driver.restart_after_kill(random);
  target = driver.open("disk").handle;

  driver.replies.clear();
  const auto submit = [&](uint64_t count) {
    for (uint64_t request = 0; request < count; ++request)
      driver.submit(Driver::range_op(Kind::trim, target, request % kPages << 20, 4096));
  };
  submit(kUnappliedMax);
  // All but the map's pages goes on, until nothing else is under way.
  const auto go_on_without_reads = [&] {
    for (int turns = 0; turns < 10; ++turns) {
      driver.turn();
      for (size_t index = 0; index < driver.disk.in_flight();) {
        if (driver.disk.effect(index).kind == IoEffect::Kind::read) {
          ++index;
          continue;
        }
        driver.core->complete(driver.disk.complete(index));
        driver.turn();
        index = 0;
      }
    }
  };
  go_on_without_reads();
  CHECK(driver.replies.size() == kUnappliedMax);
  submit(1000);
  go_on_without_reads();
  CHECK(driver.replies.size() == kUnappliedMax);
  // Level by level, down to the pages of blocks.
  size_t reads_most = 0;
  while (driver.disk.busy()) {
    reads_most = std::max(reads_most, driver.disk.in_flight());
    for (size_t reads = driver.disk.in_flight(); reads > 0; --reads)
      driver.core->complete(driver.disk.complete(0));
    go_on_without_reads();
  }
  CHECK(reads_most > kPages / 2);
  driver.run();
  CHECK(driver.replies.size() == kUnappliedMax + 1000);
  for (uint64_t page = 0; page < kPages; ++page)
    CHECK(driver.read(target, page << 20, 4096) == std::vector<uint8_t>(4096));
}
