// The rules of docs/protocol.md as questions about a state. Nothing here changes anything: what hosts do is in the
// actions (model.h), and each asks here first.
//
// A rule left out (Configuration::without) answers as a host would that never heard of it.
#pragma once

#include "configuration.h"
#include "state.h"

namespace cloudfs::model {

class Rules {
 public:
  Rules(const Configuration& configuration, const Histories& histories)
      : configuration_(configuration), histories_(histories) {}

  /// Whether the rule is in force in this search.
  bool hold(Rule rule) const {
    const bool is_of_v1 = rule == Rule::kV1Sync || rule == Rule::kV1Flush;
    return configuration_.without != rule && !(is_of_v1 && configuration_.without == Rule::kV1);
  }

  // --- Sets

  Members data(Members set) const { return except(set, configuration_.witnesses); }
  /// M1: whether `members` are a majority of each set that has to agree: the one in force where the commit is known, and
  /// every later one.
  bool agree(Members members, HistoryId history, Lsn known) const;
  /// Whether the host may take part in the volume: in a set, or a learner for one.
  bool is_invited(const State& state, HostId host) const;

  // --- Promises: who may have one, who gives one

  /// W2, M1: a host stands for sets that it is in, and has data.
  bool may_stand(const State& state, HostId host) const;
  /// M1, W4: whether the host may ask for this change along with promises.
  bool may_change(const State& state, HostId host, Members target) const;
  /// E2: whether no lease keeps the host from promising `epoch`.
  bool lease_is_over(const State& state, const Host& host, Epoch epoch) const;
  /// E1, E2.
  bool may_promise(const State& state, const Host& host, Epoch epoch) const;

  // --- What an election needs

  /// E3: of two heads, which to adopt.
  bool is_more_advanced(Epoch epoch, Lsn lsn, Epoch than_epoch, Lsn than_lsn) const;
  /// E0, M1: whether the promises suffice to make a view that follows `head`.
  bool promises_suffice(const Host& candidate, HistoryId head) const;
  /// R3: whether the heads promised show every commit there may be.
  bool heads_suffice(const Host& candidate, HistoryId head) const;
  /// R3: whether the election may go on without.
  bool may_restart(const Host& candidate, HistoryId head) const;
  /// W3: whether no update after `kept` on `head` can have been committed, as members that answered lack its body.
  bool cannot_be_committed(const State& state, const Host& candidate, HistoryId head, HistoryId kept) const;
  /// W5: whether the bodies after `kept` are lost for good: every data member that could have them answered.
  bool is_gone(const Host& candidate, HistoryId head, HistoryId kept) const;
  /// M1: whether the change asked for is still one from the set of the adopted head.
  bool change_applies(const Host& candidate, HistoryId head) const;
  /// E4: whether a majority of the head's view's set has the head, and has given its slice.
  bool slices_suffice(const Host& candidate) const;

  // --- Records

  /// E1: whether a message of `epoch` is processed.
  bool accepts(const Host& host, Epoch epoch) const { return !hold(Rule::kE1Gate) || epoch >= host.promised; }
  /// R2: whether a replica that has `history` of a host with `sender`'s role has recovered.
  bool has_recovered(const Host& host, const Host& sender, HistoryId history) const;
  /// R2: whether its answers count.
  bool answers(const Host& host) const { return !host.is_recovering || !hold(Rule::kR2Head); }
  /// E5: whether the primary takes requests.
  bool leads(const Host& host) const {
    return host.role == Role::kPrimary && (host.commit >= host.view_lsn || !hold(Rule::kE5));
  }

  /// S1, S2: whether a primary with this history makes a record of the client's request.
  bool takes(HistoryId history, uint8_t request) const;

  // --- Commits

  /// E6, M1, W1, L2: whether the primary may count the update at `lsn`, and all before it, as committed.
  bool may_commit(const State& state, HostId primary, Lsn lsn) const;
  /// V1: whether a FLUSH that covers the update may be acknowledged.
  bool may_flush(const State& state, HostId primary, Lsn lsn) const;
  /// W6: up to where a host that has the primary's history is told that it is committed.
  Lsn told(const Host& primary, HostId host) const;
  /// M1: whether a host outside the set may drop its replica.
  bool may_drop(const State& state, HostId host) const;

  // --- Leases

  /// L1.
  bool may_grant(const Host& host, Epoch epoch) const;
  /// L2, M1: whether the primary's lease runs.
  bool lease_is_valid(const State& state, HostId primary) const;
  /// Whether the primary answers reads.
  bool may_read(const State& state, HostId primary) const {
    const Host& host = state.hosts[primary];
    return host.role == Role::kPrimary && host.commit >= host.view_lsn && lease_is_valid(state, primary);
  }

 private:
  bool majority(Members members, Members set) const { return 2 * count(both(members, set)) > count(set); }
  /// Whether `target` goes on without a data member of a set with a witness.
  bool degrades(Members set, Members target) const {
    return configuration_.witnesses != 0 && count(target) < count(set);
  }
  /// Known commit on `head`, as far as the candidate was told.
  Lsn known(const Host& candidate, HistoryId head) const;
  /// Hosts that hold the primary's update at `lsn`: on disk, or in page cache.
  Members holders(const State& state, HostId primary, Lsn lsn, bool on_disk) const;
  /// W1: `holders` without the witnesses that do not count for an update with a body after `known`.
  Members counted(Members holders, HistoryId history, Lsn known) const;
  /// Whether `each(set)` is true for every set that has to agree.
  template <class Each>
  bool every_set(HistoryId history, Lsn known, Each each) const;

  const Configuration& configuration_;
  const Histories& histories_;
};

}  // namespace cloudfs::model
