// Versions that were shown lately: branched after the head went on, and what they cost nobody when they go.
#include <doctest/doctest.h>

#include "core_driver.h"

using namespace cloudfs;
using namespace cloudfs::test;
using Kind = ClientOp::Kind;

namespace {

constexpr uint64_t kBytes = 4 << 20;
constexpr uint64_t kPiece = 16384;

CoreParams roomy_params() {
  CoreParams params = small_params();
  params.segment_limit = 1024;
  return params;
}

/// The version that a `head-moved` event told last.
std::string shown_version(Driver& driver) {
  std::string version;
  for (const Event& event : driver.events)
    if (event.name == "head-moved") version = field(event.detail, "version");
  REQUIRE(version.size() == 40);
  return version;
}

/// Long enough for the next head to be told.
void pause(Driver& driver) {
  driver.now_ns += 60'000'000;
  driver.run();
}

std::string branch_arguments(const std::string& from, const std::string& version, uint8_t seed) {
  std::string out = create_arguments(sample_create(4096, "branch" + std::to_string(seed), seed), seed, from);
  return "{\"version\":\"" + version + "\"," + out.substr(1);
}

struct Story {
  explicit Story(const CoreParams& params = roomy_params()) : driver(params), model(kBytes) {
    driver.format();
    volume = driver.create(kBytes, "disk");
    target = driver.open("disk").handle;
  }
  void write(uint64_t offset, uint64_t bytes) {
    const auto content = pattern(bytes, ++last);
    CHECK(driver.write(target, offset, content) == 0);
    std::copy(content.begin(), content.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  void trim(uint64_t offset, uint64_t bytes) {
    CHECK(driver.call(Driver::range_op(Kind::trim, target, offset, bytes)).error == 0);
    std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(offset), bytes, 0);
  }
  /// Any of what clients do, now and then something coarse.
  void change(Random& random) {
    const uint64_t offset = below(random, kBytes / 4096) * 4096;
    const uint64_t most = std::min<uint64_t>(kBytes - offset, chance(random, 10) ? kBytes : 10 * 4096);
    const uint64_t bytes = (1 + below(random, most / 4096)) * 4096;
    chance(random, 75) ? write(offset, std::min<uint64_t>(bytes, 1 << 18)) : trim(offset, bytes);
  }
  CommandReply branch(const std::string& version) {
    return driver.command("branch", branch_arguments(volume, version, ++seed));
  }
  void check_branch(const std::string& branch_id, const std::vector<uint8_t>& content) {
    const Export found = driver.open(branch_id);
    CHECK(found.size_bytes == content.size());
    CHECK((driver.read(found.handle, 0, content.size()) == content));
    driver.core->close_export(found.handle);
  }

  Driver driver;
  std::string volume;
  uint64_t target = 0;
  std::vector<uint8_t> model;
  uint64_t last = 0;
  uint8_t seed = 1;
};

}  // namespace

TEST_CASE("a version that was shown is branched when its blocks are overwritten, and outlives a power cut") {
  Story story;
  Driver& driver = story.driver;
  story.write(0, 1 << 18);
  pause(driver);
  const std::string version = shown_version(driver);
  const std::vector<uint8_t> content = story.model;
  story.write(8192, 1 << 18);
  pause(driver);
  story.write(0, 1 << 17);
  driver.must("checkpoint", "{}");
  const CommandReply made = story.branch(version);
  REQUIRE(made.error_code.empty());
  const std::string id = field(made.result, "volume");
  story.check_branch(id, content);
  driver.must("audit", "{}");
  // The parent goes on, the branch's own writes are its own.
  const uint64_t handle = driver.open(id).handle;
  CHECK(driver.write(handle, 4096, pattern(8192, 77), true) == 0);
  std::vector<uint8_t> changed = content;
  const auto bytes = pattern(8192, 77);
  std::copy(bytes.begin(), bytes.end(), changed.begin() + 4096);
  story.write(0, 1 << 18);
  CHECK(driver.call(Driver::range_op(Kind::flush, story.target, 0, 0)).error == 0);
  driver.must("audit", "{}");
  Random random(3);
  driver.core.reset();
  driver.disk.power_cut(random);
  driver.start();
  REQUIRE(driver.saw_event("ready"));
  story.check_branch(id, changed);
  story.check_branch(story.volume, story.model);
  driver.must("audit", "{}");
}

TEST_CASE("every version shown in the last ten seconds is branched exactly, whatever came after it") {
  for (uint64_t round = 1; round <= 12; ++round) {
    CAPTURE(round);
    Random random(round);
    CoreParams params = roomy_params();
    params.map_bytes_max = chance(random, 50) ? 40000 : 10 << 20;
    Story story(params);
    Driver& driver = story.driver;
    std::vector<std::pair<std::string, std::vector<uint8_t>>> shown;
    for (int step = 0; step < 25; ++step) {
      for (uint64_t count = 1 + below(random, 4); count > 0; --count) story.change(random);
      if (chance(random, 10)) driver.must("checkpoint", "{}");
      pause(driver);
      shown.emplace_back(shown_version(driver), story.model);
    }
    driver.must("audit", "{}");
    for (int count = 0; count < 6; ++count) {
      const auto& [version, content] = shown[below(random, shown.size())];
      const CommandReply made = story.branch(version);
      INFO(made.error_code << " " << made.message);
      REQUIRE(made.error_code.empty());
      story.check_branch(field(made.result, "volume"), content);
      story.change(random);
      driver.must("audit", "{}");
    }
    driver.now_ns += 15'000'000'000;
    driver.run();
    driver.must("audit", "{}");
    CHECK(field(driver.must("stats", "{}"), "shownVersions") == "0");
    CHECK(field(driver.must("stats", "{}"), "shownSteps") == "0");
    driver.restart_after_kill(random);
    driver.must("audit", "{}");
  }
}

TEST_CASE("a version shown longer ago is refused by a code, and the message names what to do") {
  Story story;
  Driver& driver = story.driver;
  story.write(0, kPiece);
  pause(driver);
  const std::string version = shown_version(driver);
  CHECK(field(driver.must("find-version", "{\"version\":\"" + version + "\"}"), "volume") == story.volume);
  story.write(0, kPiece);
  // While it is ten seconds old it can be had.
  driver.now_ns += 10'000'000'000;
  driver.run();
  story.write(0, kPiece);
  CHECK(story.branch(version).error_code.empty());
  driver.now_ns += 3'000'000'000;
  driver.run();
  const CommandReply refused = story.branch(version);
  CHECK(refused.error_code == "ERR_UNKNOWN_VERSION");
  CHECK(refused.message.find("cloudfs branch VOLUME") != std::string::npos);
  CHECK(driver.command("find-version", "{\"version\":\"" + version + "\"}").error_code ==
        "ERR_UNKNOWN_VERSION");
  // What the volume is at is no question of time.
  pause(driver);
  driver.now_ns += 60'000'000'000;
  driver.run();
  CHECK(story.branch(shown_version(driver)).error_code.empty());
}

TEST_CASE(
    "versions shown lately go before a write is refused for lack of space, and cleaning goes on beside "
    "them") {
  CoreParams params = small_params();
  Story story(params);
  Driver& driver = story.driver;
  Random random(5);
  // Four times the store's size, over a quarter of it, by a policy that cleans when it is told to.
  for (int count = 0; count < 1000; ++count) {
    const uint64_t request =
        driver.submit(Driver::write_op(story.target, below(random, 64) * kPiece, pattern(kPiece, random())));
    for (int tries = 0; tries < 50; ++tries) {
      driver.run();
      if (const auto reply = driver.reply_to(request)) {
        REQUIRE(reply->error == 0);
        break;
      }
      REQUIRE(tries < 49);
      driver.now_ns += 100'000'000;
      const std::string table = driver.must("segments", "{}");
      uint64_t best_live = UINT64_MAX;
      std::string best;
      for (size_t at = table.find("{\"first"); at != std::string::npos; at = table.find("{\"first", at + 1)) {
        const std::string one = table.substr(at, table.find('}', at) - at + 1);
        if (field(one, "state") != "sealed" || field(one, "kind") == "index") continue;
        const uint64_t live = std::stoull(field(one, "liveBytes"));
        if (live > 0 && live < best_live) best_live = live, best = field(one, "logical");
      }
      if (!best.empty()) driver.command("clean", "{\"logical\":" + best + "}");
    }
    driver.now_ns += 20'000'000;
  }
  driver.must("audit", "{}");
}

TEST_CASE("a crash at any moment of branching a version that has passed leaves the whole branch or none") {
  for (int moment = 0;; ++moment) {
    CAPTURE(moment);
    REQUIRE(moment < 400);
    Story story;
    Driver& driver = story.driver;
    story.write(0, 1 << 17);
    pause(driver);
    const std::string version = shown_version(driver);
    const std::vector<uint8_t> content = story.model;
    story.write(4096, 1 << 17);
    CHECK(driver.call(Driver::range_op(Kind::flush, story.target, 0, 0)).error == 0);
    Random random(static_cast<uint64_t>(moment));
    driver.core->command({++driver.next_request, "branch", branch_arguments(story.volume, version, 9), {}});
    bool done = false;
    for (int step = 0; step < moment && !done; ++step) {
      driver.turn();
      if (driver.disk.busy()) driver.core->complete(driver.disk.complete(0));
      for (const CommandReply& reply : driver.command_replies) done |= reply.id == driver.next_request;
    }
    driver.core.reset();
    moment % 2 == 0 ? driver.disk.kill(random) : driver.disk.power_cut(random);
    driver.command_replies.clear();
    driver.start();
    REQUIRE(driver.saw_event("ready"));
    story.check_branch(story.volume, story.model);
    const auto found = driver.core->open_export("branch9");
    if (done) REQUIRE(found.has_value());
    if (found) {
      CHECK((driver.read(found->handle, 0, kBytes) == content));
      driver.core->close_export(found->handle);
    }
    driver.must("audit", "{}");
    if (done) break;
  }
}
