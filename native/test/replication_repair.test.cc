// A bad block is had from another replica: one story a test.
#include <cerrno>

#include "cluster_story.h"

using namespace cloudfs;
using namespace cloudfs::test;
using Kind = ClientOp::Kind;

namespace {

/// A volume of several copies whose disks can be spoiled.
struct Story {
  explicit Story(size_t nodes = 3, size_t members = 0) : cluster(nodes) {
    volume = create_volume(cluster, Mode::quorum, members == 0 ? nodes : members);
    disk = cluster.node(0).open(volume).handle;
  }

  int finish(size_t node, uint64_t request, int turns = 8000) {
    for (int turn = 0; turn < turns; ++turn) {
      cluster.run(1);
      if (const auto reply = cluster.node(node).reply_to(request)) return reply->error;
    }
    FAIL("a request was not answered");
    return 0;
  }
  int write(uint64_t offset, const std::vector<uint8_t>& bytes) {
    return finish(0, cluster.node(0).submit(Driver::write_op(disk, offset, bytes)));
  }
  /// Nothing: EIO.
  std::optional<std::vector<uint8_t>> read(size_t node, uint64_t handle, uint64_t offset, uint64_t bytes) {
    const uint64_t request = cluster.node(node).submit(Driver::range_op(Kind::read, handle, offset, bytes));
    for (int turn = 0; turn < 8000; ++turn) {
      cluster.run(1);
      const auto reply = cluster.node(node).reply_to(request);
      if (!reply) continue;
      if (reply->error == 0) return Driver::bytes_of(*reply);
      CHECK(reply->error == EIO);
      return std::nullopt;
    }
    FAIL("a read was not answered");
    return std::nullopt;
  }
  uint64_t open(size_t node, const std::string& name) {
    const auto found = cluster.node(node).core->open_export(name);
    REQUIRE(found.has_value());
    return found->handle;
  }
  /// All places of a store that have these bytes get others.
  size_t rot(size_t node, const std::vector<uint8_t>& bytes) {
    Driver& driver = cluster.node(node);
    size_t places = 0;
    for (uint32_t physical = 0; physical < driver.params.segment_limit; ++physical) {
      std::vector<uint8_t> cache = driver.disk.cache(physical);
      for (auto at = cache.begin();;) {
        at = std::search(at, cache.end(), bytes.begin(), bytes.end());
        if (at == cache.end()) break;
        driver.disk.corrupt(physical, static_cast<uint64_t>(at - cache.begin()) + 100);
        ++places;
        ++at;
      }
    }
    REQUIRE(places > 0);
    return places;
  }
  uint64_t counted(size_t node, const std::string& name) {
    return std::stoull(field(command_at(cluster, node, "stats", "{}").result, name));
  }
  /// A pass over all that a store has. @returns bad blocks met, and repaired
  std::pair<uint64_t, uint64_t> scrub(size_t node, uint64_t blocks_max = 16) {
    std::string at = "{\"node\":0,\"block\":0,\"blocksMax\":";
    std::pair<uint64_t, uint64_t> found;
    for (int step = 0; step < 10000; ++step) {
      const CommandReply reply = command_at(cluster, node, "scrub", at + std::to_string(blocks_max) + "}");
      REQUIRE(reply.error_code.empty());
      found.first += std::stoull(field(reply.result, "corrupt"));
      found.second += std::stoull(field(reply.result, "repaired"));
      if (field(reply.result, "done") == "true") return found;
      at = "{\"node\":" + field(reply.result, "node") + ",\"block\":" + field(reply.result, "block") +
           ",\"blocksMax\":";
    }
    FAIL("a pass has no end");
    return found;
  }

  Cluster cluster;
  std::string volume;
  uint64_t disk = 0;
};

}  // namespace

TEST_CASE("repair: the primary's bad block comes from a follower, and stays good over a crash") {
  Story story;
  const auto bytes = pattern(8192, 1);
  const std::vector<uint8_t> first(bytes.begin(), bytes.begin() + 4096);
  CHECK(story.write(0, bytes) == 0);
  story.cluster.run();
  story.rot(0, first);
  CHECK(story.read(0, story.disk, 0, 8192) == bytes);
  CHECK(story.cluster.node(0).saw_event("block-corrupt"));
  CHECK(story.cluster.node(0).saw_event("block-repaired"));
  CHECK(story.counted(0, "blocksRepaired") == 1);
  CHECK(story.counted(1, "blocksGiven") + story.counted(2, "blocksGiven") == 1);
  // Once: it lies elsewhere now.
  CHECK(story.read(0, story.disk, 0, 8192) == bytes);
  CHECK(story.counted(0, "blocksCorrupt") == 1);
  Random random(1);
  story.cluster.kill(0, random);
  story.cluster.start(0);
  for (size_t index = 1; index < 3; ++index) CHECK(story.cluster.connect(0, index, story.volume));
  story.cluster.run();
  CHECK(story.read(0, story.open(0, story.volume), 0, 8192) == bytes);
  CHECK(story.counted(0, "blocksCorrupt") == 0);
  check_content_equal(story.cluster, story.volume);
  check_audits(story.cluster);
}

TEST_CASE("repair: a follower's bad block comes from the primary, or from another follower by way of it") {
  Story story;
  const auto bytes = pattern(4096, 1);
  CHECK(story.write(0, bytes) == 0);
  story.cluster.run();
  story.rot(1, bytes);
  CHECK(story.read(1, story.open(1, "replica:" + story.volume), 0, 4096) == bytes);
  CHECK(story.counted(1, "blocksRepaired") == 1);
  story.rot(0, bytes);
  story.rot(2, bytes);
  // The primary has it repaired first.
  CHECK(story.read(2, story.open(2, "replica:" + story.volume), 0, 4096) == bytes);
  CHECK(story.counted(0, "blocksRepaired") == 1);
  CHECK(story.counted(2, "blocksRepaired") == 1);
  check_audits(story.cluster);
}

TEST_CASE("repair: where no copy is good there is EIO, in time, until the block is written anew") {
  Story story;
  const auto bytes = pattern(4096, 1);
  CHECK(story.write(0, bytes) == 0);
  CHECK(story.write(4096, pattern(4096, 2)) == 0);
  story.cluster.run();
  for (size_t index = 0; index < 3; ++index) story.rot(index, bytes);
  CHECK_FALSE(story.read(0, story.disk, 0, 4096).has_value());
  CHECK(story.counted(0, "blocksUnrepaired") == 1);
  CHECK(story.read(0, story.disk, 4096, 4096) == pattern(4096, 2));
  // For the rest of the block would have to be read.
  CHECK(story.write(512, pattern(512, 3)) == EIO);
  CHECK(story.write(0, pattern(4096, 4)) == 0);
  CHECK(story.read(0, story.disk, 0, 4096) == pattern(4096, 4));
  story.cluster.run();
  check_content_equal(story.cluster, story.volume);
}

TEST_CASE("repair: a read waits for a replica that is away, for a bounded time") {
  Story story(2);
  const auto bytes = pattern(4096, 1);
  CHECK(story.write(0, bytes) == 0);
  story.cluster.run();
  story.cluster.cut(1);
  story.rot(0, bytes);
  CHECK_FALSE(story.read(0, story.disk, 0, 4096).has_value());
  const uint64_t request = story.cluster.node(0).submit(Driver::range_op(Kind::read, story.disk, 0, 4096));
  story.cluster.run(500);
  CHECK_FALSE(story.cluster.node(0).reply_to(request).has_value());
  CHECK(story.cluster.connect(0, 1, story.volume));
  CHECK(story.finish(0, request) == 0);
}

TEST_CASE("repair: part of a bad block can be written") {
  Story story;
  auto bytes = pattern(4096, 1);
  CHECK(story.write(0, bytes) == 0);
  story.cluster.run();
  story.rot(0, bytes);
  const auto part = pattern(512, 2);
  CHECK(story.write(1024, part) == 0);
  std::copy(part.begin(), part.end(), bytes.begin() + 1024);
  CHECK(story.read(0, story.disk, 0, 4096) == bytes);
  story.cluster.run();
  check_content_equal(story.cluster, story.volume);
}

TEST_CASE("repair: each version gets its own block, though a newer one stands in its place") {
  Story story;
  const auto older = pattern(4096, 1);
  CHECK(story.write(0, older) == 0);
  const std::string snapshot = "{\"volume\":\"" + story.volume + "\",\"name\":\"s\"}";
  CHECK(command_at(story.cluster, 0, "snapshot", snapshot).error_code.empty());
  const auto newer = pattern(4096, 2);
  CHECK(story.write(0, newer) == 0);
  story.cluster.run();
  story.rot(0, older);
  story.rot(0, newer);
  CHECK(story.read(0, story.open(0, story.volume + "@s"), 0, 4096) == older);
  CHECK(story.read(0, story.disk, 0, 4096) == newer);
  CHECK(story.counted(0, "blocksRepaired") == 2);
  check_audits(story.cluster);
}

TEST_CASE("repair: who does not check what it is given takes another version (plant)") {
  CoreParams params = small_params();
  params.plant = Plant::repair_unchecked;
  Cluster cluster(3, params);
  const std::string volume = create_volume(cluster, Mode::quorum);
  const uint64_t disk = cluster.node(0).open(volume).handle;
  const auto older = pattern(4096, 1);
  cluster.node(0).submit(Driver::write_op(disk, 0, older));
  cluster.run();
  CHECK(command_at(cluster, 0, "snapshot", "{\"volume\":\"" + volume + "\",\"name\":\"s\"}")
            .error_code.empty());
  cluster.node(0).submit(Driver::write_op(disk, 0, pattern(4096, 2)));
  cluster.run();
  Driver& primary = cluster.node(0);
  for (uint32_t physical = 0; physical < params.segment_limit; ++physical) {
    const std::vector<uint8_t>& cache = primary.disk.cache(physical);
    const auto at = std::search(cache.begin(), cache.end(), older.begin(), older.end());
    if (at != cache.end()) primary.disk.corrupt(physical, static_cast<uint64_t>(at - cache.begin()));
  }
  const auto snapshot = primary.core->open_export(volume + "@s");
  REQUIRE(snapshot.has_value());
  const uint64_t request = primary.submit(Driver::range_op(Kind::read, snapshot->handle, 0, 4096));
  cluster.run(8000);
  const auto reply = primary.reply_to(request);
  REQUIRE(reply.has_value());
  const bool right = reply->error == 0 && Driver::bytes_of(*reply) == older;
  CHECK_FALSE(right);
}

TEST_CASE("repair: a segment with bad blocks is cleaned") {
  Story story;
  const auto bytes = pattern(4096, 1);
  CHECK(story.write(0, bytes) == 0);
  CHECK(story.write(65536, pattern(400000, 2)) == 0);
  story.cluster.run();
  story.rot(0, bytes);
  std::string segment;
  const auto table = nlohmann::json::parse(command_at(story.cluster, 0, "segments", "{}").result);
  CHECK(table["segments"][0]["state"] == "sealed");
  const uint64_t logical = table["segments"][0]["logical"];
  const CommandReply cleaned =
      command_at(story.cluster, 0, "clean", "{\"logical\":" + std::to_string(logical) + "}");
  INFO(cleaned.message);
  CHECK(cleaned.error_code.empty());
  CHECK(story.counted(0, "blocksRepaired") == 1);
  CHECK(story.read(0, story.disk, 0, 4096) == bytes);
  check_audits(story.cluster);
}

TEST_CASE(
    "repair: a segment that is not cleaned, for a damaged batch behind a bad block, keeps no other from it") {
  Story story;
  const auto bytes = pattern(4096, 1);
  const auto behind = pattern(4096, 2);
  CHECK(story.write(0, bytes) == 0);
  CHECK(story.write(8192, behind) == 0);
  CHECK(story.write(65536, pattern(400000, 3)) == 0);
  story.cluster.run();
  story.rot(0, bytes);
  SimDisk& disk = story.cluster.node(0).disk;
  const std::vector<uint8_t> cache = disk.cache(0);
  const auto body = std::search(cache.begin(), cache.end(), behind.begin(), behind.end());
  REQUIRE(body - cache.begin() >= 2 * kBlockBytes);
  disk.corrupt(0, static_cast<uint64_t>(body - cache.begin()) - kBlockBytes + 8);  // of its header
  const auto table = nlohmann::json::parse(command_at(story.cluster, 0, "segments", "{}").result);
  const auto clean = [&](size_t index) {
    CHECK(table["segments"][index]["state"] == "sealed");
    const uint64_t logical = table["segments"][index]["logical"];
    return command_at(story.cluster, 0, "clean", "{\"logical\":" + std::to_string(logical) + "}").error_code;
  };
  CHECK(clean(0) == "ERR_BATCH_CORRUPT");
  CHECK(clean(1) == "");
  CHECK(story.read(0, story.disk, 0, 4096) == bytes);
  CHECK(clean(2) == "");
  check_audits(story.cluster);
}

TEST_CASE("repair: a follower that needs blocks gets those too that were bad at the primary") {
  Story story;
  const auto bytes = pattern(4096, 1);
  CHECK(story.write(0, bytes) == 0);
  story.cluster.run();
  story.cluster.cut(2);
  Random random(1);
  story.cluster.kill(2, random);
  story.cluster.replace(2, small_params());
  story.rot(0, bytes);
  // Its log holds the record, though not whole: blocks are what it can send.
  CHECK(story.cluster.connect(0, 2, story.volume));
  story.cluster.run(2000);
  check_equal(story.cluster, story.volume);
  check_content_equal(story.cluster, story.volume);
  CHECK(story.counted(0, "blocksRepaired") == 1);
  check_audits(story.cluster);
}

TEST_CASE("scrub: finds what nobody has read, in heads and in snapshots, and has it repaired") {
  Story story;
  const auto older = pattern(65536, 1);
  CHECK(story.write(0, older) == 0);
  const std::string snapshot = "{\"volume\":\"" + story.volume + "\",\"name\":\"s\"}";
  CHECK(command_at(story.cluster, 0, "snapshot", snapshot).error_code.empty());
  for (uint64_t block = 0; block < 8; ++block)
    CHECK(story.write(block * 4096, pattern(4096, 100 + block)) == 0);
  story.cluster.run();
  CHECK(story.scrub(0) == std::pair<uint64_t, uint64_t>(0, 0));
  CHECK(story.counted(0, "blocksScrubbed") == 24);
  for (size_t node = 0; node < 2; ++node) {
    CAPTURE(node);
    story.rot(node, {older.begin() + 4096, older.begin() + 8192});
    story.rot(node, {older.begin() + 61440, older.end()});
    story.rot(node, pattern(4096, 103));
    CHECK(story.scrub(node, node == 0 ? 1 : 1000) == std::pair<uint64_t, uint64_t>(3, 3));
    CHECK(story.scrub(node) == std::pair<uint64_t, uint64_t>(0, 0));
  }
  CHECK(story.read(0, story.open(0, story.volume + "@s"), 0, 65536) == older);
  check_audits(story.cluster);
}

TEST_CASE("scrub: of one copy bad blocks are counted, and stay bad") {
  Driver driver;
  driver.format();
  driver.create(1 << 20, "disk");
  CHECK(driver.write(driver.open("disk").handle, 0, pattern(4096, 1)) == 0);
  const auto bytes = pattern(4096, 1);
  for (uint32_t physical = 0; physical < driver.params.segment_limit; ++physical) {
    const std::vector<uint8_t>& cache = driver.disk.cache(physical);
    const auto at = std::search(cache.begin(), cache.end(), bytes.begin(), bytes.end());
    if (at != cache.end()) driver.disk.corrupt(physical, static_cast<uint64_t>(at - cache.begin()));
  }
  const std::string first = driver.must("scrub", "{\"node\":0,\"block\":0,\"blocksMax\":100}");
  CHECK(field(first, "corrupt") == "1");
  CHECK(field(first, "repaired") == "0");
  CHECK(field(first, "done") == "false");
  const std::string rest =
      driver.must("scrub", "{\"node\":" + field(first, "node") + ",\"block\":" + field(first, "block") +
                               ",\"blocksMax\":100}");
  CHECK(field(rest, "done") == "true");
}
