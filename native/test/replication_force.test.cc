// A volume whose majority is lost for good goes on with what one member has (docs/protocol.md, Force).
#include "cluster_views.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

ViewMember member(size_t index, MemberRole role) {
  return {host_of(index), store_of(index), role, {}};
}

CommandReply ask_force_promise(Cluster& cluster, size_t index, const std::string& volume, uint64_t counter) {
  return command_at(
      cluster, index, "promise",
      nlohmann::json{{"volume", volume}, {"epoch", epoch_of(counter, index)}, {"force", true}}.dump());
}

CommandReply ask_forced_view(Cluster& cluster, const std::string& volume, const Election& election,
                             const std::vector<ViewMember>& members) {
  ViewPayload view = *decode_view(*parse_hex(election.view));
  view.members = members;
  view.primary = host_of(election.candidate);
  view.stamp_hash = stamp_hash(stamp_of(election.counter));
  view.old_stamp.reset();
  return command_at(cluster, election.candidate, "begin-view",
                    nlohmann::json{{"volume", volume},
                                   {"epoch", epoch_of(election.counter, election.candidate)},
                                   {"force", true},
                                   {"payload", to_hex(ByteSpan(encode_view(view)))}}
                        .dump());
}

/// As far as the record of the new view.
Election stand_alone(Cluster& cluster, size_t index, const std::string& volume, uint64_t counter) {
  const CommandReply promised = ask_force_promise(cluster, index, volume, counter);
  INFO(promised.error_code << " " << promised.message);
  REQUIRE(promised.error_code.empty());
  const nlohmann::json told = nlohmann::json::parse(promised.result);
  const Election election{index, counter, told["head"], told["views"].back()["payload"]};
  REQUIRE(ask_lead(cluster, volume, election).error_code.empty());
  cluster.run(20);
  return election;
}

void force(Cluster& cluster, size_t index, const std::string& volume, uint64_t counter) {
  const Election election = stand_alone(cluster, index, volume, counter);
  const CommandReply reply = ask_forced_view(cluster, volume, election, {member(index, MemberRole::data)});
  INFO(reply.error_code << " " << reply.message);
  REQUIRE(reply.error_code.empty());
  cluster.run(50);
  CHECK(count_events(cluster, index, "leading") >= 1);
}

/// Hosts 0 and 1 are gone; the leases that host 2 has granted are over.
std::string volume_of_the_last(Cluster& cluster, Mode mode = Mode::quorum) {
  const std::string volume = create_volume(cluster, mode);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  cluster.run(500);
  Random random(5);
  cluster.kill(0, random);
  cluster.kill(1, random);
  cluster.run(1000);
  return volume;
}

}  // namespace

TEST_CASE("force: what one of three has goes on, without the stamp of the view before") {
  Cluster cluster(3, views_params());
  const std::string volume = volume_of_the_last(cluster);
  force(cluster, 2, volume, 2);
  CHECK(holds(cluster, 2, volume, 0, 1));
  const Export disk = cluster.node(2).open(volume);
  CHECK(try_write(cluster, 2, disk.handle, 1, 2) == 0);
  // And after a crash.
  Random random(6);
  cluster.kill(2, random);
  cluster.start(2);
  elect(cluster, volume, 2, 3, {});
  CHECK(holds(cluster, 2, volume, 0, 1));
  CHECK(holds(cluster, 2, volume, 1, 2));
  const Export again = cluster.node(2).open(volume);
  CHECK(try_write(cluster, 2, again.handle, 2, 3) == 0);
}

TEST_CASE("force: others learn from it, and vote") {
  Cluster cluster(4, views_params());
  const std::string volume = volume_of_the_last(cluster);
  force(cluster, 2, volume, 2);
  const Export disk = cluster.node(2).open(volume);
  CHECK(try_write(cluster, 2, disk.handle, 1, 2) == 0);
  const nlohmann::json resigned = must_resign(cluster, 2, volume);
  elect(cluster, volume, 2, 3, {}, resigned,
        [](std::vector<ViewMember>& members) { members.push_back(member(3, MemberRole::learner)); });
  CHECK(cluster.connect(2, 3, volume));
  cluster.run(200);
  elect(cluster, volume, 2, 4, {3}, must_resign(cluster, 2, volume),
        [](std::vector<ViewMember>& members) { members.back().role = MemberRole::data; });
  // The chain holds over the view that was forced: it reads it from the log.
  CHECK(holds(cluster, 3, volume, 0, 1));
  CHECK(holds(cluster, 3, volume, 1, 2));
  elect(cluster, volume, 3, 5, {2}, must_resign(cluster, 2, volume));
  const Export moved = cluster.node(3).open(volume);
  CHECK(try_write(cluster, 3, moved.handle, 2, 3) == 0);
}

TEST_CASE("force: nobody forces what is led, and nobody but a member with data, for itself alone") {
  Cluster cluster(4, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  CHECK(ask_force_promise(cluster, 2, volume, 2).error_code == "ERR_LEASE_RUNS");
  Random random(5);
  cluster.kill(0, random);
  cluster.kill(1, random);
  cluster.run(1000);
  const Election election = stand_alone(cluster, 2, volume, 2);
  CHECK(ask_forced_view(cluster, volume, election, {member(2, MemberRole::data), member(3, MemberRole::data)})
            .error_code == "ERR_SET_CHANGE");
  CHECK(ask_forced_view(cluster, volume, election, {member(2, MemberRole::learner)}).error_code ==
        "ERR_PAYLOAD_INVALID");
  CHECK(ask_forced_view(cluster, volume, election, {member(2, MemberRole::data)}).error_code.empty());
}

TEST_CASE("force: in mode local too, where no other stands for its primary") {
  Cluster cluster(3, views_params());
  const std::string volume = volume_of_the_last(cluster, Mode::local);
  CHECK(ask_promise(cluster, 2, volume, epoch_of(2, 2)).error_code == "ERR_LOCAL_PRIMARY");
  force(cluster, 2, volume, 2);
  CHECK(holds(cluster, 2, volume, 0, 1));
}
