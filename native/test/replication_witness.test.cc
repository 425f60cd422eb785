// Volumes of two data members and a witness, which keeps headers and votes (docs/protocol.md, W1 to W5).
#include "cluster_views.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

constexpr size_t kWitness = 2;
/// Milliseconds within which a witness hears of what is committed (W6).
constexpr int kTold = 1200;

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

void cut_power(Cluster& cluster, size_t index, Random& random) {
  cluster.kill(index, random, true);
  ++cluster.node(index).params.boot_id[0];
  cluster.start(index);
}

CommandReply begin_restart(Cluster& cluster, const std::string& volume, const Election& election,
                           const Stamp& old_stamp) {
  nlohmann::json arguments = nlohmann::json::parse(begin_view_arguments(volume, election, old_stamp));
  arguments["restart"] = true;
  return command_at(cluster, election.candidate, "begin-view", arguments.dump());
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
  cluster.run(kTold);
  check_equal(cluster, volume);
  CHECK(replica_of(cluster, kWitness, volume)["witness"] == true);
  CHECK(replica_of(cluster, 1, volume)["witness"] == false);
  CHECK(stats_of(cluster, 0)["liveBytes"].get<uint64_t>() >= 40 * kBlockBytes);
  CHECK(stats_of(cluster, kWitness)["liveBytes"] == 0);
  for (const bool from_checkpoint : {false, true}) {
    if (from_checkpoint) command_at(cluster, kWitness, "checkpoint", "{}");
    restart(cluster, kWitness, random);
    CHECK(cluster.connect(0, kWitness, volume));
    cluster.run(kTold);
    check_equal(cluster, volume);
    CHECK(can_write(cluster, 0, volume, 50));
    cluster.run(kTold);
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
  cluster.run(kTold);
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

TEST_CASE(
    "witness: W5 and W6, the only data member loses what it had not synced, and leads the witness back") {
  for (const bool killed : {false, true}) {
    Random random(6);
    Cluster cluster(3, views_params());
    const std::string volume = volume_with_witness(cluster);
    CHECK(can_write(cluster, 0, volume, 1));
    cluster.kill(1, random);
    elect(cluster, volume, 0, 2, {kWitness}, {}, without(1));
    // Acknowledged, for it is of mode quorum, and on no disk; with headers behind it that say so, and that is sent too.
    for (uint64_t seed = 2; seed < 6; ++seed) CHECK(can_write(cluster, 0, volume, seed));
    cluster.run(150);
    cut_power(cluster, 0, random);
    if (killed) restart(cluster, kWitness, random);
    const nlohmann::json own = must_promise(cluster, 0, volume, epoch_of(3, 0));
    const nlohmann::json told = must_promise(cluster, kWitness, volume, epoch_of(3, 0));
    CHECK(own["recovering"] == true);
    REQUIRE(is_more_advanced(told["head"], own["head"]));
    CHECK(told["committedLsn"] <= own["head"]["lsn"]);
    const Election election{0, 3, own["head"], own["views"].back()["payload"]};
    REQUIRE(ask_lead(cluster, volume, election).error_code.empty());
    CHECK(cluster.connect(0, kWitness, volume));
    cluster.run(50);
    const CommandReply view = begin_restart(cluster, volume, election, stamp_of(2));
    INFO(view.error_code << " " << view.message);
    REQUIRE(view.error_code.empty());
    cluster.run(150);
    CHECK(count_events(cluster, 0, "leading") == 1);
    CHECK(can_write(cluster, 0, volume, 7));
    cluster.run(kTold);
    CHECK(head_of(cluster, kWitness, volume) == head_of(cluster, 0, volume));
    CHECK(holds(cluster, 0, volume, 1, 1));
    check_audits(cluster);
  }
}

TEST_CASE(
    "witness: W4, a data member that knows what a restart left off is gone on without, and brought back") {
  Random random(6);
  Cluster cluster(3, views_params());
  const std::string volume = volume_with_witness(cluster);
  const uint64_t target = cluster.node(0).open(volume).handle;
  // On all disks, and no other host knows it to be committed after a power cut.
  CHECK(can_write(cluster, 0, volume, 1));
  const uint64_t flush = cluster.node(0).submit(Driver::range_op(ClientOp::Kind::flush, target, 0, 0));
  cluster.run(50);
  CHECK(cluster.node(0).reply_to(flush)->error == 0);
  for (uint64_t seed = 2; seed < 4; ++seed) CHECK(can_write(cluster, 0, volume, seed));
  cluster.run(150);
  cluster.kill(0, random);
  cut_power(cluster, 1, random);
  cut_power(cluster, kWitness, random);
  const Election election = stand(cluster, volume, 1, 2, {kWitness});
  // The restart's view takes the place of an update that the other data member knows to be committed.
  REQUIRE(election.head["lsn"] == 2);
  REQUIRE(ask_lead(cluster, volume, election).error_code.empty());
  CHECK(cluster.connect(1, kWitness, volume));
  cluster.run(50);
  REQUIRE(begin_restart(cluster, volume, election, stamp_of(1)).error_code.empty());
  cluster.start(0);
  CHECK(cluster.connect(1, 0, volume));
  cluster.run(200);
  // W1: that write is not counted without the other data member, which takes nothing before the restart is committed.
  CHECK(count_events(cluster, 1, "leading") == 0);
  const auto state_of = [&](size_t index) {
    // It does not know yet that the volume's creation is committed, so the volume is listed with `all` alone.
    const CommandReply reply = command_at(cluster, 1, "volumes", R"({"all":true})");
    const nlohmann::json leader = nlohmann::json::parse(reply.result)[0];
    for (const nlohmann::json& member : leader["members"])
      if (member["host"] == to_hex(host_of(index))) return member["state"].get<std::string>();
    return std::string();
  };
  CHECK(state_of(0) == "away");
  // It has the view that it made on disk, so it stands again with evidence, which a change of the set needs.
  CHECK(must_promise(cluster, 1, volume, epoch_of(3, 1))["recovering"] == false);
  CHECK(must_promise(cluster, kWitness, volume, epoch_of(3, 1))["recovering"] == false);
  elect(cluster, volume, 1, 4, {kWitness}, {}, without(0));
  CHECK(can_write(cluster, 1, volume, 7));
  CHECK(cluster.connect(1, 0, volume));
  cluster.run(300);
  CHECK(count_events(cluster, 0, "history-undone") == 1);
  elect(cluster, volume, 1, 5, {0, kWitness}, {}, again_with(0));
  CHECK(can_write(cluster, 1, volume, 8));
  cluster.run(200);
  check_content_equal(cluster, "disk", 2);
  check_audits(cluster);
}

TEST_CASE("witness: a view that it alone has is fetched of it, behind updates that the data member has too") {
  Random random(8);
  Cluster cluster(3, views_params());
  const std::string volume = volume_with_witness(cluster);
  CHECK(can_write(cluster, 0, volume, 1));
  cluster.kill(1, random);
  elect(cluster, volume, 0, 2, {kWitness}, {}, without(1));
  for (uint64_t seed = 2; seed < 5; ++seed) CHECK(can_write(cluster, 0, volume, seed));
  restart(cluster, 0, random);
  const Election first = stand(cluster, volume, 0, 3, {kWitness});
  REQUIRE(ask_lead(cluster, volume, first).error_code.empty());
  CHECK(cluster.connect(0, kWitness, volume));
  cluster.run(50);
  // The view's record leaves the host, and is not on its disk when that ends.
  const SimDisk disk = cluster.node(0).disk;
  REQUIRE(ask_begin_view(cluster, volume, first, stamp_of(2)).error_code.empty());
  cluster.run(20);
  cluster.kill(0, random);
  cluster.node(0).disk = disk;
  cluster.start(0);
  const nlohmann::json own = must_promise(cluster, 0, volume, epoch_of(4, 0));
  const nlohmann::json told = must_promise(cluster, kWitness, volume, epoch_of(4, 0));
  REQUIRE(told["head"]["lsn"] == own["head"]["lsn"].get<uint64_t>() + 1);
  // So it is sent an update that it has, without its block, before the view.
  REQUIRE(own["committedLsn"] < own["head"]["lsn"]);
  elect(cluster, volume, 0, 4, {kWitness});
  CHECK(cluster.refusal(kWitness) != "ERR_WITNESS");
  CHECK(can_write(cluster, 0, volume, 5));
  CHECK(holds(cluster, 0, volume, 4, 4));
  check_audits(cluster);
}

TEST_CASE("witness: W6, it hears of a commit when a data member has it on disk, without a flush too") {
  Cluster cluster(3, views_params());
  const std::string volume = volume_with_witness(cluster);
  CHECK(can_write(cluster, 0, volume, 1));
  cluster.run(150);
  const auto committed = [&](size_t index) { return replica_of(cluster, index, volume)["committedLsn"]; };
  CHECK(committed(1) == committed(0));
  CHECK(committed(kWitness) < committed(0));
  cluster.run(kTold);
  CHECK(committed(kWitness) == committed(0));
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
  cluster.run(kTold);
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
