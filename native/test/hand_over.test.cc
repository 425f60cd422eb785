// A volume passes from one core to the next, as their replicators have prepared it (docs/protocol.md, "Hand-over"): one story a test.
#include "cluster_views.h"

namespace cloudfs::test {

namespace {

Stamp pad_of(uint8_t seed) {
  Stamp pad;
  pad.fill(seed);
  return pad;
}

/// Node 1 is to lead in epoch 2.
CommandReply expect_hand(Cluster& cluster, const std::string& volume, const Stamp& pad) {
  const CommandReply told = ask_promise(cluster, 1, volume, epoch_of(2, 1), "would-promise");
  const nlohmann::json views = nlohmann::json::parse(told.result)["views"];
  ViewPayload view = *decode_view(*parse_hex(views.back()["payload"].get<std::string>()));
  view.primary = host_of(1);
  view.stamp_hash = stamp_hash(stamp_of(2));
  return command_at(cluster, 1, "expect-hand",
                    nlohmann::json{{"volume", volume},
                                   {"epoch", epoch_of(2, 1)},
                                   {"stamp", to_hex(ByteSpan(stamp_of(2)))},
                                   {"payload", to_hex(ByteSpan(encode_view(view)))},
                                   {"pad", to_hex(ByteSpan(pad))}}
                        .dump());
}

std::string resign_arguments(const std::string& volume, const Stamp& pad) {
  return nlohmann::json{{"volume", volume}, {"next", epoch_of(2, 1)}, {"pad", to_hex(ByteSpan(pad))}}.dump();
}

nlohmann::json promised(Cluster& cluster, size_t index, const std::string& volume) {
  const CommandReply told = ask_promise(cluster, index, volume, epoch_of(1, 0), "would-promise");
  return nlohmann::json::parse(told.result)["promised"];
}

/// Why a core did not carry it out.
std::string refusal_of(Cluster& cluster, size_t index) {
  std::string why;
  for (const Event& event : cluster.node(index).events)
    if (event.name == "hand-refused") why = field(event.detail, "why");
  return why;
}

/// One turn of all, what they said, and disks that do nothing.
void turn_without_disks(Cluster& cluster) {
  cluster.turn();
  cluster.deliver(SIZE_MAX);
}

}  // namespace

TEST_CASE("hand-over: the next core leads as soon as the primary's says so, and nobody else is asked") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  CHECK(expect_hand(cluster, volume, pad_of(9)).error_code.empty());
  const CommandReply reply = command_at(cluster, 0, "resign", resign_arguments(volume, pad_of(9)));
  REQUIRE(reply.error_code.empty());
  CHECK(nlohmann::json::parse(reply.result)["promise"]["promised"] == epoch_of(2, 1));
  CHECK(try_write(cluster, 0, disk.handle, 1, 2) == kUnanswered);
  // It waits for one more, who by following says that its promise is on disk.
  cluster.run(50);
  CHECK(count_events(cluster, 1, "adopted") == 1);
  CHECK(count_events(cluster, 1, "leading") == 0);
  CHECK(cluster.connect(1, 0, volume));
  cluster.run(50);
  CHECK(count_events(cluster, 1, "leading") == 1);
  CHECK(count_events(cluster, 1, "hand-taken") == 1);
  const Export next = cluster.node(1).open(volume);
  CHECK(try_write(cluster, 1, next.handle, 1, 2) == 0);
  CHECK(holds(cluster, 1, volume, 0, 1));
  CHECK(cluster.connect(1, 2, volume));
  cluster.run(200);
  check_equal(cluster, volume);
  // What its replicator asks for meanwhile finds that it is done.
  const Election late{1, 2, nlohmann::json::parse(reply.result)["head"], {}};
  CHECK(ask_lead(cluster, volume, late).error_code == "ERR_IS_PRIMARY");
}

TEST_CASE(
    "hand-over: the next core promises at the first word, and leads at the second, which comes from the "
    "disk") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  CHECK(expect_hand(cluster, volume, pad_of(9)).error_code.empty());
  cluster.node(0).core->command({77, "resign", resign_arguments(volume, pad_of(9)), {}});
  for (int turn = 0; turn < 6; ++turn) turn_without_disks(cluster);
  // The heir's disk is the faster one.
  for (int step = 0; step < 20; ++step) {
    while (cluster.node(1).disk.busy()) cluster.node(1).core->complete(cluster.node(1).disk.complete(0));
    turn_without_disks(cluster);
  }
  CHECK(count_events(cluster, 1, "adopted") == 0);
  Random random(3);
  SUBCASE("the primary loses its power before: nobody was elected, and somebody is") {
    cluster.kill(0, random, true);
    cluster.run(50);
    CHECK(count_events(cluster, 1, "adopted") == 0);
    elect(cluster, volume, 1, 3, {2}, epoch_of(1, 0));
  }
  SUBCASE("it does not come: the core waits no longer than it said") {
    for (int turn = 0; turn < 6000; ++turn) turn_without_disks(cluster);
    cluster.run(50);
    CHECK(count_events(cluster, 1, "adopted") == 0);
  }
  SUBCASE("it comes") {
    cluster.run(50);
    CHECK(count_events(cluster, 1, "adopted") == 1);
    CHECK(cluster.connect(1, 0, volume));
    cluster.run(50);
    CHECK(count_events(cluster, 1, "leading") == 1);
  }
}

TEST_CASE("hand-over: a core that was told otherwise does nothing, and its replicator does it") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  bool is_promised = false;
  std::string why;
  size_t teller = 1;
  SUBCASE("nothing at all") {
    why = "nothing is expected of it";
  }
  SUBCASE("another pad") {
    why = "the stamp is hidden by another pad";
    CHECK(expect_hand(cluster, volume, pad_of(8)).error_code.empty());
  }
  SUBCASE("long ago") {
    why = "nothing is expected of it";
    CHECK(expect_hand(cluster, volume, pad_of(9)).error_code.empty());
    cluster.run(6000);
  }
  SUBCASE("it has promised a later epoch since") {
    CHECK(expect_hand(cluster, volume, pad_of(9)).error_code.empty());
    cluster.cut(2);
    must_promise(cluster, 1, volume, epoch_of(2, 2), epoch_of(1, 0));
    is_promised = true;
    why = "that host does not follow";
    teller = 0;
  }
  const CommandReply reply = command_at(cluster, 0, "resign", resign_arguments(volume, pad_of(9)));
  cluster.run(50);
  CHECK(count_events(cluster, 1, "adopted") == 0);
  CHECK(refusal_of(cluster, teller) == why);
  CHECK(promised(cluster, 1, volume) == (is_promised ? epoch_of(2, 2) : epoch_of(1, 0)));
  if (reply.error_code.empty()) elect(cluster, volume, 1, 3, {0}, epoch_of(1, 0));
}

TEST_CASE("hand-over: of five members two are no majority, so their replicators ask the others") {
  Cluster cluster(5, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum, 5);
  CHECK(expect_hand(cluster, volume, pad_of(9)).error_code.empty());
  REQUIRE(command_at(cluster, 0, "resign", resign_arguments(volume, pad_of(9))).error_code.empty());
  cluster.run(50);
  CHECK(refusal_of(cluster, 0) == "two are no majority");
  CHECK(promised(cluster, 1, volume) == epoch_of(1, 0));
  elect(cluster, volume, 1, 2, {0, 2}, epoch_of(1, 0));
}

TEST_CASE("hand-over: who is to lead is no primary, has promised nothing later, and has a view to lead by") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  must_promise(cluster, 1, volume, epoch_of(2, 2), epoch_of(1, 0));
  CHECK(expect_hand(cluster, volume, pad_of(9)).error_code.empty() == (host_of(1) > host_of(2)));
  must_promise(cluster, 1, volume, epoch_of(3, 2), epoch_of(1, 0));
  CHECK(expect_hand(cluster, volume, pad_of(9)).error_code == "ERR_EPOCH_STALE");
}

}  // namespace cloudfs::test
