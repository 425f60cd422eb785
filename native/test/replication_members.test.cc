// The set of a volume's members changes while it is written (docs/protocol.md, M1).
#include "cluster_views.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

ViewMember member(size_t index, MemberRole role) {
  return {host_of(index), store_of(index), role, {}};
}

Change adds(size_t index, MemberRole role) {
  return [=](std::vector<ViewMember>& members) { members.push_back(member(index, role)); };
}

Change removes(size_t index) {
  return [=](std::vector<ViewMember>& members) {
    std::erase_if(members, [&](const ViewMember& one) { return one.host == host_of(index); });
  };
}

/// A learner votes from now on, in another's place.
Change swaps(size_t leaves, size_t joins) {
  return [=](std::vector<ViewMember>& members) {
    removes(leaves)(members);
    removes(joins)(members);
    adds(joins, MemberRole::data)(members);
  };
}

/// Hosts 0 to 2 are the members, 3 learns and has everything.
std::string volume_with_learner(Cluster& cluster) {
  const std::string volume = create_volume(cluster, Mode::quorum);
  elect(cluster, volume, 0, 2, {1, 2}, {}, adds(3, MemberRole::learner));
  CHECK(cluster.connect(0, 3, volume));
  cluster.run(100);
  return volume;
}

bool can_write(Cluster& cluster, size_t index, const std::string& volume, uint64_t seed) {
  return try_write(cluster, index, cluster.node(index).open(volume).handle, seed, seed) == 0;
}

/// Host 0 changes the set, 3 in the place of 2: of the old set it alone is left, of the new one it and the newcomer.
std::string volume_being_changed(Cluster& cluster) {
  const std::string volume = volume_with_learner(cluster);
  CHECK(can_write(cluster, 0, volume, 1));
  begin_elected(cluster, volume, 0, 3, {1, 2, 3}, swaps(2, 3));
  cluster.cut(1);
  cluster.cut(2);
  return volume;
}

size_t views_in_force(Cluster& cluster, size_t index, const std::string& volume) {
  const CommandReply reply = ask_promise(cluster, index, volume, epoch_of(0, index), "would-promise");
  return nlohmann::json::parse(reply.result)["views"].size();
}

}  // namespace

TEST_CASE("members: a learner gets everything and counts for nothing") {
  Cluster cluster(4, views_params());
  const std::string volume = volume_with_learner(cluster);
  CHECK(can_write(cluster, 0, volume, 1));
  cluster.run(200);
  CHECK(holds(cluster, 3, volume, 1, 1));
  cluster.cut(1);
  CHECK(can_write(cluster, 0, volume, 2));
  cluster.cut(2);
  CHECK_FALSE(can_write(cluster, 0, volume, 3));
  CHECK(cluster.connect(0, 1, volume));
  cluster.run(100);
  CHECK(can_write(cluster, 0, volume, 4));
  check_audits(cluster);
}

TEST_CASE(
    "members: until a change of the set is committed, both sets have to agree; then the new one alone") {
  Cluster cluster(4, views_params());
  const std::string volume = volume_being_changed(cluster);
  cluster.run(100);
  CHECK(count_events(cluster, 0, "leading") == 1);
  CHECK(views_in_force(cluster, 0, volume) == 2);
  CHECK(cluster.connect(0, 2, volume));
  cluster.run(300);
  CHECK(count_events(cluster, 0, "leading") == 2);
  CHECK(views_in_force(cluster, 0, volume) == 1);
  // It hears that it is out, and is not needed any more; who does not know hears of it.
  CHECK(views_in_force(cluster, 2, volume) == 1);
  cluster.cut(2);
  CHECK(can_write(cluster, 0, volume, 2));
  cluster.run(200);
  CHECK(holds(cluster, 3, volume, 2, 2));
  // Nor can it help the primary to a majority.
  cluster.cut(3);
  cluster.connect(0, 2, volume);
  cluster.run(100);
  CHECK_FALSE(can_write(cluster, 0, volume, 3));
  check_audits(cluster);
}

TEST_CASE("members: who was left out tells those that do not know it, and they go on without it") {
  Cluster cluster(4, views_params());
  const std::string volume = volume_being_changed(cluster);
  // 3 has the view's record. That it is committed the primary tells 2 alone, and is lost.
  cluster.run(50);
  cluster.cut(3);
  CHECK(cluster.connect(0, 2, volume));
  cluster.run(150);
  Random random(11);
  cluster.kill(0, random);
  REQUIRE(views_in_force(cluster, 3, volume) == 2);
  REQUIRE(views_in_force(cluster, 2, volume) == 1);
  const nlohmann::json told = must_promise(cluster, 2, volume, epoch_of(4, 3));
  const Lsn known = told["views"][0]["lsn"].get<Lsn>();
  CHECK(told["committedLsn"].get<Lsn>() >= known);
  // What it is for: it can lead in no set, and gives no slice.
  CHECK(
      command_at(cluster, 2, "slice-check",
                 nlohmann::json{{"volume", volume}, {"epoch", epoch_of(4, 3)}, {"head", told["head"]}}.dump())
          .error_code == "ERR_NOT_MEMBER");
  const Election election = stand(cluster, volume, 3, 4, {1});
  REQUIRE(ask_lead(cluster, volume, election, known).error_code.empty());
  // And it need not follow.
  CHECK(cluster.connect(3, 1, volume));
  cluster.run(50);
  CHECK(views_in_force(cluster, 3, volume) == 1);
  REQUIRE(ask_begin_view(cluster, volume, election, stamp_of(3)).error_code.empty());
  cluster.run(150);
  CHECK(count_events(cluster, 3, "leading") == 1);
  CHECK(can_write(cluster, 3, volume, 2));
  cluster.run(150);
  CHECK(holds(cluster, 1, volume, 1, 1));
  CHECK(holds(cluster, 1, volume, 2, 2));
  CHECK(views_in_force(cluster, 1, volume) == 1);
  check_audits(cluster);
}

TEST_CASE(
    "members: what others know to be committed is known of the head adopted, not of what was here before") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  elect(cluster, volume, 0, 2, {1, 2});
  cluster.cut(1);
  cluster.cut(2);
  // Records that nobody else has.
  for (uint64_t block = 1; block < 5; ++block) CHECK_FALSE(can_write(cluster, 0, volume, block));
  Random random(12);
  cluster.kill(0, random);
  elect(cluster, volume, 1, 3, {2});
  for (uint64_t block = 5; block < 8; ++block) CHECK(can_write(cluster, 1, volume, block));
  cluster.start(0);
  cluster.run(20);
  cluster.kill(1, random);
  const Election election = stand(cluster, volume, 0, 4, {2});
  REQUIRE(ask_lead(cluster, volume, election, election.head["lsn"].get<Lsn>() + 100).error_code.empty());
  cluster.run(50);
  CHECK(cluster.connect(0, 2, volume));
  cluster.run(50);
  REQUIRE(ask_begin_view(cluster, volume, election, stamp_of(3)).error_code.empty());
  cluster.run(150);
  CHECK(can_write(cluster, 0, volume, 9));
  CHECK_FALSE(holds(cluster, 0, volume, 4, 4));
  CHECK(holds(cluster, 0, volume, 7, 7));
  check_audits(cluster);
}

TEST_CASE("members: a lease needs majorities of both sets") {
  Cluster cluster(4, views_params());
  const std::string volume = volume_with_learner(cluster);
  begin_elected(cluster, volume, 0, 3, {1, 2, 3}, swaps(2, 3));
  cluster.run(300);
  CHECK(count_events(cluster, 0, "leading") == 2);
  cluster.cut(1);
  cluster.run(1'000);
  // 3 is a majority with this host, and the one that left does not matter.
  CHECK(can_write(cluster, 0, volume, 2));
  cluster.cut(3);
  cluster.run(1'000);
  CHECK_FALSE(can_write(cluster, 0, volume, 3));
}

TEST_CASE("members: who joins is a learner that has everything, and one change is made at a time") {
  Cluster cluster(5, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const auto refused = [&](uint64_t counter, const std::vector<size_t>& voters, const Change& change) {
    const Election election = stand(cluster, volume, 0, counter, voters);
    const Stamp before = stamp_of(election.head["epoch"]["counter"].get<uint64_t>());
    REQUIRE(ask_lead(cluster, volume, election).error_code.empty());
    for (const size_t voter : voters) CHECK(cluster.connect(0, voter, volume));
    cluster.run(50);
    const std::string code = ask_begin_view(cluster, volume, election, before, change).error_code;
    CHECK(ask_begin_view(cluster, volume, election, before).error_code.empty());
    cluster.run(150);
    return code;
  };
  CHECK(refused(2, {1, 2}, adds(3, MemberRole::data)) == "ERR_SET_CHANGE");
  elect(cluster, volume, 0, 3, {1, 2}, {}, adds(3, MemberRole::learner));
  // It never came.
  CHECK(refused(4, {1, 2}, swaps(2, 3)) == "ERR_SET_CHANGE");
  CHECK(cluster.connect(0, 3, volume));
  cluster.run(100);
  begin_elected(cluster, volume, 0, 5, {1, 2, 3}, swaps(2, 3));
  cluster.cut(1);
  cluster.cut(2);
  cluster.run(50);
  // The change before is not known to be committed.
  CHECK(refused(6, {1, 3}, removes(1)) == "ERR_SET_CHANGE");
  CHECK(count_events(cluster, 0, "leading") == 4);
}

TEST_CASE(
    "members: the next primary of a change that was cut short is judged by both sets, and completes it") {
  Cluster cluster(4, views_params());
  const std::string volume = volume_with_learner(cluster);
  CHECK(can_write(cluster, 0, volume, 1));
  begin_elected(cluster, volume, 0, 3, {1, 2, 3}, swaps(2, 3));
  cluster.cut(1);
  cluster.cut(2);
  cluster.run(50);  // 3 alone got the record
  Random random(5);
  cluster.kill(0, random);
  CHECK(views_in_force(cluster, 3, volume) == 2);
  CHECK(views_in_force(cluster, 1, volume) == 1);
  // 3 has the most advanced head.
  elect(cluster, volume, 3, 4, {1, 2});
  CHECK(can_write(cluster, 3, volume, 2));
  CHECK(holds(cluster, 3, volume, 1, 1));
  CHECK(views_in_force(cluster, 3, volume) == 1);
  cluster.start(0);
  CHECK(cluster.connect(3, 0, volume));
  cluster.run(200);
  check_equal(cluster, volume);
  check_audits(cluster);
}

TEST_CASE("members: a restart does not forget a set that has a say still") {
  Cluster cluster(4, views_params());
  const std::string volume = volume_with_learner(cluster);
  begin_elected(cluster, volume, 0, 3, {1, 2, 3}, swaps(2, 3));
  cluster.cut(1);
  cluster.cut(2);
  cluster.run(100);
  Random random(6);
  cluster.kill(3, random);
  cluster.start(3);
  cluster.run(20);
  CHECK(views_in_force(cluster, 3, volume) == 2);
}

TEST_CASE(
    "members: a primary that was alone at first does not go on by itself when it is not alone any more") {
  Cluster cluster(2, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum, 1);
  elect(cluster, volume, 0, 2, {}, {}, adds(1, MemberRole::learner));
  CHECK(cluster.connect(0, 1, volume));
  cluster.run(100);
  elect(cluster, volume, 0, 3, {1}, {},
        [](std::vector<ViewMember>& members) { members[1].role = MemberRole::data; });
  Random random(8);
  cluster.kill(0, random);
  cluster.start(0);
  cluster.run(50);
  CHECK_FALSE(cluster.node(0).core->open_export(volume).has_value());
  elect(cluster, volume, 1, 4, {0});
  CHECK(can_write(cluster, 1, volume, 1));
}

TEST_CASE("members: a volume of one copy gets more, and goes back to one") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum, 1);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  elect(cluster, volume, 0, 2, {}, {}, adds(1, MemberRole::learner));
  CHECK(cluster.connect(0, 1, volume));
  cluster.run(100);
  elect(cluster, volume, 0, 3, {1}, {},
        [](std::vector<ViewMember>& members) { members[1].role = MemberRole::data; });
  CHECK(can_write(cluster, 0, volume, 2));
  cluster.cut(1);
  CHECK_FALSE(can_write(cluster, 0, volume, 3));
  CHECK(cluster.connect(0, 1, volume));
  cluster.run(100);
  elect(cluster, volume, 1, 4, {0}, must_resign(cluster, 0, volume), removes(0));
  cluster.cut(0);
  CHECK(can_write(cluster, 1, volume, 4));
  CHECK(holds(cluster, 1, volume, 0, 1));
  Random random(7);
  cluster.kill(1, random);
  cluster.start(1);
  elect(cluster, volume, 1, 5, {});
  CHECK(can_write(cluster, 1, volume, 5));
  check_audits(cluster);
}

TEST_CASE("members: a store that left and dropped its replica may join again, and gets everything anew") {
  Cluster cluster(4, views_params());
  const std::string volume = volume_with_learner(cluster);
  CHECK(can_write(cluster, 0, volume, 1));
  const auto left = [&](size_t index) {
    return command_at(cluster, index, "drop", nlohmann::json{{"volume", volume}, {"left", true}}.dump())
        .error_code;
  };
  cluster.cut(3);
  cluster.run(20);
  // Who learns and who votes keep what they have, connected or not.
  CHECK(left(3) == "ERR_IS_MEMBER");
  CHECK(left(2) == "ERR_IS_MEMBER");
  CHECK(cluster.connect(0, 3, volume));
  cluster.run(100);
  elect(cluster, volume, 0, 3, {1, 2, 3}, {}, swaps(2, 3));
  cluster.run(200);
  cluster.cut(2);
  cluster.run(20);
  CHECK(left(2).empty());
  CHECK(ask_promise(cluster, 2, volume, epoch_of(9, 2)).error_code == "ERR_UNKNOWN_VOLUME");
  CHECK(can_write(cluster, 0, volume, 2));
  elect(cluster, volume, 0, 4, {1, 3}, {}, adds(2, MemberRole::learner));
  SUBCASE("at once") {}
  SUBCASE("after a start") {
    Random random(9);
    cluster.kill(2, random);
    cluster.start(2);
    cluster.run(20);
    CHECK(ask_promise(cluster, 2, volume, epoch_of(9, 2)).error_code == "ERR_UNKNOWN_VOLUME");
  }
  SUBCASE("after a checkpoint and a start") {
    CHECK(command_at(cluster, 2, "checkpoint", "{}").error_code.empty());
    Random random(9);
    cluster.kill(2, random);
    cluster.start(2);
    cluster.run(20);
  }
  CHECK(cluster.connect(0, 2, volume));
  cluster.run(500);
  CHECK(holds(cluster, 2, volume, 1, 1));
  CHECK(holds(cluster, 2, volume, 2, 2));
  elect(cluster, volume, 0, 5, {1, 2, 3}, {}, swaps(1, 2));
  CHECK(can_write(cluster, 0, volume, 3));
  // And it is a member like any other: another start changes nothing.
  Random random(10);
  cluster.kill(2, random);
  cluster.start(2);
  cluster.run(20);
  CHECK(cluster.connect(0, 2, volume));
  cluster.run(300);
  check_equal(cluster, volume);
  cluster.cut(3);
  CHECK(can_write(cluster, 0, volume, 4));
  check_audits(cluster);
}

TEST_CASE(
    "members: a store that never heard that it was left out drops its replica once it is told in which "
    "view") {
  Cluster cluster(4, views_params());
  const std::string volume = volume_with_learner(cluster);
  CHECK(can_write(cluster, 0, volume, 1));
  cluster.cut(2);
  elect(cluster, volume, 0, 3, {1, 3}, {}, swaps(2, 3));
  cluster.run(200);
  const auto left = [&](uint64_t counter) {
    const nlohmann::json arguments{{"volume", volume}, {"left", true}, {"epoch", epoch_of(counter, 0)}};
    return command_at(cluster, 2, "drop", arguments.dump()).error_code;
  };
  // The view that it knows is of epoch 2.
  CHECK(left(1) == "ERR_IS_MEMBER");
  // Whoever says so of a view that has it for a member is wrong.
  CHECK(left(2) == "ERR_IS_MEMBER");
  CHECK(left(3).empty());
  CHECK(can_write(cluster, 0, volume, 2));
  elect(cluster, volume, 0, 4, {1, 3}, {}, adds(2, MemberRole::learner));
  CHECK(cluster.connect(0, 2, volume));
  cluster.run(500);
  elect(cluster, volume, 0, 5, {1, 2, 3}, {}, swaps(1, 2));
  cluster.cut(3);
  CHECK(can_write(cluster, 0, volume, 3));
  CHECK(holds(cluster, 2, volume, 1, 1));
  CHECK(holds(cluster, 2, volume, 2, 2));
}
