// Volumes of two data members and a witness, which keeps headers and votes (docs/protocol.md, W1 to W5).
#include "cluster_views.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

constexpr size_t kWitness = 2;

std::string volume_with_witness(Cluster& cluster, Mode mode = Mode::quorum) {
  return create_volume(cluster, mode, 3, kVolumeBytes, SIZE_MAX, true);
}

/// W4: on without that data member, which may learn when it is back.
Change without(size_t index) {
  return [=](std::vector<ViewMember>& members) {
    for (ViewMember& one : members)
      if (one.host == host_of(index)) one.role = MemberRole::learner;
  };
}

Change again_with(size_t index) {
  return [=](std::vector<ViewMember>& members) {
    for (ViewMember& one : members)
      if (one.host == host_of(index)) one.role = MemberRole::data;
  };
}

nlohmann::json stats_of(Cluster& cluster, size_t index) {
  return nlohmann::json::parse(command_at(cluster, index, "stats", "{}").result);
}

nlohmann::json replica_of(Cluster& cluster, size_t index, const std::string& volume) {
  const CommandReply reply = command_at(cluster, index, "volumes", nlohmann::json{{"volume", volume}}.dump());
  return nlohmann::json::parse(reply.result)[0];
}

bool can_write(Cluster& cluster, size_t index, const std::string& volume, uint64_t seed) {
  return try_write(cluster, index, cluster.node(index).open(volume).handle, seed % 64, seed) == 0;
}

/// As after a start: of the log alone, and of a checkpoint.
void restart(Cluster& cluster, size_t index, Random& random) {
  cluster.kill(index, random);
  cluster.start(index);
  cluster.run(20);
}

}  // namespace

TEST_CASE("witness: it has the whole chain and none of the blocks, on the wire and on disk") {
  Random random(1);
  Cluster cluster(3, views_params());
  const std::string volume = volume_with_witness(cluster);
  const uint64_t before = cluster.sent_bytes;
  for (uint64_t seed = 0; seed < 40; ++seed) CHECK(can_write(cluster, 0, volume, seed));
  // One copy of the blocks went over the wire, and a little.
  CHECK(cluster.sent_bytes - before < 40 * kBlockBytes * 3 / 2);
  cluster.run(200);
  check_equal(cluster, volume);
  CHECK(replica_of(cluster, kWitness, volume)["witness"] == true);
  CHECK(replica_of(cluster, 1, volume)["witness"] == false);
  CHECK(stats_of(cluster, 0)["liveBytes"].get<uint64_t>() >= 40 * kBlockBytes);
  CHECK(stats_of(cluster, kWitness)["liveBytes"] == 0);
  for (const bool from_checkpoint : {false, true}) {
    if (from_checkpoint) command_at(cluster, kWitness, "checkpoint", "{}");
    restart(cluster, kWitness, random);
    CHECK(cluster.connect(0, kWitness, volume));
    cluster.run(200);
    check_equal(cluster, volume);
    CHECK(can_write(cluster, 0, volume, 50));
    cluster.run(200);
    check_equal(cluster, volume);
  }
  check_audits(cluster);
}

TEST_CASE("witness: it serves nothing, for it has nothing") {
  Cluster cluster(3, views_params());
  const std::string volume = volume_with_witness(cluster);
  CHECK(can_write(cluster, 0, volume, 1));
  command_at(cluster, 0, "snapshot", nlohmann::json{{"volume", volume}, {"name", "s"}}.dump());
  cluster.run(200);
  Core& core = *cluster.node(kWitness).core;
  for (const char* name : {"replica:disk", "disk@s"}) {
    CHECK_FALSE(core.open_export(name).has_value());
    CHECK(core.open_refusal(name) == "witness");
  }
  CHECK(core.list_exports().empty());
  const auto code = [&](const char* verb, const nlohmann::json& arguments) {
    return command_at(cluster, kWitness, verb, arguments.dump()).error_code;
  };
  CHECK(code("records", {{"volume", volume}, {"lsn", 1}, {"bytesMax", 100000}}) == "ERR_WITNESS");
  CHECK(content_of(cluster, 1, "disk").size() == kVolumeBytes);
}

TEST_CASE("witness: W1, with a data member away its answer commits nothing with a body") {
  for (const Mode mode : {Mode::quorum, Mode::durable}) {
    Cluster cluster(3, views_params());
    const std::string volume = volume_with_witness(cluster, mode);
    CHECK(can_write(cluster, 0, volume, 1));
    cluster.cut(1);
    CHECK_FALSE(can_write(cluster, 0, volume, 2));
    cluster.run(300);
    CHECK_FALSE(can_write(cluster, 0, volume, 3));
    CHECK(cluster.connect(0, 1, volume));
    cluster.run(100);
    CHECK(can_write(cluster, 0, volume, 4));
    // The witness is not needed where both data members are.
    cluster.cut(kWitness);
    CHECK(can_write(cluster, 0, volume, 5));
    check_audits(cluster);
  }
}

TEST_CASE("witness: W4, the primary goes on without the other data member, and with it again") {
  Random random(2);
  Cluster cluster(3, views_params());
  const std::string volume = volume_with_witness(cluster);
  CHECK(can_write(cluster, 0, volume, 1));
  cluster.kill(1, random);
  const uint64_t target = cluster.node(0).open(volume).handle;
  CHECK_FALSE(try_write(cluster, 0, target, 2, 2).has_value());
  elect(cluster, volume, 0, 2, {kWitness}, {}, without(1));
  CHECK(can_write(cluster, 0, volume, 3));
  // What waited for the other one is committed with the change.
  CHECK(holds(cluster, 0, volume, 2, 2));
  // One data copy, and the witness: neither alone.
  cluster.cut(kWitness);
  CHECK_FALSE(can_write(cluster, 0, volume, 4));
  CHECK(cluster.connect(0, kWitness, volume));
  cluster.run(100);
  CHECK(can_write(cluster, 0, volume, 5));
  cluster.start(1);
  CHECK(cluster.connect(0, 1, volume));
  cluster.run(200);
  CHECK(holds(cluster, 1, volume, 3, 3));
  elect(cluster, volume, 0, 3, {1, kWitness}, {}, again_with(1));
  CHECK(can_write(cluster, 0, volume, 6));
  cluster.cut(kWitness);
  CHECK(can_write(cluster, 0, volume, 7));
  cluster.run(200);
  check_content_equal(cluster, "disk", 2);
  check_audits(cluster);
}

TEST_CASE(
    "witness: W3 and W4, the other data member leads where the primary dies, and leaves off what it lacks") {
  Random random(3);
  Cluster cluster(3, views_params());
  const std::string volume = volume_with_witness(cluster);
  CHECK(can_write(cluster, 0, volume, 1));
  cluster.run(100);
  cluster.cut(1);
  // The witness has the header of what nobody has acknowledged.
  CHECK_FALSE(can_write(cluster, 0, volume, 2));
  cluster.kill(0, random);
  must_promise(cluster, 1, volume, epoch_of(2, 1));
  const nlohmann::json told = must_promise(cluster, kWitness, volume, epoch_of(2, 1));
  Election election{1, 2, replica_of(cluster, 1, volume), told["views"].back()["payload"]};
  const nlohmann::json own =
      nlohmann::json::parse(ask_promise(cluster, 1, volume, epoch_of(2, 1), "would-promise").result)["head"];
  CHECK(is_more_advanced(told["head"], own));
  election.head = own;
  REQUIRE(ask_lead(cluster, volume, election).error_code.empty());
  CHECK(cluster.connect(1, kWitness, volume));
  cluster.run(50);
  // It gives its slice of what it has besides more of: that is what is to be led on from.
  const CommandReply slice =
      command_at(cluster, kWitness, "slice-check",
                 nlohmann::json{{"volume", volume}, {"epoch", epoch_of(2, 1)}, {"head", own}}.dump());
  INFO(slice.message);
  CHECK(slice.error_code.empty());
  const CommandReply view = ask_begin_view(cluster, volume, election, stamp_of(1), without(0));
  INFO(view.error_code << " " << view.message);
  REQUIRE(view.error_code.empty());
  cluster.run(150);
  CHECK(count_events(cluster, 1, "leading") == 1);
  CHECK(can_write(cluster, 1, volume, 3));
  CHECK(holds(cluster, 1, volume, 1, 1));
  cluster.run(100);
  CHECK(head_of(cluster, kWitness, volume) == head_of(cluster, 1, volume));
  // The old primary comes back with what was left off, and drops it.
  cluster.start(0);
  CHECK(cluster.connect(1, 0, volume));
  cluster.run(200);
  CHECK(holds(cluster, 0, volume, 3, 3));
  elect(cluster, volume, 1, 3, {0, kWitness}, {}, again_with(0));
  CHECK(can_write(cluster, 1, volume, 4));
  cluster.run(200);
  check_content_equal(cluster, "disk", 2);
  check_audits(cluster);
}

TEST_CASE("witness: what the log no longer has it gets as the end of the chain, without a block") {
  Random random(4);
  CoreParams params = views_params();
  params.checkpoint_bytes = 64 * kBlockBytes;
  Cluster cluster(3, params);
  const std::string volume = volume_with_witness(cluster);
  cluster.kill(kWitness, random);
  for (uint64_t seed = 0; seed < 400; ++seed) CHECK(can_write(cluster, 0, volume, seed));
  command_at(cluster, 0, "snapshot", nlohmann::json{{"volume", volume}, {"name", "s"}}.dump());
  for (int count = 0; count < 3; ++count) command_at(cluster, 0, "checkpoint", "{}");
  cluster.start(kWitness);
  const uint64_t before = cluster.sent_bytes;
  CHECK(cluster.connect(0, kWitness, volume));
  cluster.run(200);
  check_equal(cluster, volume);
  CHECK(cluster.sent_bytes - before < 200'000);
  CHECK(stats_of(cluster, kWitness)["liveBytes"] == 0);
  restart(cluster, kWitness, random);
  CHECK(cluster.connect(0, kWitness, volume));
  CHECK(can_write(cluster, 0, volume, 1));
  cluster.run(100);
  check_equal(cluster, volume);
  check_audits(cluster);
}

TEST_CASE("witness: it is named by the creation, and no set makes another store one or it another") {
  Cluster cluster(4, views_params());
  const std::string volume = volume_with_witness(cluster);
  const auto refused = [&](uint64_t counter, const Change& change) {
    const Election election = stand(cluster, volume, 0, counter, {1, kWitness});
    REQUIRE(ask_lead(cluster, volume, election).error_code.empty());
    for (const size_t voter : {size_t{1}, kWitness}) CHECK(cluster.connect(0, voter, volume));
    cluster.run(50);
    const Stamp stamp = stamp_of(election.head["epoch"]["counter"].get<uint64_t>());
    const std::string code = ask_begin_view(cluster, volume, election, stamp, change).error_code;
    CHECK(ask_begin_view(cluster, volume, election, stamp).error_code.empty());
    cluster.run(150);
    return code;
  };
  const auto role = [](size_t index, MemberRole wanted) {
    return [=](std::vector<ViewMember>& members) { members[index].role = wanted; };
  };
  CHECK(refused(2, role(kWitness, MemberRole::data)) == "ERR_SET_CHANGE");
  CHECK(refused(3, role(kWitness, MemberRole::learner)) == "ERR_SET_CHANGE");
  CHECK(refused(4, role(1, MemberRole::witness)) == "ERR_SET_CHANGE");
  CHECK(can_write(cluster, 0, volume, 1));
  check_audits(cluster);
}
