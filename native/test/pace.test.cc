#include "core/replication/pace.h"

#include <doctest/doctest.h>

#include <functional>

#include "cluster_story.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kMiB = 1u << 20;

/// What a feed is given in a second, in pieces, of one turn each tenth of a millisecond.
uint64_t fed_in_a_second(CatchUpPace& pace, uint64_t& now_ns, uint64_t written, uint64_t in_flight,
                         const std::function<bool(uint64_t turn)>& asks) {
  constexpr uint64_t kPiece = 64 << 10;
  FeedPace feed;
  uint64_t bytes = 0;
  for (uint64_t turn = 0; turn < 10'000; ++turn) {
    now_ns += kMs / 10;
    if (asks(turn)) pace.asked(now_ns);
    pace.turn(now_ns, in_flight);
    if (!pace.may_send(feed, written)) {
      CHECK(pace.again_ns(feed, written) > now_ns);
      continue;
    }
    // By runs.
    for (uint64_t run = 0; run < kPiece; run += 4096) pace.sent(feed, 4096);
    bytes += kPiece;
  }
  return bytes;
}

}  // namespace

TEST_CASE("pace: while clients are quiet nothing is held back") {
  CatchUpPace pace;
  uint64_t now_ns = 1'000 * kMs;
  // As much as there were turns.
  CHECK(fed_in_a_second(pace, now_ns, 0, 0, [](uint64_t) { return false; }) == 10'000 * (64u << 10));
}

TEST_CASE(
    "pace: beside clients that always ask, feeds get their share and not much more, whatever is written") {
  for (const uint64_t written : {uint64_t{0}, 10 * kMiB, 100 * kMiB}) {
    CatchUpPace pace;
    uint64_t now_ns = 1'000 * kMs;
    const uint64_t fed = fed_in_a_second(pace, now_ns, written, 16, [](uint64_t) { return true; });
    const uint64_t share = written * kFeedQuarters / 4 + kFeedSharedBytesPerSecond;
    // What was saved up, and a piece of each kind.
    CHECK(fed <= share + share * kFeedSavedNs / 1'000'000'000 + 4 * kFeedPieceBytes);
    CHECK(fed >= share - share / 50 - 2 * kFeedPieceBytes);
    // So it comes nearer.
    CHECK(fed > written + kFeedSharedBytesPerSecond / 2);
  }
}

TEST_CASE("pace: a client that asks two hundred times a second leaves most of the time to feeds") {
  CatchUpPace pace;
  uint64_t now_ns = 1'000 * kMs;
  const uint64_t fed = fed_in_a_second(pace, now_ns, kMiB, 0, [](uint64_t turn) { return turn % 50 == 0; });
  CHECK(fed > 5'000 * (64u << 10));
}

TEST_CASE("pace: what is sent in a turn that comes late is repaid, for the pause that it sees is its own") {
  CatchUpPace pace;
  FeedPace feed;
  uint64_t now_ns = 1'000 * kMs;
  uint64_t bytes = 0;
  // Each fourth turn comes 3 ms after the one before, with all that was asked answered.
  for (uint64_t turn = 0; turn < 800; ++turn) {
    const bool late = turn % 4 == 3;
    now_ns += late ? 3 * kMs : kMs / 4;
    if (!late) pace.asked(now_ns);
    pace.turn(now_ns, 0);
    if (!pace.may_send(feed, 40 * kMiB)) continue;
    pace.sent(feed, 128 << 10);
    bytes += 128 << 10;
  }
  // 750 ms.
  CHECK(bytes < (60 * kMiB + kFeedSharedBytesPerSecond) * 8 / 10 + 4 * kMiB);
}

TEST_CASE("pace: requests that nothing answers hold nobody back for long") {
  CatchUpPace pace;
  uint64_t now_ns = 1'000 * kMs;
  const uint64_t fed = fed_in_a_second(pace, now_ns, 0, 1, [](uint64_t turn) { return turn == 0; });
  CHECK(fed > 8'500 * (64u << 10));
}

TEST_CASE(
    "pace: what all feeds share goes to one after the other, and each gets more than its volume is written") {
  CatchUpPace pace;
  FeedPace first;
  FeedPace second;
  uint64_t now_ns = 1'000 * kMs;
  uint64_t fed[2] = {};
  constexpr uint64_t kWritten = 20 * kMiB;
  for (uint64_t turn = 0; turn < 10'000; ++turn) {
    now_ns += kMs / 10;
    pace.asked(now_ns);
    pace.turn(now_ns, 16);
    for (FeedPace* feed : {&first, &second}) {
      if (!pace.may_send(*feed, kWritten)) continue;
      pace.sent(*feed, 64 << 10);
      fed[feed == &second] += 64 << 10;
    }
  }
  for (const uint64_t bytes : fed) CHECK(bytes > kWritten + kWritten / 4);
  CHECK(fed[0] + fed[1] <= 3 * kWritten + kFeedSharedBytesPerSecond + kMiB);
}

TEST_CASE("pace: a meter follows what is written, and forgets it after a pause") {
  ByteMeter meter;
  uint64_t now_ns = 1'000 * kMs;
  meter.per_second(now_ns);
  for (int turn = 0; turn < 2'000; ++turn) {
    now_ns += kMs;
    meter.add(10'000);
    meter.per_second(now_ns);
  }
  CHECK(meter.per_second(now_ns) > 9'000'000);
  CHECK(meter.per_second(now_ns) < 11'000'000);
  CHECK(meter.per_second(now_ns + 5'000 * kMs) < 100'000);
}

namespace {

constexpr uint64_t kBlocks = 256;
constexpr uint64_t kGapBytes = 4 * kBlocks * kBlockBytes;

/// A replica that lacks kGapBytes comes back.
struct Return {
  Return() : cluster(3, params()) {
    volume = create_volume(cluster, Mode::quorum, 3, kBlocks * kBlockBytes);
    disk = cluster.node(0).open(volume);
    cluster.cut(2);
    for (uint64_t write = 0; write < kGapBytes / kBlockBytes; ++write) ask(write);
    cluster.run(200);
    CHECK(cluster.node(0).replies.size() == kGapBytes / kBlockBytes);
  }
  static CoreParams params() {
    CoreParams params = small_params();
    params.segment_log2 = 20;
    params.checkpoint_bytes = 256 * kMiB;
    return params;
  }
  void ask(uint64_t write) {
    cluster.node(0).submit(
        Driver::write_op(disk.handle, write % kBlocks * kBlockBytes, pattern(kBlockBytes, write)));
    cluster.run(1);
  }
  /// What all hosts send each other in so many turns of a millisecond from its return on.
  uint64_t sent_in(int turns, bool asks) {
    CHECK(cluster.connect(0, 2, volume));
    const uint64_t before = cluster.sent_bytes;
    for (int turn = 0; turn < turns; ++turn) {
      if (asks)
        ask(static_cast<uint64_t>(turn));
      else
        cluster.run(1);
    }
    return cluster.sent_bytes - before;
  }

  Cluster cluster;
  std::string volume;
  Export disk;
};

}  // namespace

TEST_CASE("pace: a replica that comes back is fed at once, and by and by while a client writes") {
  Return quiet;
  CHECK(quiet.sent_in(50, false) > kGapBytes);
  check_equal(quiet.cluster, quiet.volume);

  Return busy;
  CHECK(busy.sent_in(50, true) < 3 * kGapBytes / 4);
  for (uint64_t turn = 0; turn < 200; ++turn) busy.ask(turn);
  CHECK(busy.cluster.sent_bytes > kGapBytes);
  busy.cluster.run();
  check_equal(busy.cluster, busy.volume);
}

TEST_CASE("pace: a replica without which nothing is committed is fed as fast as it can be") {
  Return story;
  story.cluster.cut(1);
  CHECK(story.sent_in(50, true) > kGapBytes);
  story.cluster.run();
  CHECK(story.cluster.node(0).replies.size() == kGapBytes / kBlockBytes + 50);
}
