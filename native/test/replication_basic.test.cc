// Three copies of a volume: one story a test.
#include "core_cluster.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

constexpr uint64_t kVolumeBytes = 4u << 20;

/// Starts a creation at node 0 and follows it from the others. @returns the volume
std::string create_volume(Cluster& cluster, Mode mode, size_t members = 3) {
  const CreatePayload payload = cluster_create(kVolumeBytes, "disk", 7, mode, members);
  const Stamp stamp = sample_stamp(7);
  Driver& primary = cluster.node(0);
  primary.core->command({999,
                         "create",
                         "{\"stamp\":\"" + to_hex(ByteSpan(stamp)) + "\",\"payload\":\"" +
                             to_hex(ByteSpan(encode_create(payload))) +
                             "\",\"epoch\":{\"counter\":1,\"host\":\"" + to_hex(host_of(0)) + "\"}}",
                         {}});
  cluster.run(5);
  std::string id;
  for (const Event& event : primary.events)
    if (event.name == "volume-created") id = field(event.detail, "volume");
  REQUIRE(!id.empty());
  // Alone it has no majority: the creation is not answered.
  CHECK(primary.command_replies.empty() == (mode != Mode::local));
  for (size_t index = 1; index < members; ++index) CHECK(cluster.connect(0, index, id));
  cluster.run(50);
  REQUIRE(primary.command_replies.size() == 1);
  CHECK(primary.command_replies[0].error_code.empty());
  primary.command_replies.clear();
  return id;
}

std::string head_of(Cluster& cluster, size_t index, const std::string& volume) {
  Driver& node = cluster.node(index);
  node.core->command({1000, "volumes", "{}", {}});
  cluster.run(2);
  std::string result;
  for (const CommandReply& reply : node.command_replies)
    if (reply.id == 1000) result = reply.result;
  node.command_replies.clear();
  const size_t at = result.find(volume);
  return at == std::string::npos ? "" : field(result, "version");
}

void check_equal(Cluster& cluster, const std::string& volume, size_t members = 3) {
  const std::string head = head_of(cluster, 0, volume);
  CHECK(!head.empty());
  for (size_t index = 1; index < members; ++index) {
    CAPTURE(index);
    CHECK(head_of(cluster, index, volume) == head);
  }
}

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
