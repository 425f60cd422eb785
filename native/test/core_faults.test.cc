// What a store does when the world fails it: disks that refuse, bytes that rot, space that runs out, clean and unclean ends.
#include <doctest/doctest.h>

#include "core_driver.h"

using namespace cloudfs;
using namespace cloudfs::test;
using Kind = ClientOp::Kind;

namespace {

std::string event_detail(const Driver& driver, const std::string& name) {
  for (const Event& event : driver.events)
    if (event.name == name) return event.detail;
  return "";
}

/// Where the bytes of a written block lie: the place whose cache has them.
std::pair<uint32_t, uint64_t> find_bytes(Driver& driver, const std::vector<uint8_t>& bytes) {
  for (uint32_t physical = 0; physical < driver.params.segment_limit; ++physical) {
    const std::vector<uint8_t>& cache = driver.disk.cache(physical);
    const auto at = std::search(cache.begin(), cache.end(), bytes.begin(), bytes.end());
    if (at != cache.end()) return {physical, static_cast<uint64_t>(at - cache.begin())};
  }
  FAIL("the bytes are nowhere");
  return {};
}

}  // namespace

TEST_CASE("a failed append or sync stops the store for good, and nothing is called good after it") {
  for (const bool sync : {false, true}) {
    CAPTURE(sync);
    Driver driver;
    driver.format();
    driver.create(1 << 20, "disk");
    const uint64_t target = driver.open("disk").handle;
    const auto safe = pattern(8192, 1);
    CHECK(driver.write(target, 0, safe, true) == 0);
    (sync ? driver.disk.fail_syncs : driver.disk.fail_writes) = 1;
    CHECK(driver.write(target, 0, pattern(8192, 2), true) == EIO);
    CHECK(driver.saw_event("store-failed"));
    CHECK(driver.call(Driver::range_op(Kind::flush, target, 0, 0)).error == EIO);
    CHECK(driver.call(Driver::range_op(Kind::read, target, 0, 4096)).error == EIO);
    CHECK(driver.write(target, 0, safe) == EIO);
    CHECK(driver.command("snapshot", "{\"volume\":\"disk\",\"name\":\"s\"}").error_code ==
          "ERR_STORE_FAILED");
    Random random(3);
    driver.core.reset();
    driver.disk.power_cut(random);
    driver.start();
    REQUIRE(driver.saw_event("ready"));
    const auto found = driver.read(driver.open("disk").handle, 0, 8192);
    const bool either = found == safe || found == pattern(8192, 2);
    CHECK(either);
  }
}

TEST_CASE("a rotten block is never given out, and said to be rotten") {
  Driver driver;
  driver.format();
  driver.create(1 << 20, "disk");
  const uint64_t target = driver.open("disk").handle;
  const auto bytes = pattern(4096, 1);
  const auto other = pattern(4096, 2);
  CHECK(driver.write(target, 0, bytes) == 0);
  CHECK(driver.write(target, 4096, other) == 0);
  const auto [physical, offset] = find_bytes(driver, bytes);
  driver.disk.corrupt(physical, offset + 100);
  driver.events.clear();
  CHECK(driver.call(Driver::range_op(Kind::read, target, 0, 8192)).error == EIO);
  CHECK(field(event_detail(driver, "block-corrupt"), "block") == "0");
  CHECK(driver.read(target, 4096, 4096) == other);
  // Part of it cannot be modified either: the rest of the block would become rot with a valid checksum.
  CHECK(driver.write(target, 512, pattern(512, 3)) == EIO);
  // Whole, it can be written anew.
  CHECK(driver.write(target, 0, other) == 0);
  CHECK(driver.read(target, 0, 4096) == other);
}

TEST_CASE("cleaning refuses a segment with rot in a live block and leaves it in place") {
  Driver driver;
  driver.format();
  driver.create(1 << 20, "disk");
  const uint64_t target = driver.open("disk").handle;
  const auto bytes = pattern(4096, 1);
  CHECK(driver.write(target, 0, bytes) == 0);
  CHECK(driver.write(target, 65536, pattern(400000, 2)) == 0);
  const auto [physical, offset] = find_bytes(driver, bytes);
  driver.disk.corrupt(physical, offset);
  CHECK(driver.command("clean", "{\"logical\":1}").error_code == "ERR_BLOCK_CORRUPT");
  CHECK(driver.must("segments", "{}").find("\"logical\":1,") != std::string::npos);
  driver.must("audit", "{}");
}

TEST_CASE("a damaged batch in the middle of the synced log is corruption, not a torn tail") {
  Driver driver;
  driver.format();
  driver.create(1 << 20, "disk");
  const uint64_t target = driver.open("disk").handle;
  const auto bytes = pattern(4096, 7);
  CHECK(driver.write(target, 0, bytes, true) == 0);
  for (int count = 0; count < 5; ++count) CHECK(driver.write(target, 4096, pattern(4096, 9), true) == 0);
  const auto [physical, offset] = find_bytes(driver, bytes);
  driver.disk.corrupt(physical, offset - 4096 + 70);  // its header area
  Random random(1);
  driver.restart_after_kill(random);
  CHECK_FALSE(driver.saw_event("ready"));
  CHECK(field(event_detail(driver, "store-failed"), "code") == "ERR_STORE_CORRUPT");
}

TEST_CASE("one torn superblock costs nothing, two are corruption") {
  Driver driver;
  driver.format();
  driver.create(1 << 20, "disk");
  const auto bytes = pattern(4096, 7);
  CHECK(driver.write(driver.open("disk").handle, 0, bytes) == 0);
  driver.must("checkpoint", "{}");
  Random random(1);
  for (uint64_t copy = 0; copy < 2; ++copy) {
    driver.disk.corrupt(kSuperblockRegion, copy * 4096 + 60);
    driver.restart_after_kill(random);
    REQUIRE(driver.saw_event("ready"));
    CHECK(driver.read(driver.open("disk").handle, 0, 4096) == bytes);
  }
  driver.disk.corrupt(kSuperblockRegion, 60);
  driver.disk.corrupt(kSuperblockRegion, 4096 + 60);
  driver.restart_after_kill(random);
  CHECK(field(event_detail(driver, "store-failed"), "code") == "ERR_STORE_CORRUPT");
}

TEST_CASE("a damaged checkpoint page is corruption that names its place") {
  Driver driver;
  driver.format();
  driver.create(1 << 20, "disk");
  CHECK(driver.write(driver.open("disk").handle, 0, pattern(4096, 7)) == 0);
  driver.must("checkpoint", "{}");
  const std::string table = driver.must("segments", "{}");
  const size_t at = table.find("\"kind\":\"index\"");
  REQUIRE(at != std::string::npos);
  const auto physical = static_cast<uint32_t>(std::stoul(field(table.substr(at), "physical")));
  for (uint64_t page = 1; page < 8; ++page) driver.disk.corrupt(physical, page * 4096 + 5);
  Random random(1);
  driver.restart_after_kill(random);
  CHECK(field(event_detail(driver, "store-failed"), "code") == "ERR_STORE_CORRUPT");
}

TEST_CASE("a clean stop is known to the next start, once, and leaves little to replay") {
  Driver driver;
  driver.format();
  driver.create(1 << 20, "disk");
  const auto bytes = pattern(50000, 7);
  CHECK(driver.write(driver.open("disk").handle, 0, bytes) == 0);
  driver.core->stop();
  driver.run();
  CHECK(driver.saw_event("stopped"));
  driver.start();
  CHECK(event_detail(driver, "ready") == "{\"clean\":true}");
  CHECK(driver.read(driver.open("disk").handle, 0, bytes.size()) == bytes);
  Random random(1);
  driver.restart_after_kill(random);
  CHECK(event_detail(driver, "ready") == "{\"clean\":false}");
  driver.core->stop();
  driver.run();
  CHECK(driver.saw_event("stopped"));
  driver.start();
  CHECK(event_detail(driver, "ready") == "{\"clean\":true}");
}

TEST_CASE(
    "a store that is full says ENOSPC, reads on, and takes writes again once space is freed and cleaned") {
  Driver driver;
  driver.format();
  driver.create(8 << 20, "disk");
  const uint64_t target = driver.open("disk").handle;
  uint64_t written = 0;
  int error = 0;
  // Writes wait for policy to clean, and are refused when it does not.
  for (; written < (8 << 20) && error == 0; written += 65536) {
    const uint64_t request = driver.submit(Driver::write_op(target, written, pattern(65536, written)));
    driver.run();
    auto reply = driver.reply_to(request);
    if (!reply) {
      driver.now_ns += 3'000'000'000;
      driver.run();
      reply = driver.reply_to(request);
    }
    REQUIRE(reply.has_value());
    error = reply->error;
  }
  CHECK(error == ENOSPC);
  CHECK(driver.saw_event("space-low"));
  written -= 65536;
  REQUIRE(written > (1 << 20));
  for (uint64_t at = 0; at < written; at += 65536)
    CHECK(driver.read(target, at, 65536) == pattern(65536, at));
  // A full store starts.
  Random random(1);
  driver.restart_after_kill(random);
  REQUIRE(driver.saw_event("ready"));
  const uint64_t again = driver.open("disk").handle;
  CHECK(driver.call(Driver::range_op(Kind::trim, again, 0, 1 << 20)).error == 0);
  driver.must("checkpoint", "{}");
  CHECK(driver.write(again, 0, pattern(65536, 5)) == 0);
  CHECK(driver.read(again, 0, 65536) == pattern(65536, 5));
  driver.must("audit", "{}");
}

TEST_CASE("when no segment can be prepared, writes end with ENOSPC and go on when it can") {
  Driver driver;
  driver.format();
  driver.create(4 << 20, "disk");
  const uint64_t target = driver.open("disk").handle;
  driver.disk.full = true;
  int error = 0;
  for (uint64_t at = 0; at < (2 << 20) && error == 0; at += 32768) {
    const uint64_t request = driver.submit(Driver::write_op(target, at, pattern(32768, at)));
    for (int count = 0; count < 20; ++count) {
      driver.run();
      driver.now_ns += 1'100'000'000;
    }
    const auto reply = driver.reply_to(request);
    REQUIRE(reply.has_value());
    error = reply->error;
  }
  CHECK(error == ENOSPC);
  driver.disk.full = false;
  for (int count = 0; count < 5; ++count) {
    driver.now_ns += 1'100'000'000;
    driver.run();
  }
  CHECK(driver.write(target, 0, pattern(65536, 5)) == 0);
  CHECK(driver.read(target, 0, 65536) == pattern(65536, 5));
}
