// Replicas of branches, wherever their parent's replica stands: one story a test.
#include "cluster_story.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

constexpr uint64_t kBytes = 256 * kBlockBytes;

/// Starts a branch of `from` at node 0. @returns its id; nobody follows it yet
std::string start_branch(Cluster& cluster, const std::string& from) {
  const CreatePayload payload = cluster_create(0, "branch", 9, Mode::quorum, 3);
  const Stamp stamp = sample_stamp(9);
  Driver& primary = cluster.node(0);
  primary.events.clear();
  primary.core->command({999,
                         "branch",
                         "{\"from\":\"" + from + "\",\"stamp\":\"" + to_hex(ByteSpan(stamp)) +
                             "\",\"payload\":\"" + to_hex(ByteSpan(encode_create(payload))) +
                             "\",\"epoch\":{\"counter\":1,\"host\":\"" + to_hex(host_of(0)) + "\"}}",
                         {}});
  cluster.run(5);
  std::string id;
  for (const Event& event : primary.events)
    if (event.name == "volume-created") id = field(event.detail, "volume");
  REQUIRE(!id.empty());
  return id;
}

void write_some(Cluster& cluster, const std::string& name, uint64_t seed) {
  const Export disk = cluster.node(0).open(name);
  for (uint64_t count = 0; count < 64; ++count)
    cluster.node(0).submit(Driver::write_op(disk.handle, (seed * 7 + count) % 256 * kBlockBytes,
                                            pattern(kBlockBytes, seed + count)));
  cluster.run(20);
  cluster.node(0).core->close_export(disk.handle);
}

void check_story(Cluster& cluster, const std::string& parent, const std::string& branch) {
  write_some(cluster, branch, 500);
  write_some(cluster, parent, 600);
  cluster.run(300);
  for (const std::string& volume : {parent, branch}) {
    check_equal(cluster, volume);
    check_content_equal(cluster, volume);
  }
  check_audits(cluster);
  // And over a crash of each.
  Random random(3);
  for (size_t index = 0; index < 3; ++index) {
    cluster.kill(index, random);
    cluster.start(index);
    for (const size_t follower : {1u, 2u}) {
      cluster.cut(follower);
      for (const std::string& volume : {parent, branch}) CHECK(cluster.connect(0, follower, volume));
    }
    cluster.run(200);
  }
  write_some(cluster, branch, 700);
  cluster.run(300);
  for (const std::string& volume : {parent, branch}) {
    check_equal(cluster, volume);
    check_content_equal(cluster, volume);
  }
  check_audits(cluster);
}

struct Story {
  Cluster cluster{3};
  std::string parent;
  Story() : parent(create_volume(cluster, Mode::quorum, 3, kBytes)) {
    write_some(cluster, parent, 1);
    cluster.run(200);
  }
  void follow(const std::string& volume) {
    for (const size_t follower : {1u, 2u}) CHECK(cluster.connect(0, follower, volume));
    cluster.run(200);
  }
};

}  // namespace

TEST_CASE("branches: where the parent's replica stands at the version, the branch shares its blocks") {
  Story story;
  const uint64_t sent = story.cluster.sent_bytes;
  const std::string branch = start_branch(story.cluster, story.parent);
  story.follow(branch);
  CHECK(story.cluster.sent_bytes - sent < 10000);
  check_story(story.cluster, story.parent, branch);
}

TEST_CASE("branches: where the parent's replica passed the version, the branch's content is sent") {
  Story story;
  const std::string branch = start_branch(story.cluster, story.parent);
  write_some(story.cluster, story.parent, 100);
  story.cluster.run(200);
  story.follow(branch);
  check_story(story.cluster, story.parent, branch);
}

TEST_CASE("branches: of a snapshot they share its blocks, however far the parent went on") {
  Story story;
  CHECK(command_at(story.cluster, 0, "snapshot", "{\"volume\":\"" + story.parent + "\",\"name\":\"base\"}")
            .error_code.empty());
  write_some(story.cluster, story.parent, 100);
  story.cluster.run(200);
  const uint64_t sent = story.cluster.sent_bytes;
  const std::string branch = start_branch(story.cluster, story.parent + "@base");
  story.follow(branch);
  CHECK(story.cluster.sent_bytes - sent < 10000);
  check_story(story.cluster, story.parent, branch);
}

TEST_CASE("branches: where the parent's replica is behind and comes, the branch waits for it") {
  Story story;
  story.cluster.cut(2);
  write_some(story.cluster, story.parent, 100);
  const std::string branch = start_branch(story.cluster, story.parent);
  CHECK(story.cluster.connect(0, 1, branch));
  // The branch's stream first: its record comes while the parent is behind.
  CHECK(story.cluster.connect(0, 2, story.parent));
  CHECK(story.cluster.connect(0, 2, branch));
  story.cluster.run(200);
  check_story(story.cluster, story.parent, branch);
}

TEST_CASE("branches: where the parent's replica is away, the branch's content is sent") {
  Story story;
  story.cluster.cut(2);
  write_some(story.cluster, story.parent, 100);
  const std::string branch = start_branch(story.cluster, story.parent);
  story.follow(branch);
  check_equal(story.cluster, branch);
  CHECK(story.cluster.connect(0, 2, story.parent));
  check_story(story.cluster, story.parent, branch);
}

TEST_CASE("branches: a host that never had the parent gets the branch's content") {
  Story story;
  story.cluster.cut(2);
  story.cluster.replace(2, small_params());
  const std::string branch = start_branch(story.cluster, story.parent);
  story.follow(branch);
  check_equal(story.cluster, branch);
  check_content_equal(story.cluster, branch);
  CHECK(story.cluster.connect(0, 2, story.parent));
  check_story(story.cluster, story.parent, branch);
}
