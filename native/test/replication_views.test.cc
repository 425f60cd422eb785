// Elections and views: one story a test, most of them what the trace of a rule in test/model/traces tells.
#include "cluster_views.h"

using namespace cloudfs;
using namespace cloudfs::test;

TEST_CASE("views: what was acknowledged is there after the primary is gone, and the new one goes on") {
  for (const Mode mode : {Mode::quorum, Mode::durable}) {
    Cluster cluster(3, views_params());
    const std::string volume = create_volume(cluster, mode);
    const Export disk = cluster.node(0).open(volume);
    for (uint64_t block = 0; block < 5; ++block) CHECK(try_write(cluster, 0, disk.handle, block, block) == 0);
    Random random(1);
    cluster.kill(0, random);
    elect(cluster, volume, 1, 2, {2});
    const Export next = cluster.node(1).open(volume);
    for (uint64_t block = 0; block < 5; ++block) CHECK(holds(cluster, 1, volume, block, block));
    CHECK(try_write(cluster, 1, next.handle, 5, 50) == 0);
    // The old one comes back as a follower, and may lead again.
    cluster.start(0);
    CHECK(cluster.connect(1, 0, volume));
    cluster.run(100);
    check_equal(cluster, volume);
    elect(cluster, volume, 0, 3, {1, 2}, must_resign(cluster, 1, volume));
    const Export again = cluster.node(0).open(volume);
    CHECK(try_write(cluster, 0, again.handle, 6, 60) == 0);
    cluster.run();
    check_equal(cluster, volume);
    check_content_equal(cluster, volume);
    check_audits(cluster);
  }
}

TEST_CASE("views: E1, a promise outlives a power cut, and no lower one is made") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  cluster.cut(1);
  must_promise(cluster, 1, volume, epoch_of(5, 2));
  Random random(2);
  cluster.kill(1, random, true);
  cluster.start(1);
  const CommandReply lower = ask_promise(cluster, 1, volume, epoch_of(4, 2));
  CHECK(lower.error_code == "ERR_EPOCH_STALE");
  CHECK(nlohmann::json::parse(lower.result)["promised"] == epoch_of(5, 2));
  // The same again, from whoever it was made to.
  CHECK(must_promise(cluster, 1, volume, epoch_of(5, 2))["promised"] == epoch_of(5, 2));
}

TEST_CASE("views: E1, a promise is not answered before it is synced") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  cluster.cut(1);
  cluster.run(600);  // no lease runs any more
  Driver& node = cluster.node(1);
  node.core->command(
      {77, "promise", nlohmann::json{{"volume", volume}, {"epoch", epoch_of(5, 2)}}.dump(), {}});
  const auto is_answered = [&] {
    return std::any_of(node.command_replies.begin(), node.command_replies.end(),
                       [](const CommandReply& reply) { return reply.id == 77; });
  };
  // One effect at a time: the append, then the sync.
  size_t effects = 0;
  for (int turn = 0; turn < 20 && !is_answered(); ++turn) {
    cluster.turn();
    if (!is_answered() && node.disk.busy()) {
      node.core->complete(node.disk.complete(0));
      ++effects;
    }
  }
  CHECK(is_answered());
  CHECK(effects >= 2);
}

TEST_CASE("views: a member that has nothing of the volume yet promises, and one that has takes it along") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum, 3, kVolumeBytes, 2);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  const nlohmann::json nothing =
      nlohmann::json::parse(ask_promise(cluster, 2, volume, epoch_of(1, 2), "would-promise").result);
  CHECK(nothing["would"] == true);
  CHECK(nothing["role"] == "follower");
  CHECK(nothing["head"]["lsn"] == 0);
  Random random(4);
  cluster.kill(0, random);
  elect(cluster, volume, 1, 2, {2});
  CHECK(holds(cluster, 1, volume, 0, 1));
  const Export next = cluster.node(1).open(volume);
  CHECK(try_write(cluster, 1, next.handle, 1, 2) == 0);
  cluster.start(0);
  CHECK(cluster.connect(1, 0, volume));
  cluster.run(100);
  check_equal(cluster, volume);
}

TEST_CASE(
    "views: E1, a promise for a volume of which nothing is here keeps earlier epochs out, after a power cut "
    "too") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum, 3, kVolumeBytes, 2);
  must_promise(cluster, 2, volume, epoch_of(5, 1));
  SUBCASE("as logged") {}
  SUBCASE("in a checkpoint") {
    CHECK(command_at(cluster, 2, "checkpoint", "{}").error_code.empty());
  }
  Random random(5);
  cluster.kill(2, random, true);
  cluster.start(2);
  CHECK(ask_promise(cluster, 2, volume, epoch_of(4, 1)).error_code == "ERR_EPOCH_STALE");
  CHECK(cluster.connect(0, 2, volume));
  cluster.run(50);
  CHECK(command_at(cluster, 2, "volumes", "{\"all\":true}").result == "[]");
  CHECK(count_events(cluster, 0, "epoch-refused") == 1);
}

TEST_CASE("views: asking what a replica would promise changes nothing") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const auto ask = [&](size_t index, uint64_t counter) {
    return nlohmann::json::parse(
        ask_promise(cluster, index, volume, epoch_of(counter, 2), "would-promise").result);
  };
  CHECK(ask(1, 7)["would"] == false);
  CHECK(ask(1, 7)["remainingMs"].get<int>() > 300);
  // Of a lease it tells whatever epoch is asked about.
  CHECK(ask(1, 0)["remainingMs"].get<int>() > 300);
  cluster.cut(1);
  cluster.run(600);
  CHECK(ask(1, 7)["would"] == true);
  CHECK(ask(1, 7)["promised"] == epoch_of(1, 0));
  CHECK(ask(1, 7)["role"] == "follower");
  CHECK(ask(0, 7)["role"] == "primary");
  CHECK(ask(1, 0)["would"] == false);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
}

TEST_CASE("views: `volumes` tells each replica's role, what it has promised, and whether anybody leads") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  cluster.run(200);
  const auto tells = [&](size_t index, const char* role, uint64_t counter, size_t host, bool led) {
    const nlohmann::json told = nlohmann::json::parse(command_at(cluster, index, "volumes", "{}").result)[0];
    CHECK(told["role"] == role);
    CHECK(told["promised"] == epoch_of(counter, host));
    CHECK(told["led"] == led);
  };
  tells(0, "primary", 1, 0, true);
  tells(1, "follower", 1, 0, true);
  Random random(3);
  cluster.kill(0, random);
  cluster.run(600);
  tells(1, "follower", 1, 0, false);
  const Election election = stand(cluster, volume, 1, 2, {2});
  CHECK(ask_lead(cluster, volume, election).error_code.empty());
  tells(1, "elected", 2, 1, false);
  tells(2, "follower", 2, 1, false);
}

TEST_CASE("views: E1, a primary that promises another epoch is none from that moment on") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  Driver& primary = cluster.node(0);
  const Export disk = primary.open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  // One write waits for its majority, and a read for its blocks.
  cluster.cut(1);
  cluster.cut(2);
  const uint64_t write =
      primary.submit(Driver::write_op(disk.handle, 2 * kBlockBytes, pattern(kBlockBytes, 2)));
  cluster.run(10);
  const uint64_t read = primary.submit(Driver::range_op(ClientOp::Kind::read, disk.handle, 0, kBlockBytes));
  must_promise(cluster, 0, volume, epoch_of(2, 1));
  // Neither carried out nor refused: nobody here can tell any more.
  CHECK(primary.reply_to(write)->error == kUnanswered);
  const auto answered = primary.reply_to(read);
  CHECK((answered->error == kUnanswered || answered->error == 0));
  CHECK(count_events(cluster, 0, "stepped-down") == 1);
  // Whoever had it open has to open it anew, elsewhere.
  CHECK(try_write(cluster, 0, disk.handle, 3, 3) == kUnanswered);
  CHECK_FALSE(primary.core->open_export(volume).has_value());
  elect(cluster, volume, 1, 3, {0, 2});
  cluster.run(100);
  check_equal(cluster, volume);
  check_audits(cluster);
}

TEST_CASE(
    "views: a change of a volume is refused where nobody leads, though one from before is not committed") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  cluster.run(50);
  cluster.cut(1);
  cluster.cut(2);
  const std::string snapshot = nlohmann::json{{"volume", volume}, {"name", "one"}}.dump();
  cluster.node(0).core->command({5000, "snapshot", snapshot, {}});
  cluster.run(50);
  must_promise(cluster, 0, volume, epoch_of(2, 1));
  CHECK(command_at(cluster, 0, "delete-snapshot", snapshot).error_code == "ERR_NOT_PRIMARY");
}

TEST_CASE("views: E1, a replica that has promised takes nothing of an earlier epoch") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  cluster.cut(1);
  cluster.cut(2);
  must_promise(cluster, 2, volume, epoch_of(2, 1));
  // Opening another stream brings the primary the news and nothing else.
  CHECK_FALSE(try_write(cluster, 0, disk.handle, 0, 1).has_value());
  CHECK(cluster.connect(0, 2, volume));
  cluster.run(50);
  CHECK(count_events(cluster, 0, "epoch-refused") >= 1);
  CHECK(cluster.wires() == 0);
  // The other one has promised nothing.
  CHECK(cluster.connect(0, 1, volume));
  cluster.run(150);
  CHECK(cluster.node(0).reply_to(cluster.node(0).next_request)->error == 0);
}

TEST_CASE("views: E3, who is elected adopts what it lacks, from whoever promised it") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  cluster.cut(1);
  for (uint64_t block = 0; block < 4; ++block) CHECK(try_write(cluster, 0, disk.handle, block, block) == 0);
  Random random(3);
  cluster.kill(0, random);
  elect(cluster, volume, 1, 2, {2});
  for (uint64_t block = 0; block < 4; ++block) CHECK(holds(cluster, 1, volume, block, block));
  check_audits(cluster);
}

TEST_CASE("views: E3, a tail that no majority had is dropped where the next view's records differ") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  cluster.run(200);  // all know it to be committed
  cluster.cut(1);
  cluster.cut(2);
  for (uint64_t block = 1; block < 4; ++block)
    CHECK_FALSE(try_write(cluster, 0, disk.handle, block, 90 + block).has_value());
  Random random(4);
  cluster.kill(0, random);
  elect(cluster, volume, 1, 2, {2});
  const Export next = cluster.node(1).open(volume);
  CHECK(try_write(cluster, 1, next.handle, 5, 5) == 0);
  cluster.start(0);
  CHECK(cluster.connect(1, 0, volume));
  cluster.run(100);
  check_equal(cluster, volume);
  check_content_equal(cluster, volume);
  CHECK_FALSE(holds(cluster, 0, volume, 1, 91));
  check_audits(cluster);
}

TEST_CASE(
    "views: a tail that was dropped is sent to nobody, though its host has started again from a checkpoint "
    "behind it") {
  Cluster cluster(5, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum, 5);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  cluster.run(200);  // all know it to be committed
  for (size_t index = 1; index < 5; ++index) cluster.cut(index);
  for (uint64_t block = 1; block < 4; ++block)
    CHECK_FALSE(try_write(cluster, 0, disk.handle, block, 90 + block).has_value());
  Random random(6);
  cluster.kill(0, random);
  elect(cluster, volume, 1, 2, {2, 3});
  const Export next = cluster.node(1).open(volume);
  CHECK(try_write(cluster, 1, next.handle, 5, 5) == 0);
  cluster.start(0);
  CHECK(cluster.connect(1, 0, volume));
  cluster.run(100);
  CHECK(command_at(cluster, 0, "checkpoint", "{}").error_code.empty());
  cluster.kill(0, random);
  cluster.kill(1, random);
  cluster.start(0);
  elect(cluster, volume, 0, 3, {2, 3});
  // It has heard of nothing since the first view.
  CHECK(cluster.connect(0, 4, volume));
  cluster.run(200);
  CHECK(head_of(cluster, 4, volume) == head_of(cluster, 0, volume));
  CHECK_FALSE(holds(cluster, 4, volume, 1, 91));
  CHECK(holds(cluster, 4, volume, 5, 5));
}

TEST_CASE("views: E3, a candidate drops its own tail for a head of a later epoch") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  cluster.cut(1);
  cluster.cut(2);
  for (uint64_t block = 1; block < 6; ++block)
    CHECK_FALSE(try_write(cluster, 0, disk.handle, block, 90 + block).has_value());
  Random random(5);
  cluster.kill(0, random);
  elect(cluster, volume, 1, 2, {2});
  const Export next = cluster.node(1).open(volume);
  CHECK(try_write(cluster, 1, next.handle, 7, 7) == 0);
  cluster.kill(1, random);
  // Longer, and of an epoch that is over: the other's head counts.
  cluster.start(0);
  elect(cluster, volume, 0, 3, {2});
  CHECK(holds(cluster, 0, volume, 7, 7));
  CHECK_FALSE(holds(cluster, 0, volume, 1, 91));
  cluster.start(1);
  CHECK(cluster.connect(0, 1, volume));
  cluster.run(100);
  check_equal(cluster, volume);
  check_content_equal(cluster, volume);
  check_audits(cluster);
}

TEST_CASE(
    "views: E4, no view is made before a majority holds the head, nor without the stamp of the last one") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  Random random(6);
  cluster.kill(0, random);
  const Election election = stand(cluster, volume, 1, 2, {2});
  const auto slice = [&](size_t index, const nlohmann::json& epoch, const nlohmann::json& head) {
    return command_at(cluster, index, "slice-check",
                      nlohmann::json{{"volume", volume}, {"epoch", epoch}, {"head", head}}.dump())
        .error_code;
  };
  CHECK(slice(2, epoch_of(2, 1), election.head).empty());
  CHECK(slice(2, epoch_of(2, 2), election.head) == "ERR_EPOCH_STALE");
  nlohmann::json other = election.head;
  other["version"] = std::string(40, 'a');
  CHECK(slice(2, epoch_of(2, 1), other) == "ERR_HEAD_NOT_HELD");
  REQUIRE(ask_lead(cluster, volume, election).error_code.empty());
  CHECK(ask_begin_view(cluster, volume, election, stamp_of(1)).error_code == "ERR_HEAD_NOT_HELD");
  CHECK(cluster.connect(1, 2, volume));
  cluster.run(50);
  CHECK(count_events(cluster, 1, "adopted") == 2);
  CHECK(ask_begin_view(cluster, volume, election, stamp_of(9)).error_code == "ERR_STAMP_MISMATCH");
  CHECK_FALSE(cluster.node(1).core->open_export(volume).has_value());
  CHECK(ask_begin_view(cluster, volume, election, stamp_of(1)).error_code.empty());
  cluster.run(50);
  CHECK(count_events(cluster, 1, "leading") == 1);
}

TEST_CASE("views: an epoch is led once, and by no later life of its host") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  Random random(7);
  cluster.kill(0, random);
  const Election election = stand(cluster, volume, 1, 2, {2});
  cluster.kill(1, random);
  cluster.start(1);
  // It promised itself that epoch, but what it did under it is forgotten.
  CHECK(ask_lead(cluster, volume, election).error_code == "ERR_EPOCH_STALE");
  elect(cluster, volume, 1, 3, {2});
  CHECK(ask_lead(cluster, volume, stand(cluster, volume, 1, 3, {})).error_code == "ERR_IS_PRIMARY");
}

TEST_CASE("views: E5, clients wait until the view's record is committed") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  cluster.run(200);  // all know it to be committed
  Random random(8);
  cluster.kill(0, random);
  const Election election = stand(cluster, volume, 1, 2, {2});
  REQUIRE(ask_lead(cluster, volume, election).error_code.empty());
  CHECK(cluster.connect(1, 2, volume));
  cluster.run(50);
  // The record of the view is made, and with this host alone.
  Driver& node = cluster.node(1);
  node.core->command({88, "begin-view", begin_view_arguments(volume, election, stamp_of(1)), {}});
  cluster.turn();
  cluster.cut(2);
  cluster.run(50);
  const Export next = node.open(volume);
  const uint64_t read = node.submit(Driver::range_op(ClientOp::Kind::read, next.handle, 0, kBlockBytes));
  CHECK_FALSE(try_write(cluster, 1, next.handle, 1, 2).has_value());
  CHECK_FALSE(node.reply_to(read).has_value());
  CHECK(count_events(cluster, 1, "leading") == 0);
  CHECK(cluster.connect(1, 2, volume));
  cluster.run(200);
  CHECK(count_events(cluster, 1, "leading") == 1);
  CHECK(node.reply_to(read)->error == 0);
  CHECK(node.reply_to(node.next_request)->error == 0);
}

TEST_CASE("views: a volume of one replica is led anew by its only member") {
  Cluster cluster(1, views_params());
  const std::string volume = create_volume(cluster, Mode::local, 1);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  elect(cluster, volume, 0, 2, {});
  const Export next = cluster.node(0).open(volume);
  CHECK(holds(cluster, 0, volume, 0, 1));
  CHECK(try_write(cluster, 0, next.handle, 1, 2) == 0);
  // A crash of the process loses nothing: it goes on by itself.
  Random random(9);
  cluster.kill(0, random);
  cluster.start(0);
  const Export after = cluster.node(0).open(volume);
  CHECK(holds(cluster, 0, volume, 1, 2));
  CHECK(try_write(cluster, 0, after.handle, 2, 3) == 0);
}

TEST_CASE("views: in mode local nobody stands but the primary") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::local);
  const Export disk = cluster.node(0).open(volume);
  Random random(3);
  // What it acknowledges alone nobody else has.
  cluster.cut(1);
  cluster.cut(2);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  cluster.kill(0, random);
  cluster.run(600);
  CHECK(ask_promise(cluster, 2, volume, epoch_of(2, 1)).error_code == "ERR_LOCAL_PRIMARY");
  CHECK(ask_promise(cluster, 1, volume, epoch_of(2, 1)).error_code == "ERR_LOCAL_PRIMARY");
  cluster.start(0);
  elect(cluster, volume, 0, 2, {1, 2});
  CHECK(holds(cluster, 0, volume, 0, 1));
  check_equal(cluster, volume);
}
