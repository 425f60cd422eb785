// Leases and hand-over.
//
// A lease is a majority's answers, each counted by its holder from when the question was sent and by its granter from
// when it was answered: the holder's ends first, whatever the network does. That is all the time there is in this model:
// the granter's end is an event that waits for the holder's. A host that stops (SIGSTOP) and wakes finds its leases ended
// by its clock. An answer lost is an answer that ended at once.
#include "model.h"

namespace cloudfs::model {

bool Model::grant_lease(State& state, HostId id, HostId primary_id) {
  Host& host = state.hosts[id];
  Host& primary = state.hosts[primary_id];
  if (id == primary_id || primary.role != Role::kPrimary || !rules_.is_invited(state, id)) return false;
  if (!rules_.may_grant(host, primary.epoch)) return false;
  host.granted = primary.epoch;
  primary.lease = either(primary.lease, only(id));
  settle(state, primary_id);
  return true;
}

bool Model::end_lease(State& state, HostId primary, HostId host) {
  Members& lease = state.hosts[primary].lease;
  if (!has(lease, host)) return false;
  lease = except(lease, only(host));
  return true;
}

bool Model::end_grant(State& state, HostId id) {
  Host& host = state.hosts[id];
  if (host.granted == kNoEpoch) return false;
  const Host& holder = state.hosts[maker_of(host.granted)];
  if (holder.epoch == host.granted && has(holder.lease, id)) return false;
  host.granted = kNoEpoch;
  return true;
}

bool Model::hand_over(State& state, HostId primary, HostId target) {
  Host& host = state.hosts[primary];
  const Lsn end = histories_.lsn(host.log);
  // Drained, and to a replica that has everything.
  if (primary == target || !rules_.leads(host) || host.commit != end || host.appended[target] != end)
    return false;
  Stream* stream = stream_of(state, host.epoch);
  if (stream == nullptr || stream->is_resigned) return false;
  stream->is_resigned = true;
  state.hosts[target].knows_stamp = host.epoch;
  if (rules_.hold(Rule::kH1)) step_down(host);
  return true;
}

}  // namespace cloudfs::model
