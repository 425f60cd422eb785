#include "rules.h"

#include <algorithm>

namespace cloudfs::model {

// --- Sets

template <class Each>
bool Rules::every_set(HistoryId history, Lsn known, Each each) const {
  if (configuration_.sets.empty()) return each(configuration_.set);
  for (HistoryId at = history; at != kEmptyHistory; at = histories_.parent(at)) {
    if (!histories_.record(at).is_view) continue;
    if (!each(histories_.record(at).set)) return false;
    if (histories_.lsn(at) <= known || !hold(Rule::kM1Joint)) return true;
  }
  return true;
}

bool Rules::agree(Members members, HistoryId history, Lsn known) const {
  return every_set(history, known, [&](Members set) { return majority(members, set); });
}

bool Rules::is_invited(const State& state, HostId host) const {
  if (state.hosts[host].is_out) return false;
  return has(configuration_.set, host) ||
         std::ranges::any_of(configuration_.sets, [&](Members set) { return has(set, host); });
}

// --- Promises

bool Rules::may_stand(const State& state, HostId id) const {
  const Host& host = state.hosts[id];
  if (host.is_out || host.log == kEmptyHistory) return false;
  if (hold(Rule::kW2) && has(configuration_.witnesses, id)) return false;
  bool is_member = false;
  every_set(host.log, host.known, [&](Members set) {
    is_member = is_member || has(set, id);
    return true;
  });
  return is_member;
}

bool Rules::may_change(const State& state, HostId id, Members target) const {
  const Host& host = state.hosts[id];
  const Members set = histories_.set(host.log);
  const bool is_degraded = degrades(set, target);
  // W4: who cannot lead without the member that is gone has to be allowed to say so before it leads.
  const bool may_ask = leads(host) || (is_degraded && hold(Rule::kW4));
  if (!may_ask || target == set || !has(target, id)) return false;
  // One change at a time: the last one is known committed.
  if (hold(Rule::kM1One) && !is_degraded &&
      !every_set(host.log, host.known, [&](Members each) { return each == set; }))
    return false;
  // Learner first: who joins has what the primary has.
  for (HostId joins = 0; joins < configuration_.hosts; ++joins)
    if (has(except(target, set), joins) && hold(Rule::kM1Learner) &&
        host.appended[joins] < histories_.lsn(host.log))
      return false;
  return true;
}

bool Rules::lease_is_over(const State& state, const Host& host, Epoch epoch) const {
  if (!configuration_.leases || !hold(Rule::kE2) || host.granted == kNoEpoch) return true;
  if (host.granted < host.promised || maker_of(host.granted) == maker_of(epoch)) return true;
  return std::ranges::any_of(state.streams, [&](const Stream& stream) {
    return stream.epoch == host.granted && stream.is_resigned;
  });
}

bool Rules::may_promise(const State& state, const Host& host, Epoch epoch) const {
  return !host.is_out && epoch > host.promised && lease_is_over(state, host, epoch);
}

// --- What an election needs

bool Rules::is_more_advanced(Epoch epoch, Lsn lsn, Epoch than_epoch, Lsn than_lsn) const {
  if (!hold(Rule::kE3Adopt)) return false;
  if (!hold(Rule::kE3Epoch)) return lsn > than_lsn;
  return epoch > than_epoch || (epoch == than_epoch && lsn > than_lsn);
}

Lsn Rules::known(const Host& candidate, HistoryId head) const {
  // Who takes every change it has for committed needs no majority of the set before it.
  if (!hold(Rule::kM1Known)) return histories_.lsn(head);
  return std::min(candidate.told_known, histories_.lsn(head));
}

bool Rules::promises_suffice(const Host& candidate, HistoryId head) const {
  // Who has the stamp of the head, by hand-over or as its primary, could make a view without asking anybody.
  if (!hold(Rule::kE0) && candidate.knows_stamp == histories_.head_epoch(head)) return true;
  const HistoryId judged = hold(Rule::kM1Adopted) ? head : candidate.log;
  return agree(candidate.promises, judged, known(candidate, judged)) &&
         (candidate.change == 0 || !hold(Rule::kM1Joint) || majority(candidate.promises, candidate.change));
}

bool Rules::heads_suffice(const Host& candidate, HistoryId head) const {
  if (!hold(Rule::kE0) && candidate.knows_stamp == histories_.head_epoch(head)) return true;
  const HistoryId judged = hold(Rule::kM1Adopted) ? head : candidate.log;
  const Members recovering = hold(Rule::kR2Head) ? candidate.recovering : Members{0};
  const Members evidence = except(candidate.promises, recovering);
  return every_set(judged, known(candidate, judged), [&](Members set) {
    const int n = count(set), m = n / 2 + 1;
    return count(both(evidence, set)) >= n - m + (hold(Rule::kR3Heads) ? 1 : 0);
  });
}

bool Rules::may_restart(const Host& candidate, HistoryId head) const {
  if (!hold(Rule::kR3Restart) || candidate.change != 0) return false;
  const Members evidence = except(candidate.promises, candidate.recovering);
  return every_set(head, known(candidate, head), [&](Members set) {
    const int n = count(set), m = n / 2 + 1;
    return count(both(evidence, set)) >= n - m + 1 || count(both(candidate.recovering, set)) >= m;
  });
}

bool Rules::cannot_be_committed(const State& state, const Host& candidate, HistoryId head,
                                HistoryId kept) const {
  if (!hold(Rule::kW3)) return false;
  // Data members that would have it, had they ever acknowledged it. By the heads that they promised; only a power cut
  // makes a log shorter than that.
  Members lacking = 0;
  for (HostId id = 0; id < configuration_.hosts; ++id)
    if (has(except(candidate.promises, candidate.recovering), id) && has(data(0xFF), id) &&
        !state.hosts[id].is_recovering &&
        histories_.lsn(histories_.common(state.hosts[id].log, head)) <= histories_.lsn(kept))
      lacking = either(lacking, only(id));
  // Each set under which it, or a record after it, could have been counted.
  for (HistoryId at = head; at != kEmptyHistory; at = histories_.parent(at)) {
    if (!histories_.record(at).is_view) continue;
    const Members set = histories_.record(at).set;
    if (both(lacking, set) == 0 || majority(except(data(set), lacking), set)) return false;
    if (histories_.lsn(at) <= histories_.lsn(kept)) return true;
  }
  return true;
}

bool Rules::is_gone(const Host& candidate, HistoryId head, HistoryId kept) const {
  if (!hold(Rule::kW5) || candidate.change != 0) return false;
  for (HistoryId at = head; at != kEmptyHistory; at = histories_.parent(at)) {
    if (!histories_.record(at).is_view) continue;
    if (except(data(histories_.record(at).set), candidate.promises) != 0) return false;
    if (histories_.lsn(at) <= histories_.lsn(kept)) return true;
  }
  return true;
}

bool Rules::change_applies(const Host& candidate, HistoryId head) const {
  if (candidate.change == 0) return true;
  const Members set = histories_.set(head);
  return set == histories_.set(candidate.log) && set != candidate.change &&
         (!hold(Rule::kM1One) || degrades(set, candidate.change) ||
          every_set(head, known(candidate, head), [&](Members each) { return each == set; }));
}

bool Rules::slices_suffice(const Host& candidate) const {
  return !hold(Rule::kE4) || candidate.knows_stamp == histories_.head_epoch(candidate.log) ||
         majority(candidate.slices, histories_.set(candidate.log));
}

// --- Records

bool Rules::has_recovered(const Host& host, const Host& sender, HistoryId history) const {
  if (!hold(Rule::kR2Whole)) return true;
  const bool has_view = sender.role == Role::kPrimary && histories_.lsn(history) >= sender.view_lsn;
  return (has_view || !hold(Rule::kR2View)) && host.asked != 0 && histories_.lsn(history) >= host.asked;
}

bool Rules::takes(HistoryId history, uint8_t request) const {
  if (!configuration_.sessions) return true;
  const uint8_t last = histories_.last_request(history);
  if (hold(Rule::kS1) && request <= last) return false;
  return !hold(Rule::kS2) || request <= last + 1;
}

// --- Commits

Members Rules::holders(const State& state, HostId primary, Lsn lsn, bool on_disk) const {
  const Host& host = state.hosts[primary];
  Members holders = 0;
  if (!on_disk || histories_.lsn(histories_.common(host.log, host.disk)) >= lsn) holders = only(primary);
  for (HostId id = 0; id < configuration_.hosts; ++id)
    if (id != primary && (on_disk ? host.synced[id] : host.appended[id]) >= lsn)
      holders = either(holders, only(id));
  return holders;
}

Members Rules::counted(Members holders, HistoryId history, Lsn known) const {
  if (configuration_.witnesses == 0 || !hold(Rule::kW1)) return holders;
  if (except(data(histories_.set(history)), holders) == 0) return holders;
  for (HistoryId at = history; histories_.lsn(at) > known; at = histories_.parent(at))
    if (!histories_.record(at).is_view) return data(holders);
  return holders;
}

bool Rules::may_commit(const State& state, HostId primary, Lsn lsn) const {
  const Host& host = state.hosts[primary];
  if (hold(Rule::kE6) && lsn < host.view_lsn) return false;
  const HistoryId history = histories_.prefix(host.log, lsn);
  const Members held = holders(state, primary, lsn, configuration_.durable);
  return agree(counted(held, history, host.known), history, host.known) &&
         (!hold(Rule::kL2Lease) || lease_is_valid(state, primary));
}

bool Rules::may_flush(const State& state, HostId primary, Lsn lsn) const {
  const Host& host = state.hosts[primary];
  if (lsn > host.commit || host.commit < host.view_lsn) return false;
  if (hold(Rule::kV1Flush) && lsn < host.view_lsn) return false;
  const HistoryId history = histories_.prefix(host.log, lsn);
  return agree(counted(holders(state, primary, lsn, true), history, 0), history, host.known);
}

Lsn Rules::told(const Host& primary, HostId host) const {
  if (!has(configuration_.witnesses, host) || !hold(Rule::kW6)) return primary.commit;
  return std::min(primary.commit, histories_.lsn(histories_.common(primary.log, primary.disk)));
}

bool Rules::may_drop(const State& state, HostId id) const {
  const Host& host = state.hosts[id];
  const Members set = histories_.set(host.log);
  bool was_member = false;
  for (HistoryId at = host.log; at != kEmptyHistory; at = histories_.parent(at))
    was_member = was_member || has(histories_.set(at), id);
  if (!was_member || has(set, id)) return false;
  if (!hold(Rule::kM1Keep)) return true;
  // The last change of the set, as this host has it.
  HistoryId change = host.log;
  while (histories_.set(histories_.parent(change)) == set) change = histories_.parent(change);
  Members told = 0;
  for (HostId other = 0; other < configuration_.hosts; ++other)
    if (state.hosts[other].known_on_disk >= histories_.lsn(change) &&
        histories_.is_prefix(change, state.hosts[other].disk))
      told = either(told, only(other));
  return majority(told, set);
}

// --- Leases

bool Rules::may_grant(const Host& host, Epoch epoch) const {
  if (host.is_out || (hold(Rule::kL1Recover) && host.is_recovering)) return false;
  return host.promised == epoch || !hold(Rule::kL1Promise);
}

bool Rules::lease_is_valid(const State& state, HostId primary) const {
  if (!configuration_.leases) return true;
  const Host& host = state.hosts[primary];
  return agree(either(host.lease, only(primary)), host.log, host.known);
}

}  // namespace cloudfs::model
