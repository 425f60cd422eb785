// Several cores on simulated disks, their streams joined by a simulated network: for stories of replication.
#pragma once

#include <deque>
#include <map>

#include "core_driver.h"

namespace cloudfs::test {

inline HostId host_of(size_t index) {
  HostId host;
  host.bytes.fill(static_cast<uint8_t>(0x10 + index));
  return host;
}
inline StoreId store_of(size_t index) {
  StoreId store;
  store.bytes.fill(static_cast<uint8_t>(0x50 + index));
  return store;
}

/// A volume whose members are the first `members` nodes, the first of them its primary.
inline CreatePayload cluster_create(uint64_t size_bytes, std::string name, uint8_t seed, Mode mode,
                                    size_t members) {
  CreatePayload payload = sample_create(size_bytes, std::move(name), seed, mode);
  payload.view.primary = host_of(0);
  payload.view.members.clear();
  for (size_t index = 0; index < members; ++index) {
    ViewMember member;
    member.host = host_of(index);
    member.store = store_of(index);
    payload.view.members.push_back(member);
  }
  return payload;
}

class Cluster {
 public:
  explicit Cluster(size_t nodes, const CoreParams& params = small_params()) {
    for (size_t index = 0; index < nodes; ++index) {
      nodes_.push_back(std::make_unique<Driver>(params));
      Driver& node = *nodes_.back();
      node.core = std::make_unique<Core>(params);
      node.core->format({store_of(index), host_of(index), 1}, node.now_ns);
      node.run();
      CHECK(node.saw_event("ready"));
    }
  }

  Driver& node(size_t index) { return *nodes_[index]; }
  size_t size() const { return nodes_.size(); }
  bool up(size_t index) const { return nodes_[index]->core != nullptr; }

  /// The follower's engine connects to the leader's, which lets it in as itself. @returns false if either refuses
  bool connect(size_t leader, size_t follower, const std::string& volume) {
    const auto id = parse_id<VolumeId>(volume);
    REQUIRE(id.has_value());
    std::string refusal;
    Wire wire{leader, follower, 0, 0, {}, {}};
    wire.at_leader = node(leader).core->open_stream(StreamRole::leader, *id, refusal, host_of(follower));
    if (wire.at_leader == 0) return false;
    wire.at_follower = node(follower).core->open_stream(StreamRole::follower, *id, refusal);
    if (wire.at_follower == 0) {
      node(leader).core->stream_closed(wire.at_leader);
      return false;
    }
    wires_.push_back(std::move(wire));
    return true;
  }
  void cut(size_t follower) {
    for (size_t index = 0; index < wires_.size();)
      if (wires_[index].follower == follower) {
        drop(index);
      } else {
        ++index;
      }
  }
  /// Ends the stream that was opened first.
  void cut_first() { drop(0); }
  void kill(size_t index, Random& random, bool power = false) {
    for (size_t wire = 0; wire < wires_.size();)
      if (wires_[wire].leader == index || wires_[wire].follower == index) {
        drop(wire, index);
      } else {
        ++wire;
      }
    node(index).core.reset();
    power ? node(index).disk.power_cut(random) : node(index).disk.kill(random);
  }
  void start(size_t index) { node(index).start(); }
  /// As the disks are, for load().
  std::vector<SimDisk> save() const {
    std::vector<SimDisk> disks;
    for (const auto& one : nodes_) disks.push_back(one->disk);
    return disks;
  }
  /// Every node ends and starts on a disk that was saved.
  void load(const std::vector<SimDisk>& disks) {
    wires_.clear();
    closing_.clear();
    for (size_t index = 0; index < size(); ++index) {
      node(index).core.reset();
      node(index).disk = disks[index];
      node(index).replies.clear();
      node(index).command_replies.clear();
      start(index);
    }
  }
  /// Completes one effect of each disk.
  void step_disks() {
    for (size_t index = 0; index < size(); ++index)
      if (up(index) && node(index).disk.busy()) node(index).core->complete(node(index).disk.complete(0));
  }
  /// An empty store of the same identity in the place of this one.
  void replace(size_t index, const CoreParams& params) {
    const uint64_t now_ns = node(index).now_ns;
    nodes_[index] = std::make_unique<Driver>(params);
    Driver& fresh = node(index);
    fresh.now_ns = now_ns;
    fresh.core = std::make_unique<Core>(params);
    fresh.core->format({store_of(index), host_of(index), 1}, fresh.now_ns);
    fresh.run();
  }

  /// One turn of every node; what they send is on the wires.
  void turn() {
    for (size_t index = 0; index < size(); ++index) {
      if (!up(index)) continue;
      Driver& one = node(index);
      one.now_ns += 1'000'000;
      Effects effects = one.core->turn(one.now_ns);
      one.disk.issue(std::move(effects.io));
      for (Reply& reply : effects.replies) one.replies.push_back(std::move(reply));
      for (Event& event : effects.events) one.events.push_back(std::move(event));
      for (CommandReply& reply : one.core->take_command_replies())
        one.command_replies.push_back(std::move(reply));
      for (StreamSend& send : effects.sends) {
        size_t bytes = 0;
        for (const Slice& slice : send.slices) {
          bytes += slice.size;
          if (Wire* wire = wire_of(index, send.stream); wire != nullptr) {
            std::deque<uint8_t>& queue = index == wire->leader ? wire->to_follower : wire->to_leader;
            queue.insert(queue.end(), slice.data, slice.data + slice.size);
          }
        }
        sent_bytes += bytes;
        one.core->stream_sent(send.stream, bytes);
      }
      for (const uint64_t stream : effects.closes) closing_.push_back({index, stream});
    }
  }
  /// Delivers up to `bytes` of each wire's direction.
  void deliver(size_t bytes) {
    for (Wire& wire : wires_) {
      pass(wire.to_follower, *node(wire.follower).core, wire.at_follower, bytes);
      pass(wire.to_leader, *node(wire.leader).core, wire.at_leader, bytes);
    }
    for (const auto& [index, stream] : std::exchange(closing_, {})) {
      for (size_t wire = 0; wire < wires_.size(); ++wire) {
        const bool leader = wires_[wire].leader == index && wires_[wire].at_leader == stream;
        const bool follower = wires_[wire].follower == index && wires_[wire].at_follower == stream;
        if (!leader && !follower) continue;
        // What was sent before the close still arrives.
        if (leader)
          pass(wires_[wire].to_follower, *node(wires_[wire].follower).core, wires_[wire].at_follower,
               SIZE_MAX);
        if (follower)
          pass(wires_[wire].to_leader, *node(wires_[wire].leader).core, wires_[wire].at_leader, SIZE_MAX);
        refusals_[wires_[wire].follower] = node(index).core->stream_refusal(stream).code;
        drop(wire);
        break;
      }
    }
  }
  void settle_disks() {
    for (size_t index = 0; index < size(); ++index)
      while (up(index) && node(index).disk.busy()) node(index).core->complete(node(index).disk.complete(0));
  }
  /// Until nothing is under way for a while, all timers run out included.
  void run(int turns = 400) {
    for (int count = 0; count < turns; ++count) {
      turn();
      deliver(SIZE_MAX);
      settle_disks();
    }
  }

  /// Nothing is on a wire or at a disk.
  bool quiet() const {
    return std::all_of(wires_.begin(), wires_.end(),
                       [](const Wire& wire) { return wire.to_follower.empty() && wire.to_leader.empty(); }) &&
           std::none_of(nodes_.begin(), nodes_.end(), [](const auto& one) { return one->disk.busy(); });
  }
  size_t wires() const { return wires_.size(); }
  /// Why either side has ended the node's last stream as a follower, a code; or empty.
  std::string refusal(size_t follower) const {
    const auto at = refusals_.find(follower);
    return at == refusals_.end() ? "" : at->second;
  }
  uint64_t sent_bytes = 0;

 private:
  struct Wire {
    size_t leader = 0;
    size_t follower = 0;
    uint64_t at_leader = 0;
    uint64_t at_follower = 0;
    std::deque<uint8_t> to_follower;
    std::deque<uint8_t> to_leader;
  };

  Wire* wire_of(size_t index, uint64_t stream) {
    for (Wire& wire : wires_)
      if ((wire.leader == index && wire.at_leader == stream) ||
          (wire.follower == index && wire.at_follower == stream))
        return &wire;
    return nullptr;
  }
  static void pass(std::deque<uint8_t>& queue, Core& core, uint64_t stream, size_t most) {
    while (!queue.empty() && most > 0) {
      const ReceiveWindow window = core.stream_receive_target(stream);
      if (window.bytes == 0) return;
      const size_t count = std::min({window.bytes, queue.size(), most});
      std::copy(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(count), window.data);
      queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(count));
      core.stream_received(stream, count);
      most -= count;
    }
  }
  void drop(size_t index, size_t dead = SIZE_MAX) {
    const Wire wire = std::move(wires_[index]);
    wires_.erase(wires_.begin() + static_cast<std::ptrdiff_t>(index));
    if (wire.leader != dead && up(wire.leader)) node(wire.leader).core->stream_closed(wire.at_leader);
    if (wire.follower != dead && up(wire.follower)) node(wire.follower).core->stream_closed(wire.at_follower);
  }

  std::vector<std::unique_ptr<Driver>> nodes_;
  std::deque<Wire> wires_;
  std::vector<std::pair<size_t, uint64_t>> closing_;
  std::map<size_t, std::string> refusals_;
};

}  // namespace cloudfs::test
