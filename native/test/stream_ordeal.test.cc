// Streams between engines fed what nobody should send: real conversations, changed here and there.
#include "stream_ordeal.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

using Victim = StreamOrdeal::Victim;

struct Sample {
  Victim victim;
  std::vector<uint8_t> bytes;
  const char* name;
};

/// What a victim may be told, rightly.
std::vector<Sample> samples() {
  std::vector<Sample> out;
  StreamOrdeal story;
  const auto live = story.converse(2, 60);
  out.push_back({Victim::new_follower, live.by_leader, "follower-from-nothing"});
  out.push_back({Victim::leader, live.by_follower, "leader-of-new-follower"});
  // Overwritten until the log no longer holds the beginning.
  StreamOrdeal old;
  for (int round = 0; round < 30; ++round) {
    old.node(0).write(0, 32, static_cast<uint8_t>(round));
    (void)old.converse(1, 30);
    (void)old.node(0).command("checkpoint", "{}");
  }
  const auto blocks = old.converse(2, 60);
  out.push_back({Victim::new_follower, blocks.by_leader, "follower-by-blocks"});
  StreamOrdeal again;
  again.node(0).write(8, 8, 5);
  const auto more = again.converse(1, 60);
  out.push_back({Victim::follower, more.by_leader, "follower-goes-on"});
  out.push_back({Victim::restarted_leader, more.by_follower, "restarted-leader"});
  StreamOrdeal handed;
  handed.expect_hand();
  const auto words = handed.converse(1, 60, [&] { handed.resign(); });
  out.push_back({Victim::heir, words.by_leader, "heir"});
  return out;
}

}  // namespace

TEST_CASE("streams: a store survives whatever it is sent, and accounts for its space") {
  const uint64_t seed = 77;
  CAPTURE(seed);
  Random random(seed);
  const int rounds = std::getenv("CLOUDFS_TEST_LONG") != nullptr ? 4000 : 60;
  for (const Sample& sample : samples()) {
    CAPTURE(sample.name);
    if (const char* corpus = std::getenv("CLOUDFS_CORPUS"); corpus != nullptr) {
      const bool leads = sample.victim == Victim::leader || sample.victim == Victim::restarted_leader;
      std::ofstream file(
          std::string(corpus) + (leads ? "/leader_stream/" : "/follower_stream/") + sample.name,
          std::ios::binary);
      file.put(static_cast<char>(sample.victim));
      file.write(reinterpret_cast<const char*>(sample.bytes.data()),
                 static_cast<std::streamsize>(sample.bytes.size()));
    }
    for (int round = 0; round < rounds; ++round) {
      CAPTURE(round);
      std::vector<uint8_t> bytes = sample.bytes;
      const uint64_t changes = round == 0 ? 0 : 1 + below(random, 4);
      for (uint64_t change = 0; change < changes && !bytes.empty(); ++change) {
        const size_t at = below(random, bytes.size());
        switch (below(random, 4)) {
          case 0:
            bytes[at] = static_cast<uint8_t>(random());
            break;
          case 1:
            bytes[at] ^= static_cast<uint8_t>(1u << below(random, 8));
            break;
          case 2:
            // Fields stand in the first bytes of a frame more often than not.
            bytes[std::min(bytes.size() - 1, below(random, 400))] = static_cast<uint8_t>(random());
            break;
          default:
            bytes.resize(at);
        }
      }
      if (chance(random, 80)) StreamOrdeal::seal(bytes);
      StreamOrdeal ordeal;
      CHECK_NOTHROW(ordeal.attack(sample.victim, bytes, random()));
    }
  }
}
