// Leases and hand-over (docs/protocol.md, E2, L1, L2, H1): one story a test.
#include "cluster_views.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

constexpr int kLeaseTurns = 500;  // a turn takes 1 ms, a lease 500

uint64_t ask_block(Cluster& cluster, size_t index, uint64_t target) {
  return cluster.node(index).submit(Driver::range_op(ClientOp::Kind::read, target, 0, kBlockBytes));
}

}  // namespace

TEST_CASE("leases: E2, no replica promises while a lease runs that it granted") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  cluster.run(1000);
  // Renewed for as long as the primary asks.
  CHECK(ask_promise(cluster, 1, volume, epoch_of(2, 2)).error_code == "ERR_LEASE_RUNS");
  Random random(1);
  cluster.kill(0, random);
  const CommandReply refused = ask_promise(cluster, 1, volume, epoch_of(2, 2));
  REQUIRE(refused.error_code == "ERR_LEASE_RUNS");
  const int remaining = nlohmann::json::parse(refused.result)["remainingMs"];
  CHECK(remaining > kLeaseTurns - 150);
  CHECK(remaining <= kLeaseTurns);
  cluster.run(remaining - 5);
  CHECK(ask_promise(cluster, 1, volume, epoch_of(2, 2)).error_code == "ERR_LEASE_RUNS");
  CHECK(count_events(cluster, 1, "lease-over") == 0);
  cluster.run(10);
  CHECK(count_events(cluster, 1, "lease-over") == 1);
  must_promise(cluster, 1, volume, epoch_of(2, 2));
}

TEST_CASE("leases: E2, behind a start a lease may run that is forgotten, unless its holder asks") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  cluster.run(200);
  Random random(2);
  cluster.kill(1, random);
  cluster.start(1);
  CHECK(ask_promise(cluster, 1, volume, epoch_of(2, 2)).error_code == "ERR_LEASE_RUNS");
  CHECK(ask_promise(cluster, 1, volume, epoch_of(2, 0)).error_code.empty());
  cluster.run(kLeaseTurns);
  CHECK(count_events(cluster, 1, "lease-over") == 1);
  CHECK(ask_promise(cluster, 1, volume, epoch_of(3, 2)).error_code.empty());
}

TEST_CASE(
    "leases: L2, without a majority's leases nothing is read, committed or flushed, and then it is again") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  Driver& primary = cluster.node(0);
  const Export disk = primary.open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  cluster.cut(1);
  cluster.cut(2);
  const uint64_t early = ask_block(cluster, 0, disk.handle);
  cluster.run(10);
  CHECK(primary.reply_to(early)->error == 0);
  cluster.run(kLeaseTurns);
  CHECK(count_events(cluster, 0, "lease-lost") == 1);
  const uint64_t read = ask_block(cluster, 0, disk.handle);
  const uint64_t flush = primary.submit(Driver::range_op(ClientOp::Kind::flush, disk.handle, 0, 0));
  cluster.run(100);
  CHECK_FALSE(primary.reply_to(read).has_value());
  CHECK_FALSE(primary.reply_to(flush).has_value());
  // One member is a majority with the primary.
  CHECK(cluster.connect(0, 2, volume));
  cluster.run(150);
  CHECK(count_events(cluster, 0, "lease-back") >= 1);
  CHECK(primary.reply_to(read)->error == 0);
  CHECK(primary.reply_to(flush)->error == 0);
  CHECK(try_write(cluster, 0, disk.handle, 1, 2) == 0);
}

TEST_CASE("leases: L2, the holder's lease ends before the granter's") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  cluster.cut(1);
  cluster.run(300);
  cluster.cut(2);
  // Turn by turn: as soon as the other promises, the primary answers no read that comes.
  for (int turn = 0; turn < 2 * kLeaseTurns; ++turn) {
    const CommandReply promise = ask_promise(cluster, 2, volume, epoch_of(2, 2));
    if (promise.error_code != "ERR_LEASE_RUNS") {
      CHECK(promise.error_code.empty());
      CHECK(count_events(cluster, 0, "lease-lost") == 1);
      const uint64_t read = ask_block(cluster, 0, disk.handle);
      cluster.run(20);
      CHECK_FALSE(cluster.node(0).reply_to(read).has_value());
      return;
    }
  }
  FAIL("the lease never ended");
}

TEST_CASE("leases: one question serves all volumes of two stores") {
  Cluster cluster(2, views_params());
  std::vector<std::string> volumes;
  for (uint8_t seed = 1; seed <= 3; ++seed) {
    const CreatePayload payload =
        cluster_create(kVolumeBytes, "disk" + std::to_string(seed), seed, Mode::quorum, 2);
    cluster.node(0).core->command({seed,
                                   "create",
                                   "{\"stamp\":\"" + to_hex(ByteSpan(sample_stamp(seed))) +
                                       "\",\"payload\":\"" + to_hex(ByteSpan(encode_create(payload))) +
                                       "\",\"epoch\":{\"counter\":1,\"host\":\"" + to_hex(host_of(0)) +
                                       "\"}}",
                                   {}});
    cluster.run(5);
    volumes.emplace_back();
    for (const Event& event : cluster.node(0).events)
      if (event.name == "volume-created") volumes.back() = field(event.detail, "volume");
    CHECK(cluster.connect(0, 1, volumes.back()));
    cluster.run(100);
  }
  const uint64_t before = cluster.sent_bytes;
  cluster.run(1000);
  // Ten questions of 48 bytes and their answers of 49 a second, however many volumes.
  CHECK(cluster.sent_bytes - before <= 11 * (48 + 49));
  CHECK(cluster.sent_bytes - before >= 9 * (48 + 49));
  // The stream that carries them goes: another takes over before a lease ends.
  cluster.cut_first();
  cluster.run(1000);
  CHECK(count_events(cluster, 0, "lease-lost") == 1);  // of the volume whose stream is gone
  const Export disk = cluster.node(0).open(volumes[1]);
  const auto written = try_write(cluster, 0, disk.handle, 0, 1);
  REQUIRE(written.has_value());
  CHECK(*written == 0);
}

TEST_CASE("leases: H1, who resigned leads no more in that epoch, and the next one waits for no lease") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  const CommandReply reply = command_at(cluster, 0, "resign", nlohmann::json{{"volume", volume}}.dump());
  REQUIRE(reply.error_code.empty());
  const nlohmann::json told = nlohmann::json::parse(reply.result);
  CHECK(told["epoch"] == epoch_of(1, 0));
  CHECK(told["stamp"] == to_hex(ByteSpan(stamp_of(1))));
  // Its token is the head's.
  const auto token = parse_id<Token>(told["token"].get<std::string>());
  CHECK(to_hex(public_of(*token)) == told["head"]["version"]);
  CHECK(try_write(cluster, 0, disk.handle, 1, 2) == kUnanswered);
  CHECK(ask_promise(cluster, 2, volume, epoch_of(2, 1)).error_code == "ERR_LEASE_RUNS");
  CHECK(ask_promise(cluster, 2, volume, epoch_of(2, 1), "promise", epoch_of(1, 0)).error_code.empty());
  // Not after a crash either.
  Random random(3);
  cluster.kill(0, random);
  cluster.start(0);
  CHECK_FALSE(cluster.node(0).core->open_export(volume).has_value());
  elect(cluster, volume, 2, 3, {0, 1});
  CHECK(holds(cluster, 2, volume, 0, 1));
}

TEST_CASE("leases: H1, who resigns promises the next one's epoch with it, and keeps that over a crash") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  CHECK(try_write(cluster, 0, disk.handle, 0, 1) == 0);
  const nlohmann::json next = epoch_of(2, 1);
  const CommandReply reply =
      command_at(cluster, 0, "resign", nlohmann::json{{"volume", volume}, {"next", next}}.dump());
  REQUIRE(reply.error_code.empty());
  const nlohmann::json told = nlohmann::json::parse(reply.result);
  CHECK(told["epoch"] == epoch_of(1, 0));
  CHECK(told["promise"]["promised"] == next);
  CHECK(told["promise"]["head"] == told["head"]);
  CHECK(try_write(cluster, 0, disk.handle, 1, 2) == kUnanswered);
  Random random(3);
  cluster.kill(0, random);
  cluster.start(0);
  CHECK(ask_promise(cluster, 0, volume, epoch_of(1, 2)).error_code == "ERR_EPOCH_STALE");
  elect(cluster, volume, 1, 2, {0}, epoch_of(1, 0));
  CHECK(holds(cluster, 1, volume, 0, 1));
}

TEST_CASE("leases: H1, a next epoch that cannot be promised is not, and it resigns all the same") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const CommandReply reply =
      command_at(cluster, 0, "resign", nlohmann::json{{"volume", volume}, {"next", epoch_of(0, 1)}}.dump());
  REQUIRE(reply.error_code.empty());
  CHECK_FALSE(nlohmann::json::parse(reply.result).contains("promise"));
  elect(cluster, volume, 1, 2, {0, 2}, epoch_of(1, 0));
}

TEST_CASE(
    "leases: H1, a primary that is written to gives up when all that it made is committed, and no more is "
    "made") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  Driver& primary = cluster.node(0);
  const auto write = [&](uint64_t block) {
    return primary.submit(Driver::write_op(disk.handle, block * kBlockBytes, pattern(kBlockBytes, block)));
  };
  const uint64_t made = write(1);
  cluster.run(1);
  primary.core->command({77, "resign", nlohmann::json{{"volume", volume}}.dump(), {}});
  const uint64_t late = write(2);
  cluster.run(50);
  REQUIRE(primary.command_replies.size() == 1);
  CHECK(primary.command_replies[0].error_code.empty());
  CHECK(primary.reply_to(made)->error == 0);
  CHECK(primary.reply_to(late)->error == kUnanswered);
  elect(cluster, volume, 1, 2, {0, 2}, epoch_of(1, 0));
  CHECK(holds(cluster, 1, volume, 1, 1));
}

TEST_CASE("leases: H1, a primary that cannot commit what it made does not resign, and goes on") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  Driver& primary = cluster.node(0);
  cluster.cut(1);
  cluster.cut(2);
  primary.submit(Driver::write_op(disk.handle, 0, pattern(kBlockBytes, 1)));
  cluster.run(1);
  const CommandReply reply = command_at(cluster, 0, "resign", nlohmann::json{{"volume", volume}}.dump());
  CHECK(reply.error_code == "ERR_VOLUME_BUSY");
  CHECK(cluster.connect(0, 1, volume));
  cluster.run(200);
  CHECK(try_write(cluster, 0, disk.handle, 1, 2) == 0);
}
