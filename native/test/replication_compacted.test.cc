// Catch-up by blocks, where the log no longer holds the records: one story a test. A small store, so that writes go round it.
#include "cluster_story.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

constexpr uint64_t kBytes = 1u << 20;
constexpr uint64_t kBlocks = kBytes / kBlockBytes;

CoreParams ring_params() {
  CoreParams params = small_params();
  params.segment_limit = 96;
  params.checkpoint_bytes = 512u << 10;
  return params;
}

void must_write(Cluster& cluster, uint64_t target, uint64_t block, uint64_t seed) {
  cluster.node(0).submit(Driver::write_op(target, block * kBlockBytes, pattern(kBlockBytes, seed)));
  cluster.run(1);
}

/// Frees what the log holds of old records: enough new ones, and checkpoints.
void overwrite(Cluster& cluster, uint64_t target, int times, uint64_t seed) {
  for (int round = 0; round < times; ++round)
    for (uint64_t block = 0; block < kBlocks; ++block)
      must_write(cluster, target, block, seed + static_cast<uint64_t>(round) * kBlocks + block);
  cluster.run(50);
  for (size_t index = 0; index < cluster.size(); ++index)
    if (cluster.up(index)) CHECK(command_at(cluster, index, "checkpoint", "{}").error_code.empty());
  cluster.node(0).replies.clear();
}

void trim(Cluster& cluster, uint64_t target, uint64_t block, uint64_t count) {
  cluster.node(0).submit(
      Driver::range_op(ClientOp::Kind::trim, target, block * kBlockBytes, count * kBlockBytes));
  cluster.run(2);
}

}  // namespace

TEST_CASE("compacted: a follower that was away while the volume was overwritten three times is brought up") {
  Cluster cluster(3, ring_params());
  const std::string volume = create_volume(cluster, Mode::quorum, 3, kBytes);
  const Export disk = cluster.node(0).open(volume);
  overwrite(cluster, disk.handle, 1, 1000);
  cluster.cut(2);
  const std::string before = head_of(cluster, 2, volume);
  overwrite(cluster, disk.handle, 3, 5000);
  trim(cluster, disk.handle, 10, 40);
  const uint64_t sent = cluster.sent_bytes;
  CHECK(cluster.connect(0, 2, volume));
  cluster.run();
  CHECK(head_of(cluster, 2, volume) != before);
  check_equal(cluster, volume);
  check_content_equal(cluster, volume);
  check_audits(cluster);
  // The blocks once, not three times.
  CHECK(cluster.sent_bytes - sent < kBytes + (kBytes >> 3));
  // It goes on from there as any follower, and over a crash of its own.
  must_write(cluster, disk.handle, 3, 77);
  cluster.run();
  check_equal(cluster, volume);
  Random random(1);
  cluster.kill(2, random);
  cluster.start(2);
  CHECK(cluster.connect(0, 2, volume));
  must_write(cluster, disk.handle, 4, 78);
  cluster.run();
  check_equal(cluster, volume);
  check_content_equal(cluster, volume);
}

TEST_CASE(
    "compacted: whoever is given the view's stamp makes its head's token, brought up by records or by "
    "blocks") {
  Cluster cluster(3, ring_params());
  const std::string volume = create_volume(cluster, Mode::quorum, 3, kBytes);
  const Export disk = cluster.node(0).open(volume);
  overwrite(cluster, disk.handle, 1, 1000);
  cluster.cut(2);
  overwrite(cluster, disk.handle, 3, 5000);
  CHECK(cluster.connect(0, 2, volume));
  cluster.run();
  check_equal(cluster, volume);
  Random random(1);
  for (const size_t index : {size_t{1}, size_t{2}}) {
    for (const uint8_t seed : {uint8_t{8}, uint8_t{7}}) {
      const std::string stamp = "{\"volume\":\"" + volume + "\",\"kind\":1,\"bytes\":\"" +
                                to_hex(ByteSpan(sample_stamp(seed))) +
                                "\",\"epoch\":{\"counter\":1,\"host\":\"" + to_hex(host_of(0)) + "\"}}";
      CHECK(command_at(cluster, index, "put-local", stamp).error_code.empty());
      // Only what the checkpoint keeps is left of the newest record.
      CHECK(command_at(cluster, index, "checkpoint", "{}").error_code.empty());
      cluster.kill(index, random);
      cluster.start(index);
      const std::string told = command_at(cluster, index, "volumes", "{}").result;
      CHECK(nlohmann::json::parse(told)[0]["writable"] == (seed == 7));
    }
  }
}

TEST_CASE("compacted: a follower that holds nothing is brought up, its snapshots too") {
  Cluster cluster(3, ring_params());
  const std::string volume = create_volume(cluster, Mode::quorum, 3, kBytes);
  const Export disk = cluster.node(0).open(volume);
  overwrite(cluster, disk.handle, 1, 1);
  const std::string name = "{\"volume\":\"" + volume + "\",\"name\":\"";
  CHECK(command_at(cluster, 0, "snapshot", name + "first\"}").error_code.empty());
  overwrite(cluster, disk.handle, 1, 2000);
  trim(cluster, disk.handle, 100, 100);
  CHECK(command_at(cluster, 0, "snapshot", name + "second\"}").error_code.empty());
  CHECK(command_at(cluster, 0, "resize", "{\"volume\":\"" + volume + "\",\"sizeBytes\":1572864}")
            .error_code.empty());
  overwrite(cluster, disk.handle, 2, 4000);
  // A new disk in the place of the old one, of the same name: as a restored host would have.
  cluster.cut(2);
  cluster.replace(2, ring_params());
  CHECK(cluster.connect(0, 2, volume));
  cluster.run();
  check_equal(cluster, volume);
  check_content_equal(cluster, volume);
  check_content_equal(cluster, volume + "@first");
  check_content_equal(cluster, volume + "@second");
  check_audits(cluster);
  // A snapshot that went while it was away goes there too.
  cluster.cut(2);
  CHECK(command_at(cluster, 0, "delete-snapshot", name + "first\"}").error_code.empty());
  overwrite(cluster, disk.handle, 3, 9000);
  CHECK(cluster.connect(0, 2, volume));
  cluster.run();
  check_equal(cluster, volume);
  CHECK_FALSE(cluster.node(2).core->open_export(volume + "@first").has_value());
  check_content_equal(cluster, volume + "@second");
  check_audits(cluster);
}

TEST_CASE("compacted: meanwhile the follower's replica is as it was, and a cut begins it anew") {
  Cluster cluster(3, ring_params());
  const std::string volume = create_volume(cluster, Mode::quorum, 3, kBytes);
  const Export disk = cluster.node(0).open(volume);
  overwrite(cluster, disk.handle, 1, 1);
  cluster.cut(2);
  const std::vector<uint8_t> before = content_of(cluster, 2, volume);
  const std::string head = head_of(cluster, 2, volume);
  overwrite(cluster, disk.handle, 3, 5000);
  for (size_t bytes = 1000; bytes < 2 * kBytes; bytes = bytes * 3 / 2) {
    CAPTURE(bytes);
    CHECK(cluster.connect(0, 2, volume));
    for (size_t passed = 0; passed < bytes; passed += 4096) {
      cluster.turn();
      cluster.deliver(4096);
      cluster.settle_disks();
    }
    if (head_of(cluster, 2, volume) != head) break;
    CHECK((content_of(cluster, 2, volume) == before));
    cluster.cut(2);
    cluster.run(20);
    check_audits(cluster);
  }
  cluster.cut(2);
  CHECK(cluster.connect(0, 2, volume));
  cluster.run();
  check_equal(cluster, volume);
  check_content_equal(cluster, volume);
  check_audits(cluster);
}

TEST_CASE("compacted: a crash or power cut at any moment leaves the old head or the new one, whole") {
  const uint64_t seed = 20;
  CAPTURE(seed);
  Random random(seed);
  CoreParams params = ring_params();
  params.segment_limit = 64;
  params.checkpoint_bytes = 64u << 10;
  Cluster cluster(3, params);
  constexpr uint64_t kSmall = 40 * kBlockBytes;
  const std::string volume = create_volume(cluster, Mode::quorum, 3, kSmall);
  uint64_t disk = cluster.node(0).open(volume).handle;
  const auto rewrite = [&](int rounds, uint64_t from) {
    for (int round = 0; round < rounds; ++round)
      for (uint64_t block = 0; block < 40; ++block)
        must_write(cluster, disk, block, from + static_cast<uint64_t>(round) * 40 + block);
  };
  rewrite(1, 1);
  cluster.run(150);
  cluster.cut(2);
  const std::vector<uint8_t> before = content_of(cluster, 2, volume);
  rewrite(4, 1000);
  CHECK(command_at(cluster, 0, "snapshot", "{\"volume\":\"" + volume + "\",\"name\":\"mid\"}")
            .error_code.empty());
  rewrite(4, 3000);
  trim(cluster, disk, 5, 9);
  cluster.run(150);
  // Versions shown lately keep their blocks, and with them the records that the follower lacks.
  for (size_t index = 0; index < 3; ++index) cluster.node(index).now_ns += 12'000'000'000;
  cluster.run(5);
  for (size_t index = 0; index < 3; ++index)
    for (int twice = 0; twice < 2; ++twice)
      CHECK(command_at(cluster, index, "checkpoint", "{}").error_code.empty());
  const std::vector<uint8_t> after = content_of(cluster, 0, volume);
  const std::string old_head = head_of(cluster, 2, volume);
  const std::string new_head = head_of(cluster, 0, volume);
  REQUIRE(old_head != new_head);
  const std::vector<SimDisk> disks = cluster.save();

  // What ends: the follower, the leader, or the follower's power.
  for (const int story : {0, 1, 2}) {
    CAPTURE(story);
    const size_t victim = story == 1 ? 0 : 2;
    for (int moment = 0;; ++moment) {
      CAPTURE(moment);
      REQUIRE(moment < 2000);
      cluster.load(disks);
      CHECK(cluster.connect(0, 1, volume));
      cluster.run(5);
      CHECK(cluster.connect(0, 2, volume));
      bool done = false;
      int quiet = 0;
      for (int step = 0; step < moment && !done; ++step) {
        cluster.turn();
        cluster.deliver(16384);
        cluster.step_disks();
        // The snapshot is seen from the move on; a while later all that belongs to it is on disk.
        quiet = cluster.node(2).core->open_export(volume + "@mid") && cluster.quiet() ? quiet + 1 : 0;
        done = quiet == 5;
      }
      cluster.kill(victim, random, story == 2);
      cluster.start(victim);
      const std::string head = head_of(cluster, 2, volume);
      CHECK((head == old_head || head == new_head));
      CHECK((content_of(cluster, 2, volume) == (head == old_head ? before : after)));
      for (const size_t follower : {1u, 2u}) {
        cluster.cut(follower);
        CHECK(cluster.connect(0, follower, volume));
      }
      cluster.run(200);
      check_equal(cluster, volume);
      CHECK((content_of(cluster, 2, volume) == after));
      check_content_equal(cluster, volume + "@mid");
      check_audits(cluster);
      if (done) break;
    }
  }
}
