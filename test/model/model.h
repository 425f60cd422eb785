// What hosts do and what befalls them. Each action is one function: it returns false, and has changed nothing that
// matters, where the action cannot happen; rules.h says when it may.
//
// What "at any time" costs little to say:
//   - Whatever the primary of an epoch ever sent may be delivered, to anybody, in any part, at any time and repeatedly:
//     loss, delay and duplication of records in one action.
//   - A primary acknowledges at once whatever it may: a client that was told later has less to lose.
//   - Pre-vote is left out: it only keeps elections from happening, and here they happen whenever there is budget.
#pragma once

#include <cstddef>

#include "checker.h"
#include "configuration.h"
#include "rules.h"
#include "state.h"

namespace cloudfs::model {

/// What happened, for the trace. `a` and `b` are hosts, `n` a number.
struct Step {
  enum class What : uint8_t {
    kNothing,
    kStand,
    kPromise,
    kPromiseLost,
    kAdopt,
    kLead,
    kDeliver,
    kAnswer,
    kAsk,
    kWrite,
    kRetry,
    kSync,
    kCrash,
    kPowerCut,
    kWipe,
    kGrant,
    kLeaseEnds,
    kGrantEnds,
    kHandOver,
    kDrop,
  };
  What what = What::kNothing;
  uint8_t a = 0;
  uint8_t b = 0;
  uint8_t n = 0;
};

enum Violation : uint8_t {
  kNone,
  kCommitReplaced,  ///< two histories committed, and no restart view between
  kFlushedLost,     ///< a restart view lost what was flushed
  kTwoRecords,      ///< (epoch, lsn) names two records
  kStaleRead,       ///< a primary with a valid lease lacks a commit
  kAppliedTwice,    ///< a committed history has a request twice
  kAnswerUntrue,    ///< a request was answered as applied and is not in the history
  kKnownUndone,     ///< a replica undid a commit that it was told of
  kWitnessUndone,   ///< a witness did, though it was in a restart
  kDeadEnd,         ///< with all hosts up and no further fault, nobody can lead and commit
  kMinorityBlocks,  ///< with a bare majority up, none recovering, and no further fault, nobody can
};
const char* text_of(Violation violation);

class Model {
 public:
  using State = model::State;
  using Step = model::Step;

  explicit Model(const Configuration& configuration)
      : configuration_(configuration), rules_(configuration_, histories_), known_alive_(state_bytes()) {}
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const Histories& histories() const { return histories_; }
  const Configuration& configuration() const { return configuration_; }

  /// Whether anything can ask what is on disk.
  bool uses_disk() const {
    return configuration_.power_cuts > 0 || configuration_.durable || configuration_.drops;
  }

  // --- For the checker.

  size_t state_bytes() const {
    return offsetof(State, hosts) + sizeof(Host) * static_cast<size_t>(configuration_.hosts);
  }
  State initial();
  template <class F>
  void each_step(const State& state, F emit);  // steps.h
  const char* broken(const State& state);
  size_t bytes() const { return known_alive_.bytes(); }

  /// The election, without any fault, in which the invariant broke; `up` is 0 where a step broke it.
  struct WayOn {
    HostId candidate = 0;
    Members up = 0;
    HistoryId committed = kEmptyHistory;
  };
  const WayOn& way_on() const { return way_on_; }

  // --- Elections (election.cc).

  /// A host asks for promises of an epoch of its own, for the set as it is (`change` 0) or another.
  bool stand(State& state, HostId candidate, Epoch epoch, Members change);
  /// A host promises; the answer arrives, or is lost.
  bool promise(State& state, HostId host, HostId candidate, bool is_lost);
  /// The candidate has promises and heads enough, and takes the most advanced head.
  bool adopt(State& state, HostId candidate);
  /// It has the slices, and makes its view change.
  bool lead(State& state, HostId candidate);

  // --- Records (replication.cc).

  /// A host gets what the primary of `stream` sent, up to `lsn`.
  bool deliver(State& state, const Stream& stream, HostId host, Lsn lsn);
  /// An append answer arrives late.
  bool receive_answer(State& state, HostId primary, HostId host);
  /// A recovering host asks the primary for its head.
  bool ask_head(State& state, HostId host, HostId primary);
  /// The client sends the primary its next request.
  bool write(State& state, HostId primary, uint8_t request);
  /// It repeats one that it has sent somewhere.
  bool retry(State& state, HostId primary, uint8_t request);
  /// What the host has appended is on disk, and the primary is told.
  bool sync(State& state, HostId host);
  /// A host that was removed drops its replica.
  bool drop(State& state, HostId host);

  // --- Faults (faults.cc). The host is up again at once: until it acts, it might as well be down.

  bool crash(State& state, HostId host);
  /// The first `kept_count` records that no sync covers survive.
  bool cut_power(State& state, HostId host, int kept_count);
  bool wipe(State& state, HostId host);

  // --- Leases and hand-over (leases.cc). Of time only this is used: the holder's lease ends before the granter's.

  bool grant_lease(State& state, HostId host, HostId primary);
  bool end_lease(State& state, HostId primary, HostId host);
  bool end_grant(State& state, HostId host);
  bool hand_over(State& state, HostId primary, HostId target);

 private:
  Stream* stream_of(State& state, Epoch epoch) const;
  /// The living host that leads, or is elected, in the stream's epoch.
  Host* sender_of(State& state, Epoch epoch) const;
  /// The primary's history is sent from now on.
  void send(State& state, HostId primary);
  void step_down(Host& host) const;
  void set_promise(Host& host, Epoch epoch, bool is_synced) const;
  void sync_log(Host& host) const;
  /// The primary commits, acknowledges and flushes all that it may.
  void settle(State& state, HostId primary);
  void observe_commit(State& state, HistoryId history);
  /// Notes what the host undoes of its log when it takes `next` instead.
  void undo_to(State& state, Host& host, HistoryId next) const;
  /// Takes an append answer into the primary's count.
  void count_answer(State& state, HostId primary, HostId host, Lsn lsn);
  /// The promised head, as a host that promised it has it; empty if none still does.
  HistoryId promised_head(const State& state, const Host& candidate) const;
  /// As much of `head` as has its bodies at data members that promised.
  HistoryId with_bodies(const State& state, const Host& candidate, HistoryId head) const;

  /// The same state with all forgotten that no rule can ask for any more (canonical.cc).
  void canonicalise(State& state) const;

  // --- Dead ends (dead_end.cc).

  Violation dead_end(const State& state);
  bool anybody_can_lead(const State& calm, Members up, Violation& violation);
  /// Whether `candidate` comes to lead and commits a write, with the hosts `up` and no fault.
  bool can_lead(State& state, HostId candidate, Members up, Members change, Violation& violation);

  Configuration configuration_;
  Histories histories_;
  Rules rules_;
  WayOn way_on_;
  StateSet known_alive_;  ///< states, all volatile forgotten, from which there is a way on
};

}  // namespace cloudfs::model
