// Three copies of a volume: one story a test.
#include "cluster_story.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

uint64_t write_block(Cluster& cluster, uint64_t target, uint64_t block, uint64_t seed, bool fua = false) {
  return cluster.node(0).submit(
      Driver::write_op(target, block * kBlockBytes, pattern(kBlockBytes, seed), fua));
}

}  // namespace

TEST_CASE("replication: a creation is answered when a majority has it synced, and heads are equal") {
  Cluster cluster(3);
  const std::string volume = create_volume(cluster, Mode::quorum);
  cluster.run();
  check_equal(cluster, volume);
  CHECK(head_of(cluster, 0, volume) == volume);  // version 0
}

TEST_CASE("replication: writes reach every copy, and heads are equal after") {
  for (const Mode mode : {Mode::quorum, Mode::durable, Mode::local}) {
    CAPTURE(static_cast<int>(mode));
    Cluster cluster(3);
    const std::string volume = create_volume(cluster, mode);
    const Export disk = cluster.node(0).open(volume);
    std::vector<uint64_t> requests;
    for (uint64_t count = 0; count < 200; ++count) {
      requests.push_back(write_block(cluster, disk.handle, count % 64, count, count % 7 == 0));
      if (count % 9 == 0) cluster.run(3);
    }
    cluster.run();
    for (const uint64_t request : requests) {
      const auto reply = cluster.node(0).reply_to(request);
      REQUIRE(reply.has_value());
      CHECK(reply->error == 0);
    }
    check_equal(cluster, volume);
    CHECK(head_of(cluster, 0, volume) != volume);
  }
}

TEST_CASE("replication: without a majority nothing is acknowledged, with one of two followers it is") {
  Cluster cluster(3);
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  cluster.cut(1);
  const uint64_t with_one = write_block(cluster, disk.handle, 1, 1);
  cluster.run(50);
  CHECK(cluster.node(0).reply_to(with_one).has_value());
  cluster.cut(2);
  const uint64_t alone = write_block(cluster, disk.handle, 2, 2);
  cluster.run(300);
  CHECK_FALSE(cluster.node(0).reply_to(alone).has_value());
  CHECK(cluster.connect(0, 1, volume));
  cluster.run(50);
  const auto reply = cluster.node(0).reply_to(alone);
  REQUIRE(reply.has_value());
  CHECK(reply->error == 0);
  CHECK(cluster.connect(0, 2, volume));
  cluster.run();
  check_equal(cluster, volume);
}

TEST_CASE("replication: a flush is answered when a majority has synced") {
  Cluster cluster(3);
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  write_block(cluster, disk.handle, 1, 1);
  cluster.run(20);
  cluster.cut(1);
  cluster.cut(2);
  const uint64_t flush = cluster.node(0).submit(Driver::range_op(ClientOp::Kind::flush, disk.handle, 0, 0));
  cluster.run(20);
  // The followers appended the write, but only this store has synced it.
  CHECK_FALSE(cluster.node(0).reply_to(flush).has_value());
  CHECK(cluster.connect(0, 2, volume));
  cluster.run(50);
  CHECK(cluster.node(0).reply_to(flush).has_value());
}

TEST_CASE("replication: a follower that holds what comes again with the wish for a sync syncs it") {
  Cluster cluster(2);
  const std::string volume = create_volume(cluster, Mode::quorum, 2);
  const Export disk = cluster.node(0).open(volume);
  write_block(cluster, disk.handle, 1, 1);
  // The follower appends it, and its acknowledgement is lost.
  for (int turn = 0; turn < 3; ++turn) {
    cluster.turn();
    cluster.deliver(SIZE_MAX);
    cluster.step_disks();
  }
  cluster.cut(1);
  const uint64_t flush = cluster.node(0).submit(Driver::range_op(ClientOp::Kind::flush, disk.handle, 0, 0));
  cluster.run(5);
  CHECK(cluster.connect(0, 1, volume));
  // A turn is a millisecond here; without being told a store syncs after a second.
  cluster.run(50);
  CHECK(cluster.node(0).reply_to(flush).has_value());
}

TEST_CASE("replication: a follower that was away gets what it missed from the log, and no more") {
  Cluster cluster(3);
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  for (uint64_t count = 0; count < 50; ++count) write_block(cluster, disk.handle, count, count);
  cluster.run(50);
  cluster.cut(2);
  for (uint64_t count = 0; count < 40; ++count) {
    write_block(cluster, disk.handle, 100 + count, count);
    cluster.run(2);
  }
  cluster.run();
  const uint64_t before = cluster.sent_bytes;
  CHECK(cluster.connect(0, 2, volume));
  cluster.run();
  check_equal(cluster, volume);
  const uint64_t travelled = cluster.sent_bytes - before;
  CHECK(travelled >= 40 * kBlockBytes);
  CHECK(travelled < 50 * kBlockBytes);
}

TEST_CASE("replication: the same story however the bytes of the streams are cut") {
  for (const size_t bytes : {1000u, 4096u, 37u}) {
    CAPTURE(bytes);
    Cluster cluster(3);
    const std::string volume = create_volume(cluster, Mode::quorum);
    const Export disk = cluster.node(0).open(volume);
    for (uint64_t count = 0; count < 8; ++count) write_block(cluster, disk.handle, count, count);
    for (int count = 0; count < 3000; ++count) {
      cluster.turn();
      cluster.deliver(bytes);
      cluster.settle_disks();
    }
    check_equal(cluster, volume);
  }
}

TEST_CASE(
    "replication: a volume is opened at its primary alone, its snapshots and what a replica holds "
    "elsewhere") {
  Cluster cluster(3);
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  write_block(cluster, disk.handle, 1, 1);
  cluster.run(200);
  CHECK(command_at(cluster, 0, "snapshot", "{\"volume\":\"" + volume + "\",\"name\":\"then\"}")
            .error_code.empty());
  cluster.run(200);
  Core& follower = *cluster.node(1).core;
  for (const std::string& name : {volume, std::string("disk")}) {
    CHECK_FALSE(follower.open_export(name).has_value());
    CHECK(follower.open_refusal(name) == "not primary");
    const auto replica = follower.open_export("replica:" + name);
    REQUIRE(replica.has_value());
    CHECK(replica->read_only);
    const auto snapshot = follower.open_export(name + "@then");
    REQUIRE(snapshot.has_value());
    CHECK(snapshot->read_only);
    // Writing to either is refused, whatever the client thinks of the flag.
    const uint64_t request = cluster.node(1).submit(Driver::write_op(replica->handle, 0, pattern(4096, 1)));
    cluster.run(2);
    const auto reply = cluster.node(1).reply_to(request);
    REQUIRE(reply.has_value());
    CHECK(reply->error == EPERM);
  }
  for (const Export& listed : follower.list_exports()) CHECK(listed.name == "disk@then");
  // At the primary there is no replica: there is the volume.
  CHECK_FALSE(cluster.node(0).core->open_export("replica:" + volume).has_value());
  check_content_equal(cluster, volume);
}

TEST_CASE("replication: a replica that lags is read as far as it is known to be committed, without waiting") {
  Cluster cluster(3);
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  write_block(cluster, disk.handle, 1, 1);
  cluster.run(3);  // appended there; the commit has not come
  cluster.cut(1);
  cluster.cut(2);
  CHECK(content_of(cluster, 1, volume).size() == kVolumeBytes);
}

TEST_CASE("replication: of two copies, one with records that its primary lost in a power cut follows again") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    Cluster cluster(2);
    const std::string volume = create_volume(cluster, Mode::quorum, 2);
    Export disk = cluster.node(0).open(volume);
    write_block(cluster, disk.handle, 1, 1);
    cluster.run(200);
    cluster.node(0).submit(Driver::range_op(ClientOp::Kind::flush, disk.handle, 0, 0));
    cluster.run(50);
    // The follower has it, the primary not: neither knows it to be committed.
    write_block(cluster, disk.handle, 2, 2);
    for (int turn = 0; turn < 5; ++turn) {
      cluster.turn();
      cluster.deliver(SIZE_MAX);
      while (cluster.node(1).disk.busy()) cluster.node(1).core->complete(cluster.node(1).disk.complete(0));
    }
    cluster.kill(0, random, true);
    cluster.start(0);
    CHECK(cluster.connect(0, 1, volume));
    cluster.run(50);
    disk = cluster.node(0).open(volume);
    const uint64_t again = write_block(cluster, disk.handle, 3, 3);
    cluster.run(200);
    const auto reply = cluster.node(0).reply_to(again);
    REQUIRE(reply.has_value());
    CHECK(reply->error == 0);
    check_equal(cluster, volume, 2);
  }
}
