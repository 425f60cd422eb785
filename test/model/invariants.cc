// What may never be. Commits are judged where they are made (Model::observe_commit), the rest here, in every state.
//
// For dead ends a search cannot wait: "from every state there is a way to a leader that commits" is shown by going one
// way, with no fault, from every state. Whatever is volatile only gets in the way of that, so it is forgotten first, as if
// every process had crashed; many states are then the same one, and each is tried once.
#include <algorithm>

#include "model.h"

namespace cloudfs::model {

const char* text_of(Violation violation) {
  switch (violation) {
    case kNone:
      return "nothing";
    case kCommitReplaced:
      return "an acknowledged update is lost: two histories were committed, and no restart lies between";
    case kFlushedLost:
      return "a flushed update is lost in a restart";
    case kTwoRecords:
      return "one (epoch, lsn) names two records";
    case kStaleRead:
      return "a primary with a valid lease does not know of a committed update: a stale read";
    case kAppliedTwice:
      return "a request is applied twice";
    case kAnswerUntrue:
      return "a request is answered as applied and is not in the history";
    case kKnownUndone:
      return "a replica undoes an update that it was told is committed";
    case kWitnessUndone:
      return "a witness undoes an update that it was told is committed, and has nothing to go back to";
    case kDeadEnd:
      return "dead end: with all hosts up and no further fault, nobody comes to lead and commit";
    case kMinorityBlocks:
      return "dead end: a majority of every set is up, none recovering, no further fault, and nobody comes "
             "to lead and commit";
  }
  return "?";
}

const char* Model::broken(const State& state) {
  auto violation = static_cast<Violation>(state.violation);
  for (HostId id = 0; configuration_.leases && violation == kNone && id < configuration_.hosts; ++id)
    if (rules_.may_read(state, id) &&
        !histories_.is_prefix(state.committed,
                              histories_.prefix(state.hosts[id].log, state.hosts[id].commit)))
      violation = kStaleRead;
  if (violation == kNone) violation = dead_end(state);
  return violation == kNone ? nullptr : text_of(violation);
}

Violation Model::dead_end(const State& state) {
  State calm = state;
  std::ranges::fill(calm.streams, Stream{});
  calm.writes = calm.elections = calm.crashes = calm.power_cuts = calm.wipes = calm.changes = 0;
  Members up = 0;
  bool are_whole = true;
  for (HostId id = 0; id < configuration_.hosts; ++id) {
    Host& host = calm.hosts[id];
    step_down(host);
    host.asked = 0;
    host.granted = kNoEpoch;
    up = either(up, only(id));
    // An emptied store is a fault that lasts; a dropped replica must not be one.
    are_whole = are_whole && !host.is_recovering && (!host.is_out || configuration_.drops);
  }
  if (!known_alive_.insert(&calm)) return kNone;

  Violation violation = kNone;
  if (!anybody_can_lead(calm, up, violation) && violation == kNone) violation = kDeadEnd;
  auto is_majority = [&](Members hosts) {
    for (HostId id = 0; id < configuration_.hosts; ++id)
      if (!rules_.agree(hosts, calm.hosts[id].log, 0)) return false;
    return true;
  };
  auto is_bare = [&](Members hosts) {
    for (HostId id = 0; id < configuration_.hosts; ++id)
      if (has(hosts, id) && is_majority(except(hosts, only(id)))) return false;
    return true;
  };
  for (Members part = 1; are_whole && violation == kNone && part < up; ++part)
    if (is_majority(part) && is_bare(part) && !anybody_can_lead(calm, part, violation) && violation == kNone)
      violation = kMinorityBlocks;
  return violation;
}

bool Model::anybody_can_lead(const State& calm, Members up, Violation& violation) {
  bool is_alive = false;
  for (HostId id = 0; id < configuration_.hosts; ++id) {
    if (!has(up, id)) continue;
    State state = calm;
    bool can = can_lead(state, id, up, 0, violation);
    if (!can && configuration_.witnesses != 0) {
      // It says that it goes on with fewer data members, at once or when it leads.
      State directly = calm;
      can = can_lead(directly, id, up, both(histories_.set(calm.hosts[id].log), up), violation) ||
            can_lead(state, id, up, both(histories_.set(state.hosts[id].log), up), violation);
    }
    is_alive = is_alive || can;
  }
  return is_alive;
}

bool Model::can_lead(State& state, HostId candidate, Members up, Members change, Violation& violation) {
  auto each_other = [&](auto action) {
    for (HostId id = 0; id < configuration_.hosts; ++id)
      if (id != candidate && has(up, id)) action(id);
  };
  Host& host = state.hosts[candidate];
  Epoch highest = kNoEpoch;
  for (const Host& each : state.hosts) highest = std::max(highest, each.promised);
  auto replicate = [&] {
    const Stream sent = *stream_of(state, host.epoch);
    each_other([&](HostId id) {
      ask_head(state, id, candidate);
      deliver(state, sent, id, histories_.lsn(sent.history));
      receive_answer(state, candidate, id);
      sync(state, id);
      if (configuration_.leases) grant_lease(state, id, candidate);
    });
    sync(state, candidate);
  };

  if (!stand(state, candidate, next_epoch(highest, candidate), change)) return false;
  each_other([&](HostId id) { promise(state, id, candidate, false); });
  if (!adopt(state, candidate)) return false;
  replicate();
  if (!lead(state, candidate)) return false;
  replicate();
  replicate();
  if (!write(state, candidate, static_cast<uint8_t>(histories_.last_request(host.log) + 1))) return false;
  replicate();
  if (state.violation != kNone) {
    violation = static_cast<Violation>(state.violation);
    way_on_ = {candidate, up, state.committed};
  }
  return host.role == Role::kPrimary && host.commit == histories_.lsn(host.log);
}

}  // namespace cloudfs::model
