// Faults of hosts, and what a host forgets.
#include <algorithm>

#include "model.h"

namespace cloudfs::model {

bool Model::crash(State& state, HostId id) {
  Host& host = state.hosts[id];
  // Who has nothing to forget may as well not have crashed.
  if (host.role == Role::kReplica && host.knows_stamp == kNoEpoch && host.asked == 0 &&
      (host.granted == kNoEpoch || rules_.hold(Rule::kE2Start)))
    return false;
  step_down(host);
  host.asked = 0;
  if (!rules_.hold(Rule::kE2Start)) host.granted = kNoEpoch;
  return true;
}

bool Model::cut_power(State& state, HostId id, int kept_count) {
  Host& host = state.hosts[id];
  // A torn tail ends the log: what survives of the records after the last sync is a prefix of them.
  const Lsn common = histories_.lsn(histories_.common(host.log, host.disk));
  const int survives = common + kept_count;
  if (survives > histories_.lsn(host.log)) return false;
  if (kept_count > 0) host.disk = histories_.prefix(host.log, static_cast<Lsn>(survives));
  crash(state, id);
  host.log = host.disk;
  host.promised = host.promised_on_disk;
  host.known = std::min(host.known_on_disk, histories_.lsn(host.log));
  host.known_on_disk = host.known;
  host.is_recovering = rules_.hold(Rule::kR1);
  return true;
}

bool Model::wipe(State& state, HostId id) {
  const Epoch granted = state.hosts[id].granted;
  state.hosts[id] = Host{};
  state.hosts[id].granted = granted;
  state.hosts[id].is_out = rules_.hold(Rule::kR4);
  return true;
}

void Model::step_down(Host& host) const {
  host.role = Role::kReplica;
  host.epoch = host.knows_stamp = host.best_epoch = kNoEpoch;
  host.promises = host.recovering = host.slices = host.change = host.lease = 0;
  host.best_lsn = host.told_known = host.view_lsn = host.commit = 0;
  host.is_restart = false;
  std::ranges::fill(host.appended, Lsn{0});
  std::ranges::fill(host.synced, Lsn{0});
  std::ranges::fill(host.on_the_way, Lsn{0});
}

void Model::set_promise(Host& host, Epoch epoch, bool is_synced) const {
  host.promised = epoch;
  if (is_synced) host.promised_on_disk = epoch;
  host.asked = 0;
}

void Model::sync_log(Host& host) const {
  host.disk = host.log;
  host.promised_on_disk = host.promised;
  host.known_on_disk = host.known;
}

void Model::undo_to(State& state, Host& host, HistoryId next) const {
  const Lsn common = histories_.lsn(histories_.common(host.log, next));
  if (common >= host.known) return;
  if (has(configuration_.witnesses, static_cast<HostId>(&host - std::begin(state.hosts))))
    state.violation = kWitnessUndone;
  if (!host.is_restart && !histories_.restarts_after(next, histories_.prefix(next, common)))
    state.violation = kKnownUndone;
  host.known = common;
}

}  // namespace cloudfs::model
