// A replica whose volume was deleted while its host was away is dropped when it returns.
#include "core_cluster.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

std::string command(Cluster& cluster, size_t index, std::string verb, std::string arguments) {
  Driver& node = cluster.node(index);
  node.command_replies.clear();
  node.core->command({1000, std::move(verb), std::move(arguments), {}});
  cluster.run(50);
  REQUIRE(node.command_replies.size() == 1);
  const CommandReply reply = node.command_replies[0];
  node.command_replies.clear();
  return reply.error_code.empty() ? reply.result : reply.error_code;
}

std::string create_volume(Cluster& cluster) {
  const CreatePayload payload = cluster_create(4u << 20, "disk", 7, Mode::quorum, 3);
  Driver& primary = cluster.node(0);
  primary.core->command({999,
                         "create",
                         "{\"stamp\":\"" + to_hex(ByteSpan(sample_stamp(7))) + "\",\"payload\":\"" +
                             to_hex(ByteSpan(encode_create(payload))) +
                             "\",\"epoch\":{\"counter\":1,\"host\":\"" + to_hex(host_of(0)) + "\"}}",
                         {}});
  cluster.run(5);
  std::string id;
  for (const Event& event : primary.events)
    if (event.name == "volume-created") id = field(event.detail, "volume");
  return id;
}

}  // namespace

TEST_CASE(
    "drop: a replica is gone at once and after a restart, its blocks are freed, the primary's is refused") {
  Random random(1);
  Cluster cluster(3);
  const std::string volume = create_volume(cluster);
  for (size_t index = 1; index < 3; ++index) CHECK(cluster.connect(0, index, volume));
  cluster.run(50);
  const Export disk = cluster.node(0).open(volume);
  for (uint64_t block = 0; block < 64; ++block)
    cluster.node(0).submit(Driver::write_op(disk.handle, block * kBlockBytes, pattern(kBlockBytes, block)));
  cluster.run();
  const std::string argument = "{\"volume\":\"" + volume + "\"}";
  CHECK(command(cluster, 2, "stats", "{}").find("\"liveBytes\":262144") != std::string::npos);
  CHECK(command(cluster, 2, "drop", argument) == "ERR_VOLUME_BUSY");
  CHECK(command(cluster, 0, "drop", argument) == "ERR_IS_PRIMARY");
  cluster.cut(2);
  cluster.run(20);
  CHECK(command(cluster, 2, "drop", argument).front() == '{');
  CHECK(command(cluster, 2, "drop", argument).front() == '{');
  CHECK(command(cluster, 2, "volumes", "{}") == "[]");
  CHECK_FALSE(cluster.connect(0, 2, volume));
  cluster.kill(2, random);
  cluster.start(2);
  cluster.run(50);
  CHECK(command(cluster, 2, "volumes", "{}") == "[]");
  CHECK(command(cluster, 2, "stats", "{}").find("\"liveBytes\":0") != std::string::npos);
  CHECK(command(cluster, 2, "checkpoint", "{}").front() == '{');
  cluster.kill(2, random);
  cluster.start(2);
  cluster.run(50);
  CHECK(command(cluster, 2, "volumes", "{}") == "[]");
}

TEST_CASE("members: the primary tells who is away, who is behind by how much, who is in step") {
  Cluster cluster(3);
  const std::string volume = create_volume(cluster);
  // Not committed yet: shown to those who ask for all.
  CHECK(command(cluster, 0, "volumes", "{}") == "[]");
  CHECK(command(cluster, 0, "volumes", "{\"all\":true}").find("\"established\":false") != std::string::npos);
  for (size_t index = 1; index < 3; ++index) CHECK(cluster.connect(0, index, volume));
  cluster.run(50);
  std::string all = command(cluster, 0, "volumes", "{}");
  CHECK(all.find("\"state\":\"away\"") == std::string::npos);
  CHECK(all.find("\"behindBytes\":0") != std::string::npos);
  cluster.cut(2);
  const Export disk = cluster.node(0).open(volume);
  for (uint64_t block = 0; block < 64; ++block)
    cluster.node(0).submit(Driver::write_op(disk.handle, block * kBlockBytes, pattern(kBlockBytes, block)));
  cluster.run();
  all = command(cluster, 0, "volumes", "{}");
  CHECK(all.find("\"state\":\"away\"") != std::string::npos);
  CHECK(all.find("\"state\":\"in-step\"") != std::string::npos);
  const size_t at = all.rfind("\"behindBytes\":", all.find("\"away\"")) + 14;
  const double bytes = std::stod(all.substr(at));
  CHECK(bytes > 63 * kBlockBytes);
  CHECK(bytes < 2 * 64 * kBlockBytes);
}

TEST_CASE(
    "drop: a primary that starts again in the midst of a deletion finishes it with followers that have it") {
  Random random(2);
  Cluster cluster(3);
  const std::string volume = create_volume(cluster);
  for (size_t index = 1; index < 3; ++index) CHECK(cluster.connect(0, index, volume));
  cluster.run(50);
  CHECK(command(cluster, 0, "delete", "{\"volume\":\"" + volume + "\"}").front() == '{');
  cluster.run();
  cluster.kill(0, random);
  cluster.start(0);
  cluster.run(50);
  // It knows of the deletion, but not that others have it.
  CHECK(command(cluster, 0, "volumes", "{\"all\":true}").find("\"deletionCommitted\":false") !=
        std::string::npos);
  CHECK(cluster.connect(0, 1, volume));
  cluster.run();
  CHECK(command(cluster, 0, "volumes", "{\"all\":true}").find("\"deletionCommitted\":true") !=
        std::string::npos);
}
