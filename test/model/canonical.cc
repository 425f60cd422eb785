// One form for states that nobody can tell apart.
//
// Sound because each thing forgotten here is one that no rule and no action reads again, as its comment says: the state
// before and the state after have the same future. Hosts are not renamed into each other: epochs order them.
#include <algorithm>

#include "model.h"

namespace cloudfs::model {

State Model::initial() {
  State state;
  const HistoryId created =
      histories_.append(kEmptyHistory, {.epoch = epoch_of(1, 0), .is_view = true, .set = configuration_.set});
  for (HostId id = 0; id < configuration_.hosts; ++id) {
    Host& host = state.hosts[id];
    if (!has(configuration_.set, id)) continue;
    host.log = host.disk = created;
    host.promised = host.promised_on_disk = epoch_of(1, 0);
    host.known = host.known_on_disk = 1;
  }
  Host& primary = state.hosts[0];
  primary.role = Role::kPrimary;
  primary.epoch = epoch_of(1, 0);
  primary.view_lsn = primary.commit = 1;
  for (HostId id = 1; id < configuration_.hosts; ++id)
    if (has(configuration_.set, id)) primary.appended[id] = primary.synced[id] = 1;
  send(state, 0);
  state.committed = created;
  state.flushed = 1;
  canonicalise(state);
  return state;
}

void Model::canonicalise(State& state) const {
  for (HostId id = 0; id < configuration_.hosts; ++id) {
    Host& host = state.hosts[id];
    if (!host.is_recovering) host.asked = 0;
    // Only where sets change does anybody ask which commit a host knows of.
    if (configuration_.sets.empty()) host.known = host.known_on_disk = host.told_known = 0;
    if (!uses_disk()) {
      host.disk = kEmptyHistory;
      host.promised_on_disk = kNoEpoch;
      host.known_on_disk = 0;
    }
    // Answers are counted for what is not committed or flushed yet, and ask whether a replica has everything.
    for (HostId other = 0; other < configuration_.hosts; ++other) {
      if (host.appended[other] < host.commit) host.appended[other] = 0;
      Lsn& synced = host.synced[other];
      if (!uses_disk() || (synced <= state.flushed && (!configuration_.durable || synced <= host.commit)))
        synced = 0;
    }
  }

  // A stream that can reach nobody any more is gone; of a resigned one the word stays while a lease asks for it.
  for (Stream& stream : state.streams) {
    if (stream.epoch == kNoEpoch || sender_of(state, stream.epoch) != nullptr) continue;
    bool can_reach = !rules_.hold(Rule::kE1Gate), is_asked = false;
    for (HostId id = 0; id < configuration_.hosts; ++id) {
      const Host& host = state.hosts[id];
      const Epoch promised = uses_disk() ? std::min(host.promised, host.promised_on_disk) : host.promised;
      const bool can_learn = uses_disk() || !histories_.is_prefix(stream.history, host.log);
      if (id != maker_of(stream.epoch) && rules_.is_invited(state, id) && promised <= stream.epoch &&
          can_learn)
        can_reach = true;
      is_asked = is_asked || (stream.is_resigned && host.granted == stream.epoch);
    }
    if (can_reach) continue;
    stream.history = kEmptyHistory;
    if (!is_asked) stream = Stream{};
  }
  std::ranges::sort(state.streams, {}, &Stream::epoch);
}

}  // namespace cloudfs::model
