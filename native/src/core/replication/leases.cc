#include "core/replication/leases.h"

#include <algorithm>

namespace cloudfs {

namespace {

// What two clocks may differ in over a lease: one part in 64.
constexpr uint64_t kDriftParts = 64;

}  // namespace

// --- Holding ------------------------------------------------------------------------------------------------------

void Leases::led(StreamId stream, const StoreId& follower, const Epoch& epoch) {
  led_[stream] = follower;
  granters_[follower].streams[stream] = epoch;
}

void Leases::left(StreamId stream) {
  const auto at = led_.find(stream);
  if (at == led_.end()) return;
  // What it granted runs on: its word was for a time, not for a connection.
  Granter& granter = granters_.at(at->second);
  granter.streams.erase(stream);
  if (granter.asked_on == stream) granter.asked_on = 0;
  led_.erase(at);
}

void Leases::ask(Granter& granter, uint64_t now_ns) {
  const auto& [stream, epoch] = *granter.streams.begin();
  granter.asked_ns = now_ns;
  granter.asked_on = stream;
  granter.is_hurried = false;
  streams_.send(stream, encode_lease_ask(epoch, {now_ns}));
}

void Leases::ask_soon(const StoreId& store) {
  if (const auto at = granters_.find(store); at != granters_.end()) at->second.is_hurried = true;
}

void Leases::on_grant(StreamId stream, const LeaseGrantFrame& grant) {
  const auto at = led_.find(stream);
  if (at == led_.end()) return;
  Granter& granter = granters_.at(at->second);
  // One from the future was never asked for.
  if (grant.asked_ns > granter.asked_ns || grant.asked_ns < granter.answered_ns) return;
  if (grant.asked_ns == granter.asked_ns) granter.asked_on = 0;
  granter.answered_ns = grant.asked_ns;
  if (grant.is_whole) granter.granted.clear();
  for (const LeaseChange& change : grant.changes) {
    if (change.granted) {
      granter.granted[change.volume] = change.epoch;
    } else {
      granter.granted.erase(change.volume);
    }
  }
  const StoreId store = at->second;
  host_.on_leases_moved(store);
}

uint64_t Leases::held_until(const StoreId& store, const VolumeId& volume, const Epoch& epoch,
                            uint64_t lease_ns) const {
  const auto granter = granters_.find(store);
  if (granter == granters_.end()) return 0;
  const auto granted = granter->second.granted.find(volume);
  if (granted == granter->second.granted.end() || granted->second != epoch) return 0;
  return granter->second.answered_ns + lease_ns - lease_ns / kDriftParts;
}

// --- Granting -----------------------------------------------------------------------------------------------------

void Leases::followed(StreamId stream, const VolumeId& volume, const StoreId& leader, const Epoch& epoch) {
  follows_[stream] = {volume, leader, epoch, false, {}};
  by_leader_[leader].insert(stream);
}

void Leases::unfollowed(StreamId stream) {
  const auto at = follows_.find(stream);
  if (at == follows_.end()) return;
  std::set<StreamId>& streams = by_leader_.at(at->second.leader);
  streams.erase(stream);
  if (streams.empty()) by_leader_.erase(at->second.leader);
  follows_.erase(at);
}

void Leases::on_ask(StreamId stream, const LeaseAskFrame& ask, uint64_t now_ns) {
  const auto at = follows_.find(stream);
  if (at == follows_.end()) return;
  Follow& carrier = at->second;
  std::unordered_map<VolumeId, Epoch> granted;
  for (const StreamId one : by_leader_.at(carrier.leader)) {
    const Follow& follow = follows_.at(one);
    if (host_.may_grant(follow.volume, follow.epoch)) granted[follow.volume] = follow.epoch;
  }
  LeaseGrantFrame grant{ask.asked_ns, !std::exchange(carrier.is_told, true), {}};
  for (const auto& [volume, epoch] : granted) {
    const auto told = carrier.told.find(volume);
    if (told == carrier.told.end() || told->second != epoch) grant.changes.push_back({volume, epoch, true});
    Grant& one = grants_[volume];
    one = {epoch, now_ns + host_.lease_ns(volume)};
    grants_end_ns_ = std::min(grants_end_ns_, one.until_ns);
  }
  for (const auto& [volume, epoch] : carrier.told)
    if (!granted.contains(volume)) grant.changes.push_back({volume, epoch, false});
  carrier.told = std::move(granted);
  streams_.send(stream, encode_lease_grant(carrier.epoch, grant));
}

void Leases::assume_granted(const VolumeId& volume, const Epoch& epoch, uint64_t until_ns) {
  grants_[volume] = {epoch, until_ns};
  grants_end_ns_ = std::min(grants_end_ns_, until_ns);
}

std::optional<Leases::Grant> Leases::granted(const VolumeId& volume, uint64_t now_ns) const {
  const auto at = grants_.find(volume);
  if (at == grants_.end() || at->second.until_ns <= now_ns) return std::nullopt;
  return at->second;
}

// --- Time ---------------------------------------------------------------------------------------------------------

void Leases::turn(uint64_t now_ns) {
  for (auto& [store, granter] : granters_) {
    if (granter.streams.empty()) continue;
    const bool due = granter.asked_ns == 0 || now_ns - granter.asked_ns >= kLeaseAskNs ||
                     (granter.is_hurried && granter.asked_on == 0);
    if (due) ask(granter, now_ns);
  }
  if (now_ns < grants_end_ns_) return;
  std::vector<VolumeId> over;
  grants_end_ns_ = UINT64_MAX;
  for (auto at = grants_.begin(); at != grants_.end();) {
    if (at->second.until_ns <= now_ns) {
      over.push_back(at->first);
      at = grants_.erase(at);
    } else {
      grants_end_ns_ = std::min(grants_end_ns_, at->second.until_ns);
      ++at;
    }
  }
  if (!over.empty()) host_.on_grants_over(over);
}

std::optional<uint64_t> Leases::next_deadline_ns() const {
  std::optional<uint64_t> deadline;
  const auto at_latest = [&](uint64_t when) { deadline = deadline ? std::min(*deadline, when) : when; };
  for (const auto& [store, granter] : granters_)
    if (!granter.streams.empty())
      at_latest(granter.is_hurried && granter.asked_on == 0 ? granter.asked_ns
                                                            : granter.asked_ns + kLeaseAskNs);
  if (grants_end_ns_ != UINT64_MAX) at_latest(grants_end_ns_);
  return deadline;
}

}  // namespace cloudfs
