// Replicas that may have lost what was not synced (docs/protocol.md, R1, R2).
#include "cluster_views.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

/// The host's power fails: what was not synced is gone, and another kernel starts.
void cut_power(Cluster& cluster, size_t index, Random& random) {
  cluster.kill(index, random, true);
  ++cluster.node(index).params.boot_id[0];
}

bool is_recovering(Cluster& cluster, size_t index, const std::string& volume) {
  const CommandReply reply = ask_promise(cluster, index, volume, epoch_of(1, 0), "would-promise");
  return nlohmann::json::parse(reply.result)["recovering"];
}

nlohmann::json volume_at(Cluster& cluster, size_t index, const std::string& volume) {
  const CommandReply reply = command_at(cluster, index, "volumes", nlohmann::json{{"volume", volume}}.dump());
  return nlohmann::json::parse(reply.result)[0];
}

}  // namespace

TEST_CASE(
    "recovering: R1, another boot marks a replica; a crash of the process, or a clean stop before it, does "
    "not") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  Random random(1);
  cluster.kill(2, random);
  cluster.start(2);
  CHECK_FALSE(is_recovering(cluster, 2, volume));
  cut_power(cluster, 2, random);
  cluster.start(2);
  CHECK(is_recovering(cluster, 2, volume));
  // It stays so over crashes, until it has a leader's history.
  cluster.kill(2, random);
  cluster.start(2);
  CHECK(is_recovering(cluster, 2, volume));
  CHECK(cluster.connect(0, 2, volume));
  cluster.run(50);
  CHECK(count_events(cluster, 2, "recovered") == 1);
  CHECK_FALSE(is_recovering(cluster, 2, volume));
  cluster.kill(2, random);
  cluster.start(2);
  CHECK_FALSE(is_recovering(cluster, 2, volume));

  cluster.node(1).core->stop();
  cluster.run(50);
  cut_power(cluster, 1, random);
  cluster.start(1);
  CHECK_FALSE(is_recovering(cluster, 1, volume));
}

TEST_CASE("recovering: R2, it counts again once it has all that the leader had, and no sooner") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  for (uint64_t block = 0; block < 8; ++block) CHECK(try_write(cluster, 0, disk.handle, block, block) == 0);
  Random random(2);
  cut_power(cluster, 2, random);
  cluster.cut(1);
  cluster.start(2);
  CHECK(cluster.connect(0, 2, volume));
  cluster.run(50);
  CHECK(count_events(cluster, 2, "recovered") == 1);
  // With the primary it is a majority.
  CHECK(try_write(cluster, 0, disk.handle, 9, 9) == 0);
  check_content_equal(cluster, volume, 1);
}

TEST_CASE(
    "recovering: R3, two recovering replicas elect with a restart view, and lose nothing that was flushed") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  Driver& primary = cluster.node(0);
  const uint64_t flush = primary.submit(Driver::range_op(ClientOp::Kind::flush, disk.handle, 0, 0));
  cluster.run(50);
  CHECK(primary.reply_to(flush)->error == 0);
  Random random(3);
  for (size_t index = 0; index < 3; ++index) cut_power(cluster, index, random);
  cluster.start(1);
  cluster.start(2);
  // They answer the election's questions and give their slices, though what they hold proves nothing.
  CHECK(is_recovering(cluster, 1, volume));
  CHECK(is_recovering(cluster, 2, volume));
  elect(cluster, volume, 1, 2, {2});
  CHECK(holds(cluster, 1, volume, 0, 1));
  CHECK_FALSE(is_recovering(cluster, 1, volume));
  CHECK_FALSE(is_recovering(cluster, 2, volume));
  const Export next = cluster.node(1).open(volume);
  CHECK(try_write(cluster, 1, next.handle, 1, 2) == 0);
}

TEST_CASE("recovering: a volume of one member waits for nobody's lease, and goes on once it is elected") {
  Cluster cluster(1, views_params());
  const std::string volume = create_volume(cluster, Mode::local, 1);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  Random random(4);
  cut_power(cluster, 0, random);
  cluster.start(0);
  cluster.run(5);
  CHECK(is_recovering(cluster, 0, volume));
  CHECK(count_events(cluster, 0, "lease-over") == 1);
  elect(cluster, volume, 0, 2, {});
  CHECK_FALSE(is_recovering(cluster, 0, volume));
  CHECK(try_write(cluster, 0, cluster.node(0).open(volume).handle, 1, 2) == 0);
}

TEST_CASE("recovering: R1, a store without room for the mark starts all the same, and marks at each start") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  Random random(5);
  cut_power(cluster, 2, random);
  cluster.node(2).disk.full = true;
  cluster.start(2);
  CHECK(is_recovering(cluster, 2, volume));
  cluster.kill(2, random);
  cluster.node(2).disk.full = false;
  cluster.start(2);
  CHECK(is_recovering(cluster, 2, volume));
}

TEST_CASE("recovering: R1, a store that could not be marked is not taken for whole after a clean stop") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  Random random(6);
  cut_power(cluster, 2, random);
  cluster.node(2).disk.full = true;
  cluster.start(2);
  CHECK(is_recovering(cluster, 2, volume));
  cluster.node(2).disk.full = false;
  cluster.node(2).core->stop();
  cluster.run(3000);
  CHECK(cluster.node(2).saw_event("stopped"));
  cluster.kill(2, random);
  cluster.start(2);
  CHECK(is_recovering(cluster, 2, volume));
}

TEST_CASE(
    "recovering: R3, a member that a restart went on without drops what it knows to be committed, and is "
    "alike") {
  size_t undone = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Cluster cluster(3, views_params());
    const std::string volume = create_volume(cluster, Mode::quorum);
    const Export disk = cluster.node(0).open(volume);
    CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
    const uint64_t flush = cluster.node(0).submit(Driver::range_op(ClientOp::Kind::flush, disk.handle, 0, 0));
    cluster.run(30);
    CHECK(cluster.node(0).reply_to(flush)->error == 0);
    CHECK(command_at(cluster, 0, "snapshot", nlohmann::json{{"volume", volume}, {"name", "s"}}.dump())
              .error_code.empty());
    // Acknowledged, and not flushed; all of them apply it.
    for (uint64_t block = 0; block < 12; ++block)
      CHECK(try_write(cluster, 0, disk.handle, block, 100 + block) == 0);
    cluster.run(150);
    const uint64_t before = volume_at(cluster, 2, volume)["lsn"];
    Random random(seed);
    cut_power(cluster, 0, random);
    cut_power(cluster, 1, random);
    cluster.start(0);
    cluster.start(1);
    elect(cluster, volume, 0, 2, {1});
    const bool is_short = volume_at(cluster, 0, volume)["lsn"] <= before;
    const Export next = cluster.node(0).open(volume);
    for (uint64_t block = 20; block < 24; ++block)
      CHECK(try_write(cluster, 0, next.handle, block, 200 + block) == 0);
    cluster.cut(2);
    for (int tries = 0; tries < 3; ++tries) {
      CHECK(cluster.connect(0, 2, volume));
      cluster.run(100);
    }
    CHECK(count_events(cluster, 2, "history-undone") == (is_short ? 1 : 0));
    undone += is_short ? 1 : 0;
    check_equal(cluster, volume);
    check_content_equal(cluster, volume);
    check_audits(cluster);
    // For good.
    cluster.kill(2, random);
    cluster.start(2);
    CHECK(cluster.connect(0, 2, volume));
    cluster.run(100);
    check_equal(cluster, volume);
    check_content_equal(cluster, volume);
    check_audits(cluster);
  }
  CHECK(undone > 0);
}
