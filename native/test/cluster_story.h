// What stories of replication have in common: a volume of three copies, and how its replicas are held against each other.
#pragma once

#include <nlohmann/json.hpp>

#include "core_cluster.h"

namespace cloudfs::test {

constexpr uint64_t kVolumeBytes = 4u << 20;

/// Starts a creation at node 0 and follows it from the others. @returns the volume
inline std::string create_volume(Cluster& cluster, Mode mode, size_t members = 3,
                                 uint64_t bytes = kVolumeBytes, size_t present = SIZE_MAX,
                                 bool with_witness = false) {
  CreatePayload payload = cluster_create(bytes, "disk", 7, mode, members);
  if (with_witness) payload.view.members.back().role = MemberRole::witness;
  const Stamp stamp = sample_stamp(7);
  Driver& primary = cluster.node(0);
  primary.core->command({999,
                         "create",
                         "{\"stamp\":\"" + to_hex(ByteSpan(stamp)) + "\",\"payload\":\"" +
                             to_hex(ByteSpan(encode_create(payload))) +
                             "\",\"epoch\":{\"counter\":1,\"host\":\"" + to_hex(host_of(0)) + "\"}}",
                         {}});
  cluster.run(5);
  std::string id;
  for (const Event& event : primary.events)
    if (event.name == "volume-created") id = field(event.detail, "volume");
  REQUIRE(!id.empty());
  // Alone it has no majority: the creation is not answered.
  CHECK(primary.command_replies.empty() == (mode != Mode::local && members > 1));
  for (size_t index = 1; index < std::min(members, present); ++index) CHECK(cluster.connect(0, index, id));
  cluster.run(50);
  REQUIRE(primary.command_replies.size() == 1);
  CHECK(primary.command_replies[0].error_code.empty());
  primary.command_replies.clear();
  return id;
}

inline std::string head_of(Cluster& cluster, size_t index, const std::string& volume) {
  Driver& node = cluster.node(index);
  node.core->command({1000, "volumes", "{}", {}});
  cluster.run(2);
  std::string result;
  for (const CommandReply& reply : node.command_replies)
    if (reply.id == 1000) result = reply.result;
  node.command_replies.clear();
  for (const auto& one : nlohmann::json::parse(result))
    if (one["volume"] == volume) return one["version"];
  return "";
}

inline void check_equal(Cluster& cluster, const std::string& volume, size_t members = 3) {
  const std::string head = head_of(cluster, 0, volume);
  CHECK(!head.empty());
  for (size_t index = 1; index < members; ++index) {
    CAPTURE(index);
    CHECK(head_of(cluster, index, volume) == head);
  }
}

/// All bytes of a replica, as that host reads them.
inline std::vector<uint8_t> content_of(Cluster& cluster, size_t index, const std::string& name) {
  Driver& node = cluster.node(index);
  auto disk = node.core->open_export(name);
  if (!disk) disk = node.core->open_export("replica:" + name);
  REQUIRE(disk.has_value());
  const uint64_t request =
      node.submit(Driver::range_op(ClientOp::Kind::read, disk->handle, 0, disk->size_bytes));
  std::optional<Reply> reply;
  for (int turn = 0; turn < 1000 && !reply; ++turn) {
    cluster.run(1);
    reply = node.reply_to(request);
  }
  node.core->close_export(disk->handle);
  REQUIRE(reply.has_value());
  CHECK(reply->error == 0);
  return Driver::bytes_of(*reply);
}

/// Every replica has the same bytes, and no store lost count of its space.
inline void check_content_equal(Cluster& cluster, const std::string& name, size_t members = 3) {
  const std::vector<uint8_t> wanted = content_of(cluster, 0, name);
  for (size_t index = 1; index < members; ++index) {
    CAPTURE(index);
    CHECK((content_of(cluster, index, name) == wanted));
  }
}

/// A command, while the whole cluster goes on.
inline CommandReply command_at(Cluster& cluster, size_t index, const std::string& verb,
                               const std::string& arguments) {
  Driver& node = cluster.node(index);
  const uint64_t id = ++node.next_request;
  node.core->command({id, verb, arguments, {}});
  for (int turn = 0; turn < 2000; ++turn) {
    cluster.run(1);
    for (size_t at = 0; at < node.command_replies.size(); ++at) {
      if (node.command_replies[at].id != id) continue;
      CommandReply reply = std::move(node.command_replies[at]);
      node.command_replies.erase(node.command_replies.begin() + static_cast<std::ptrdiff_t>(at));
      return reply;
    }
  }
  FAIL("a command was not answered: " << verb);
  return {};
}

inline void check_audits(Cluster& cluster) {
  for (size_t index = 0; index < cluster.size(); ++index) {
    if (!cluster.up(index)) continue;
    CAPTURE(index);
    const CommandReply reply = command_at(cluster, index, "audit", "{}");
    INFO(reply.message);
    CHECK(reply.error_code.empty());
  }
}

}  // namespace cloudfs::test
