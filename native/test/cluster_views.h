// Elections told step by step, as TypeScript would hold them (docs/protocol.md).
#pragma once

#include <functional>

#include "cluster_story.h"
#include "core/format/chain.h"

namespace cloudfs::test {

inline CoreParams views_params() {
  CoreParams params = small_params();
  params.elections = true;
  return params;
}

inline nlohmann::json epoch_of(uint64_t counter, size_t host) {
  return {{"counter", counter}, {"host", to_hex(host_of(host))}};
}

/// The stamp of the views that stories make, by the counter of their epoch; that of the creation is the sample's.
inline Stamp stamp_of(uint64_t counter) {
  return sample_stamp(static_cast<uint8_t>(counter == 1 ? 7 : 100 + counter));
}

inline CommandReply ask_promise(Cluster& cluster, size_t index, const std::string& volume,
                                const nlohmann::json& epoch, const std::string& verb = "promise",
                                const nlohmann::json& resigned = {}) {
  nlohmann::json arguments{{"volume", volume}, {"epoch", epoch}};
  if (!resigned.is_null()) arguments["resigned"] = resigned;
  return command_at(cluster, index, verb, arguments.dump());
}

/// The promise, once no lease keeps the replica from it.
inline nlohmann::json must_promise(Cluster& cluster, size_t index, const std::string& volume,
                                   const nlohmann::json& epoch, const nlohmann::json& resigned = {}) {
  CommandReply reply = ask_promise(cluster, index, volume, epoch, "promise", resigned);
  if (reply.error_code == "ERR_LEASE_RUNS") {
    cluster.run(nlohmann::json::parse(reply.result)["remainingMs"].get<int>() + 1);
    reply = ask_promise(cluster, index, volume, epoch, "promise", resigned);
  }
  INFO(reply.error_code << " " << reply.message);
  REQUIRE(reply.error_code.empty());
  return nlohmann::json::parse(reply.result);
}

/// E3
inline bool is_more_advanced(const nlohmann::json& a, const nlohmann::json& b) {
  const auto key = [](const nlohmann::json& head) {
    return std::make_tuple(head["epoch"]["counter"].get<uint64_t>(), head["epoch"]["host"].get<std::string>(),
                           head["lsn"].get<uint64_t>());
  };
  return key(a) > key(b);
}

/// The most advanced head that the hosts promise for the epoch, and the view it is of.
struct Election {
  size_t candidate = 0;
  uint64_t counter = 0;
  nlohmann::json head;
  std::string view;
};

inline Election stand(Cluster& cluster, const std::string& volume, size_t candidate, uint64_t counter,
                      const std::vector<size_t>& voters, const nlohmann::json& resigned = {}) {
  Election out{candidate, counter, {}, {}};
  std::vector<size_t> all{candidate};
  all.insert(all.end(), voters.begin(), voters.end());
  for (const size_t index : all) {
    const nlohmann::json told = must_promise(cluster, index, volume, epoch_of(counter, candidate), resigned);
    if (!out.head.is_null() && !is_more_advanced(told["head"], out.head)) continue;
    out.head = told["head"];
    out.view = told["views"].back()["payload"];
  }
  return out;
}

inline CommandReply ask_lead(Cluster& cluster, const std::string& volume, const Election& election,
                             Lsn known = 0) {
  return command_at(cluster, election.candidate, "lead",
                    nlohmann::json{{"volume", volume},
                                   {"epoch", epoch_of(election.counter, election.candidate)},
                                   {"stamp", to_hex(ByteSpan(stamp_of(election.counter)))},
                                   {"head", election.head},
                                   {"knownLsn", known}}
                        .dump());
}

using Change = std::function<void(std::vector<ViewMember>&)>;

inline std::string begin_view_arguments(const std::string& volume, const Election& election,
                                        const Stamp& old_stamp, const Change& change = {}) {
  ViewPayload view = *decode_view(*parse_hex(election.view));
  if (change) change(view.members);
  view.primary = host_of(election.candidate);
  view.stamp_hash = stamp_hash(stamp_of(election.counter));
  view.old_stamp = old_stamp;
  return nlohmann::json{{"volume", volume},
                        {"epoch", epoch_of(election.counter, election.candidate)},
                        {"oldStamp", to_hex(ByteSpan(old_stamp))},
                        {"payload", to_hex(ByteSpan(encode_view(view)))}}
      .dump();
}

inline CommandReply ask_begin_view(Cluster& cluster, const std::string& volume, const Election& election,
                                   const Stamp& old_stamp, const Change& change = {}) {
  return command_at(cluster, election.candidate, "begin-view",
                    begin_view_arguments(volume, election, old_stamp, change));
}

inline size_t count_events(Cluster& cluster, size_t index, const std::string& name) {
  size_t count = 0;
  for (const Event& event : cluster.node(index).events)
    if (event.name == name) ++count;
  return count;
}

/// From promises to the record of the new view. The voters follow the candidate from then on.
inline void begin_elected(Cluster& cluster, const std::string& volume, size_t candidate, uint64_t counter,
                          const std::vector<size_t>& voters, const Change& change = {},
                          const nlohmann::json& resigned = {}) {
  const Election election = stand(cluster, volume, candidate, counter, voters, resigned);
  const CommandReply lead = ask_lead(cluster, volume, election);
  INFO(lead.error_code << " " << lead.message);
  REQUIRE(lead.error_code.empty());
  for (const size_t voter : voters) CHECK(cluster.connect(candidate, voter, volume));
  cluster.run(50);
  const CommandReply view = ask_begin_view(
      cluster, volume, election, stamp_of(election.head["epoch"]["counter"].get<uint64_t>()), change);
  INFO(view.error_code << " " << view.message);
  REQUIRE(view.error_code.empty());
}

/// And on to the first commit of the new view.
inline void elect(Cluster& cluster, const std::string& volume, size_t candidate, uint64_t counter,
                  const std::vector<size_t>& voters, const nlohmann::json& resigned = {},
                  const Change& change = {}) {
  const size_t led = count_events(cluster, candidate, "leading");
  begin_elected(cluster, volume, candidate, counter, voters, change, resigned);
  cluster.run(150);
  CHECK(count_events(cluster, candidate, "leading") == led + 1);
}

/// Hands the volume over. @returns the epoch given up
inline nlohmann::json must_resign(Cluster& cluster, size_t index, const std::string& volume) {
  const CommandReply reply = command_at(cluster, index, "resign", nlohmann::json{{"volume", volume}}.dump());
  INFO(reply.error_code << " " << reply.message);
  REQUIRE(reply.error_code.empty());
  return nlohmann::json::parse(reply.result)["epoch"];
}

/// A write, and whether it has been acknowledged once nothing is under way any more.
inline std::optional<int> try_write(Cluster& cluster, size_t index, uint64_t target, uint64_t block,
                                    uint64_t seed) {
  const uint64_t request =
      cluster.node(index).submit(Driver::write_op(target, block * kBlockBytes, pattern(kBlockBytes, seed)));
  cluster.run(30);
  const auto reply = cluster.node(index).reply_to(request);
  return reply ? std::optional<int>(reply->error) : std::nullopt;
}

inline bool holds(Cluster& cluster, size_t index, const std::string& volume, uint64_t block, uint64_t seed) {
  const std::vector<uint8_t> bytes = content_of(cluster, index, volume);
  const std::vector<uint8_t> wanted = pattern(kBlockBytes, seed);
  return std::equal(wanted.begin(), wanted.end(),
                    bytes.begin() + static_cast<std::ptrdiff_t>(block * kBlockBytes));
}

}  // namespace cloudfs::test
