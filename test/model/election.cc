// Elections: stand, promise, adopt, lead.
#include <algorithm>

#include "model.h"

namespace cloudfs::model {

bool Model::stand(State& state, HostId candidate, Epoch epoch, Members change) {
  Host& host = state.hosts[candidate];
  if (!rules_.may_stand(state, candidate) || !rules_.may_promise(state, host, epoch)) return false;
  if (change != 0 && !rules_.may_change(state, candidate, change)) return false;
  // A primary knows its own stamp, and needs no slices of it.
  const Epoch knows_stamp = host.role == Role::kPrimary ? host.epoch : host.knows_stamp;
  step_down(host);
  set_promise(host, epoch, rules_.hold(Rule::kE1Own));
  host.role = Role::kCandidate;
  host.epoch = epoch;
  host.knows_stamp = knows_stamp;
  host.change = change;
  host.promises = only(candidate);
  host.recovering = host.is_recovering ? only(candidate) : Members{0};
  host.best_epoch = histories_.head_epoch(host.log);
  host.best_lsn = histories_.lsn(host.log);
  host.told_known = host.known;
  return true;
}

bool Model::promise(State& state, HostId id, HostId candidate_id, bool is_lost) {
  Host& host = state.hosts[id];
  Host& candidate = state.hosts[candidate_id];
  const Epoch epoch = candidate.promised;
  if (id == candidate_id || maker_of(epoch) != candidate_id || !rules_.is_invited(state, id)) return false;
  // The question may come when its candidate no longer waits for the answer.
  if (!is_lost && candidate.role != Role::kCandidate) return false;
  if (!rules_.may_promise(state, host, epoch)) return false;
  if (rules_.hold(Rule::kE1Stop)) step_down(host);
  set_promise(host, epoch, rules_.hold(Rule::kE1Sync));
  if (is_lost) return true;
  // An answer that comes later is the same: nothing that happens meanwhile asks whether it has come. One that comes too
  // late for its candidate is lost.
  candidate.promises = either(candidate.promises, only(id));
  if (host.is_recovering) candidate.recovering = either(candidate.recovering, only(id));
  candidate.told_known = std::max(candidate.told_known, host.known);
  const Epoch head_epoch = histories_.head_epoch(host.log);
  const Lsn head_lsn = histories_.lsn(host.log);
  if (rules_.is_more_advanced(head_epoch, head_lsn, candidate.best_epoch, candidate.best_lsn)) {
    candidate.best_epoch = head_epoch;
    candidate.best_lsn = head_lsn;
  }
  return true;
}

bool Model::adopt(State& state, HostId candidate) {
  Host& host = state.hosts[candidate];
  if (host.role != Role::kCandidate) return false;
  HistoryId head = promised_head(state, host);
  if (head == kEmptyHistory || !rules_.promises_suffice(host, head) || !rules_.change_applies(host, head))
    return false;
  host.is_restart = !rules_.heads_suffice(host, head);
  if (host.is_restart && !rules_.may_restart(host, head)) return false;
  if (host.is_restart && !rules_.hold(Rule::kR3All)) head = host.log;
  const HistoryId kept = with_bodies(state, host, head);
  if (kept != head && !rules_.cannot_be_committed(state, host, head, kept)) {
    if (!rules_.is_gone(host, head, kept)) return false;
    host.is_restart = true;
  }
  undo_to(state, host, kept);
  host.log = kept;
  host.role = Role::kElected;
  host.slices = only(candidate);
  host.promises = host.recovering = 0;
  host.best_epoch = kNoEpoch;
  host.best_lsn = 0;
  host.known = std::max(host.known, std::min(host.told_known, histories_.lsn(kept)));
  host.told_known = 0;
  send(state, candidate);
  return true;
}

bool Model::lead(State& state, HostId candidate) {
  Host& host = state.hosts[candidate];
  if (host.role != Role::kElected || !rules_.slices_suffice(host)) return false;
  host.log = histories_.append(host.log, {.epoch = host.epoch,
                                          .is_view = true,
                                          .is_restart = host.is_restart && rules_.hold(Rule::kR3Mark),
                                          .set = host.change != 0 ? host.change : histories_.set(host.log)});
  host.role = Role::kPrimary;
  host.view_lsn = histories_.lsn(host.log);
  // Who holds what it adopted would be counted for it, were that allowed: E6.
  if (!rules_.hold(Rule::kE6))
    for (HostId id = 0; id < kHostsMax; ++id)
      if (has(host.slices, id)) host.appended[id] = static_cast<Lsn>(host.view_lsn - 1);
  host.slices = 0;
  host.change = 0;
  host.is_restart = false;
  host.knows_stamp = kNoEpoch;
  host.is_recovering = false;  // it has all of its own epoch
  if (rules_.hold(Rule::kV1Sync)) sync_log(host);
  send(state, candidate);
  settle(state, candidate);
  return true;
}

HistoryId Model::promised_head(const State& state, const Host& candidate) const {
  for (HostId id = 0; id < configuration_.hosts; ++id) {
    const HistoryId head = histories_.prefix(state.hosts[id].log, candidate.best_lsn);
    if (has(candidate.promises, id) && histories_.lsn(head) == candidate.best_lsn &&
        histories_.head_epoch(head) == candidate.best_epoch)
      return head;
  }
  return kEmptyHistory;
}

HistoryId Model::with_bodies(const State& state, const Host& candidate, HistoryId head) const {
  if (configuration_.witnesses == 0) return head;
  Lsn lsn = 0;
  for (HostId id = 0; id < configuration_.hosts; ++id)
    if (has(rules_.data(candidate.promises), id))
      lsn = std::max(lsn, histories_.lsn(histories_.common(state.hosts[id].log, head)));
  // A header is all there is of a view change.
  while (lsn < histories_.lsn(head) && histories_.record(histories_.prefix(head, lsn + 1)).is_view) ++lsn;
  return histories_.prefix(head, lsn);
}

}  // namespace cloudfs::model
