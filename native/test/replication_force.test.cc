// A volume whose majority is lost for good goes on with what one member has (docs/protocol.md, Force).
#include "cluster_views.h"
#include "core/format/frame.h"

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

nlohmann::json promised_of(Cluster& cluster, size_t index, const std::string& volume) {
  const CommandReply reply = ask_promise(cluster, index, volume, epoch_of(0, index), "would-promise");
  return nlohmann::json::parse(reply.result)["promised"];
}

/// What host 2 says to the record of a view that host 0 sends it in epoch 9, behind its head, as if it had been elected.
std::string refusal_of(Cluster& cluster, const std::string& volume, uint8_t flags,
                       const std::vector<ViewMember>& members) {
  Core& core = *cluster.node(2).core;
  const VolumeId id = *parse_id<VolumeId>(volume);
  const CommandReply told = ask_promise(cluster, 2, volume, epoch_of(0, 2), "would-promise");
  const nlohmann::json standing = nlohmann::json::parse(told.result);
  const Epoch epoch{9, host_of(0)};
  HelloFrame hello;
  hello.volume = id;
  hello.host = host_of(0);
  hello.store = store_of(0);
  hello.has_volume = true;
  hello.head.lsn = standing["head"]["lsn"];
  hello.head.epoch = {1, host_of(0)};
  hello.head.version = *parse_id<VersionId>(standing["head"]["version"].get<std::string>());

  ViewPayload view = *decode_view(*parse_hex(standing["views"].back()["payload"].get<std::string>()));
  view.members = members;
  view.primary = host_of(0);
  view.old_stamp.reset();
  RunHeader header;
  header.volume = id;
  header.epoch = epoch;
  header.first_lsn = hello.head.lsn + 1;
  std::vector<uint8_t> room(4096);
  RunBuilder builder(room, header);
  builder.add_control(RecordKind::view, flags, Token{hello.head.version.bytes}, 0, encode_view(view));
  const ByteSpan run = builder.finish(hello.head.version);

  std::string refusal;
  const uint64_t stream = core.open_stream(StreamRole::follower, id, refusal);
  REQUIRE(stream != 0);
  const auto receive = [&](ByteSpan bytes) {
    const ReceiveWindow window = core.stream_receive_target(stream);
    REQUIRE(window.bytes >= bytes.size());
    std::copy(bytes.begin(), bytes.end(), window.data);
    core.stream_received(stream, bytes.size());
  };
  const BufferRef greeting = encode_hello(epoch, hello);
  const BufferRef frame = encode_runs(epoch, 0, 0, static_cast<uint32_t>(run.size()));
  receive({greeting.data(), greeting.size()});
  receive({frame.data(), frame.size()});
  receive(run);
  cluster.run(20);
  const std::string code = core.stream_refusal(stream).code;
  core.stream_closed(stream);
  return code;
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

TEST_CASE("force: who was a member is none for the host that went on, and promises it nothing") {
  Cluster cluster(3, views_params());
  const std::string volume = volume_of_the_last(cluster);
  force(cluster, 2, volume, 50);
  const std::string head = head_of(cluster, 2, volume);
  cluster.start(0);
  CHECK(cluster.connect(2, 0, volume));
  cluster.run(50);
  CHECK(cluster.refusal(0) == "ERR_NOT_MEMBER");
  CHECK(promised_of(cluster, 0, volume) == epoch_of(1, 0));
  CHECK(head_of(cluster, 2, volume) == head);
  // Those two are a majority of the set that they know.
  cluster.start(1);
  cluster.run(1000);
  elect(cluster, volume, 0, 2, {1});
}

TEST_CASE(
    "force: a member of the set before does not take it from a stream; it joins with nothing, and votes") {
  Cluster cluster(3, views_params());
  const std::string volume = volume_of_the_last(cluster);
  force(cluster, 2, volume, 2);
  const Export disk = cluster.node(2).open(volume);
  CHECK(try_write(cluster, 2, disk.handle, 1, 2) == 0);
  elect(cluster, volume, 2, 3, {}, must_resign(cluster, 2, volume),
        [](std::vector<ViewMember>& members) { members.push_back(member(0, MemberRole::learner)); });
  cluster.start(0);
  const std::string before = head_of(cluster, 0, volume);
  for (int again = 0; again < 2; ++again) {
    CHECK(cluster.connect(2, 0, volume));
    cluster.run(200);
    CHECK(cluster.refusal(0) == "ERR_VIEW_FORCED");
    CHECK(head_of(cluster, 0, volume) == before);
  }
  const nlohmann::json arguments{{"volume", volume}, {"left", true}, {"epoch", epoch_of(3, 2)}};
  CHECK(command_at(cluster, 0, "drop", arguments.dump()).error_code.empty());
  SUBCASE("at once") {}
  SUBCASE("after a start") {
    Random random(9);
    cluster.kill(0, random);
    cluster.start(0);
  }
  CHECK(cluster.connect(2, 0, volume));
  cluster.run(500);
  CHECK(holds(cluster, 0, volume, 0, 1));
  CHECK(holds(cluster, 0, volume, 1, 2));
  elect(cluster, volume, 2, 4, {0}, must_resign(cluster, 2, volume),
        [](std::vector<ViewMember>& members) { members.back().role = MemberRole::data; });
  elect(cluster, volume, 0, 5, {2}, must_resign(cluster, 2, volume));
  const Export moved = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, moved.handle, 2, 3) == 0);
  // Another start finds a replica like any other.
  Random random(10);
  cluster.kill(0, random);
  cluster.start(0);
  CHECK(holds(cluster, 0, volume, 1, 2));
  check_audits(cluster);
}

TEST_CASE("force: no host that says it was elected can leave a member out, or force for more than itself") {
  constexpr uint8_t kForced = kFlagRestart | kFlagForce;
  const std::vector<ViewMember> alone{member(0, MemberRole::data)};
  struct {
    const char* what;
    uint8_t flags;
    std::vector<ViewMember> members;
    const char* code;
  } const cases[] = {
      {"a member is left out", kForced, alone, "ERR_VIEW_FORCED"},
      {"force without restart", kFlagForce, alone, "ERR_RECORD_CORRUPT"},
      {"more than one member",
       kForced,
       {member(0, MemberRole::data), member(2, MemberRole::data)},
       "ERR_RECORD_CORRUPT"},
      {"another than its maker", kForced, {member(2, MemberRole::data)}, "ERR_RECORD_CORRUPT"},
      {"a witness", kForced, {member(0, MemberRole::witness)}, "ERR_RECORD_CORRUPT"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.what);
    Cluster cluster(3, views_params());
    const std::string volume = create_volume(cluster, Mode::quorum);
    const Export disk = cluster.node(0).open(volume);
    CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
    cluster.run(500);
    const std::string head = head_of(cluster, 2, volume);
    cluster.cut(2);
    CHECK(refusal_of(cluster, volume, one.flags, one.members) == one.code);
    CHECK(head_of(cluster, 2, volume) == head);
    CHECK(holds(cluster, 2, volume, 0, 1));
  }
}
