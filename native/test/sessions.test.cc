// Hosts that have a volume attached: who may ask for what, and that a request sent again is applied once (docs/protocol.md,
// S1 and S2).
#include <cerrno>

#include "cluster_views.h"
#include "session_driver.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

struct Attached {
  explicit Attached(const CoreParams& params = small_params()) : driver(params) {
    driver.format();
    driver.create(1 << 20, "disk");
    attach(driver, {session_of(1), session_of(2)});
  }
  uint64_t write(uint64_t target, uint64_t sequence, uint64_t offset, size_t bytes, uint64_t seed) {
    return driver.submit(numbered(Driver::write_op(target, offset, pattern(bytes, seed)), sequence));
  }
  int error_of(uint64_t request) {
    const auto reply = driver.reply_to(request);
    return reply ? reply->error : INT_MAX;
  }
  std::vector<uint8_t> content() { return driver.read(driver.open("disk").handle, 0, 65536); }
  Driver driver;
};

constexpr int kNoAnswer = INT_MAX;

}  // namespace

TEST_CASE("a request that is sent again after a lost answer is applied once, across a crash too") {
  Attached it;
  const auto first = pattern(40000, 1);  // in part, and several records
  const auto second = pattern(4096, 2);
  uint64_t target = open_by(it.driver, session_of(1));
  const auto call = [&](uint64_t sequence, uint64_t offset, const std::vector<uint8_t>& bytes) {
    return it.driver.call(numbered(Driver::write_op(target, offset, bytes), sequence)).error;
  };
  CHECK(call(1, 100, first) == 0);
  CHECK(call(2, 4096, second) == 0);
  const auto content = it.driver.read(target, 0, 65536);
  const std::string lsn = field(it.driver.must("volumes", "{}"), "lsn");
  target = open_by(it.driver, session_of(1));
  CHECK(call(1, 100, first) == 0);
  CHECK(field(it.driver.must("volumes", "{}"), "lsn") == lsn);
  CHECK(it.driver.read(target, 0, 65536) == content);
  Random random(1);
  for (const bool checkpoint : {false, true}) {
    if (checkpoint) it.driver.must("checkpoint", "{}");
    it.driver.restart_after_kill(random);
    target = open_by(it.driver, session_of(1));
    CHECK(call(2, 4096, pattern(4096, 3)) == 0);
    CHECK(it.driver.read(target, 0, 65536) == content);
  }
  CHECK(call(3, 4096, pattern(4096, 3)) == 0);
  CHECK(it.driver.read(target, 4096, 4096) == pattern(4096, 3));
}

TEST_CASE("only a session of the newest attach record is let in, and ends with it") {
  Attached it;
  CHECK_FALSE(it.driver.core->open_export("disk", session_of(3)).has_value());
  CHECK(it.driver.core->open_refusal("disk", session_of(3)) == "session ended");
  CHECK_FALSE(it.driver.core->open_export("replica:disk", session_of(1)).has_value());
  const uint64_t first = open_by(it.driver, session_of(1));
  const uint64_t second = open_by(it.driver, session_of(2));
  attach(it.driver, {session_of(2), session_of(3)});
  CHECK(it.driver.saw_event("attached"));
  CHECK(it.driver.write(first, 0, pattern(4096, 1)) == kUnanswered);
  CHECK(it.driver.call(Driver::range_op(ClientOp::Kind::read, first, 0, 4096)).error == kUnanswered);
  CHECK(it.driver.call(numbered(Driver::write_op(second, 0, pattern(4096, 2)), 1)).error == 0);
  CHECK(it.driver.core->open_export("disk", session_of(3)).has_value());
}

TEST_CASE(
    "what a session has asked for and is no record yet ends with the session, unanswered and not applied") {
  Attached it;
  const uint64_t target = open_by(it.driver, session_of(1));
  it.driver.must("checkpoint", "{}");
  CHECK(it.error_of(it.write(target, 1, 0, 4096, 1)) == kNoAnswer);
  it.driver.run();
  // In part: it reads its block before it becomes a record.
  const uint64_t partial = it.write(target, 2, 100, 100, 2);
  const uint64_t behind = it.write(target, 3, 8192, 4096, 3);
  it.driver.core->command({7, "attach", attach_arguments("disk", {session_of(2)}, 1), {}});
  it.driver.run();
  CHECK(it.error_of(partial) == kUnanswered);
  CHECK(it.error_of(behind) == kUnanswered);
  auto expected = std::vector<uint8_t>(65536);
  const auto first = pattern(4096, 1);
  std::copy(first.begin(), first.end(), expected.begin());
  CHECK(it.content() == expected);
}

TEST_CASE("who has a volume attached is compared and set") {
  Attached it;
  const auto reply = it.driver.command("attach", attach_arguments("disk", {session_of(3)}, 0));
  CHECK(reply.error_code == "ERR_ATTACHMENT_CHANGED");
  const auto told = nlohmann::json::parse(it.driver.must("volumes", "{}"))[0]["attach"];
  CHECK(told["revision"] == 1);
  CHECK(told["holders"].size() == 2);
  CHECK(told["holders"][1]["session"] == to_hex(ByteSpan(session_of(2))));
  CHECK(told["holders"][1]["isShared"] == true);
  CHECK(told["holders"][1]["socket"] == "/run/disk.sock");
  Random random(1);
  it.driver.must("checkpoint", "{}");
  it.driver.restart_after_kill(random);
  CHECK(attach_revision(it.driver) == 1);
  for (const char* wrong :
       {R"({"volume":"disk","after":1})", R"({"volume":"disk","after":1,"holders":[1]})",
        R"({"volume":"disk","after":1,"holders":[{"session":"00","host":"","socket":""}]})",
        R"({"volume":"disk","after":-1,"holders":[]})"}) {
    CAPTURE(wrong);
    CHECK_FALSE(it.driver.command("attach", wrong).error_code.empty());
  }
  CHECK(it.driver.command("attach", attach_arguments("disk", std::vector<SessionId>(65), 1)).error_code ==
        "ERR_ARGUMENT");
}

TEST_CASE("a newer connection of a session ends what the older one has waiting") {
  Attached it;
  const uint64_t older = open_by(it.driver, session_of(1));
  CHECK(it.driver.call(numbered(Driver::write_op(older, 0, pattern(4096, 1)), 1)).error == 0);
  it.driver.must("checkpoint", "{}");
  const uint64_t partial = it.write(older, 2, 100, 100, 2);
  it.driver.turn();
  it.driver.turn();  // its block is being read
  const uint64_t newer = open_by(it.driver, session_of(1));
  const uint64_t again = it.write(newer, 2, 100, 100, 2);
  const uint64_t next = it.write(newer, 3, 100, 100, 3);
  const uint64_t late = it.write(older, 4, 100, 100, 4);
  it.driver.run();
  CHECK(it.error_of(partial) == kUnanswered);
  CHECK(it.error_of(late) == kUnanswered);
  CHECK(it.error_of(again) == 0);
  CHECK(it.error_of(next) == 0);
  const auto content = it.content();
  const auto wanted = pattern(100, 3);
  CHECK(std::equal(wanted.begin(), wanted.end(), content.begin() + 100));
}

TEST_CASE("S2: nothing behind a refused request becomes a record before its client knows") {
  Attached it;
  const uint64_t target = open_by(it.driver, session_of(1));
  const uint64_t other = open_by(it.driver, session_of(2));
  const uint64_t first = it.write(target, 1, 0, 4096, 1);
  const uint64_t refused = it.write(target, 2, 1 << 20, 4096, 2);
  const uint64_t behind = it.write(target, 3, 4096, 4096, 3);
  const uint64_t partial = it.write(target, 4, 4100, 10, 4);
  const uint64_t of_other = it.write(other, 1, 8192, 4096, 5);
  it.driver.run();
  CHECK(it.error_of(first) == 0);
  CHECK(it.error_of(refused) == ENOSPC);
  CHECK(it.error_of(of_other) == 0);
  CHECK(it.error_of(behind) == kNoAnswer);
  // After a cut the refused one is sent again: it is not taken for one that the history has.
  const uint64_t again = open_by(it.driver, session_of(1));
  const uint64_t refused_again = it.write(again, 2, 1 << 20, 4096, 2);
  const uint64_t behind_again = it.write(again, 3, 4096, 4096, 3);
  const uint64_t partial_again = it.write(again, 4, 4100, 10, 4);
  it.driver.run();
  CHECK(it.error_of(behind) == kUnanswered);
  CHECK(it.error_of(partial) == kUnanswered);
  CHECK(it.error_of(refused_again) == ENOSPC);
  it.driver.core->session_seen(target, 2);  // of the connection that is over
  it.driver.run();
  CHECK(it.error_of(behind_again) == kNoAnswer);
  it.driver.core->session_seen(again, 2);
  const uint64_t next = it.write(again, 5, 12288, 4096, 6);
  it.driver.run();
  CHECK(it.error_of(behind_again) == 0);
  CHECK(it.error_of(partial_again) == 0);
  CHECK(it.error_of(next) == 0);
  const auto content = it.content();
  const auto wanted = pattern(10, 4);
  CHECK(std::equal(wanted.begin(), wanted.end(), content.begin() + 4100));
}

TEST_CASE("S2: nor what was ready together with a write for which there is no room") {
  CoreParams params = small_params();
  params.segment_limit = 12;
  Attached it(params);
  const uint64_t target = open_by(it.driver, session_of(1));
  const uint64_t filler = it.driver.open("disk").handle;
  const auto settle = [&] {  // a full store lets writes wait for a while
    it.driver.run();
    it.driver.now_ns += 60'000'000'000;
    it.driver.run();
  };
  for (uint64_t block = 16;; ++block) {
    const uint64_t fill = it.driver.submit(Driver::write_op(filler, block * 4096, pattern(4096, block)));
    settle();
    if (it.error_of(fill) != 0) break;
  }
  const uint64_t refused = it.write(target, 1, 0, 4096, 1);
  const uint64_t trim =
      it.driver.submit(numbered(Driver::range_op(ClientOp::Kind::trim, target, 65536, 4096), 2));
  settle();
  CHECK(it.error_of(refused) == ENOSPC);
  CHECK(it.error_of(trim) == kNoAnswer);
  it.driver.core->session_seen(target, 1);
  it.driver.run();
  CHECK(it.error_of(trim) == 0);
}

TEST_CASE("sessions go on at the next primary") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const auto attach_at = [&](size_t host, uint64_t after) {
    const CommandReply reply =
        command_at(cluster, host, "attach", attach_arguments(volume, {session_of(1)}, after));
    INFO(reply.error_code << " " << reply.message);
    CHECK(reply.error_code.empty());
  };
  attach_at(0, 0);
  const auto write = [&](size_t host, uint64_t sequence, uint64_t seed) {
    const auto opened = cluster.node(host).core->open_export(volume, session_of(1));
    REQUIRE(opened.has_value());
    const uint64_t request = cluster.node(host).submit(
        numbered(Driver::write_op(opened->handle, 0, pattern(kBlockBytes, seed)), sequence));
    cluster.run(30);
    const auto reply = cluster.node(host).reply_to(request);
    return reply ? std::optional<int>(reply->error) : std::nullopt;
  };
  CHECK(write(0, 1, 1) == 0);
  CHECK(write(0, 2, 2) == 0);
  must_resign(cluster, 0, volume);
  elect(cluster, volume, 1, 2, {0, 2}, epoch_of(1, 0));
  // Sent again, with other bytes to tell whether it is applied again.
  CHECK(write(1, 2, 9) == 0);
  CHECK(holds(cluster, 1, volume, 0, 2));
  CHECK(write(1, 3, 3) == 0);
  CHECK(holds(cluster, 1, volume, 0, 3));
}

TEST_CASE("a primary whose disk fails leaves what came by a session to the next one, and tells others") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const CommandReply attached =
      command_at(cluster, 0, "attach", attach_arguments(volume, {session_of(1)}, 0));
  REQUIRE(attached.error_code.empty());
  Driver& primary = cluster.node(0);
  const auto of_session = primary.core->open_export(volume, session_of(1));
  REQUIRE(of_session.has_value());
  const Export direct = primary.open(volume);
  const auto ask = [&](uint64_t target, uint64_t block, uint64_t sequence) {
    ClientOp op = Driver::write_op(target, block * kBlockBytes, pattern(kBlockBytes, block));
    op.sequence = sequence;
    return primary.submit(std::move(op));
  };
  const auto error_of = [&](uint64_t request) {
    const auto reply = primary.reply_to(request);
    REQUIRE(reply.has_value());
    return reply->error;
  };
  primary.disk.fail_writes = 1;
  const uint64_t by_session = ask(of_session->handle, 0, 1);
  const uint64_t by_nobody = ask(direct.handle, 1, 0);
  cluster.run(30);
  REQUIRE(primary.saw_event("store-failed"));
  CHECK(error_of(by_session) == kUnanswered);
  CHECK(error_of(by_nobody) == EIO);
  // What comes later, too.
  const uint64_t later = ask(of_session->handle, 0, 2);
  const uint64_t read = primary.submit(Driver::range_op(ClientOp::Kind::read, of_session->handle, 0, 4096));
  const uint64_t direct_read = primary.submit(Driver::range_op(ClientOp::Kind::read, direct.handle, 0, 4096));
  cluster.run(5);
  CHECK(error_of(later) == kUnanswered);
  CHECK(error_of(read) == kUnanswered);
  CHECK(error_of(direct_read) == EIO);
  // Followers had the write before the disk refused it: asked again it is done, and done once.
  elect(cluster, volume, 1, 2, {2}, epoch_of(1, 0));
  const auto next = cluster.node(1).core->open_export(volume, session_of(1));
  REQUIRE(next.has_value());
  ClientOp again = Driver::write_op(next->handle, 0, pattern(kBlockBytes, 9));
  again.sequence = 1;
  const uint64_t request = cluster.node(1).submit(std::move(again));
  cluster.run(30);
  const auto reply = cluster.node(1).reply_to(request);
  REQUIRE(reply.has_value());
  CHECK(reply->error == 0);
  CHECK(holds(cluster, 1, volume, 0, 0));
}

TEST_CASE("the only host of a volume says that its disk has failed: its clients have nobody else to ask") {
  Attached it;
  const uint64_t target = open_by(it.driver, session_of(1));
  it.driver.disk.fail_writes = 1;
  const uint64_t request = it.write(target, 1, 0, 4096, 1);
  it.driver.run();
  CHECK(it.error_of(request) == EIO);
}
