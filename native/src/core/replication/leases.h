// Leases between this store and others (docs/protocol.md, L1, L2, E2): one question for each pair of stores, for all volumes
// together. A *holder* leads volumes that the other store follows; a *granter* follows volumes that the other leads.
//
// The holder counts from when it asked, less what a clock may drift; the granter from when it answered: so the holder's
// lease ends first, whatever the network does.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/format/frame.h"
#include "core/replication/streams.h"

namespace cloudfs {

/// Between two questions.
constexpr uint64_t kLeaseAskNs = 100'000'000;

/// What leases need to know of their store.
class LeaseHost {
 public:
  /// L1: it has promised this epoch and no later one, has the record of its view, and is not recovering.
  virtual bool may_grant(const VolumeId& volume, const Epoch& epoch) const = 0;
  virtual uint64_t lease_ns(const VolumeId& volume) const = 0;
  /// The store of this id answered: leases that hang on it may have become longer, or shorter.
  virtual void on_leases_moved(const StoreId& store) = 0;
  /// What this store granted for these volumes ran out, and was not renewed.
  virtual void on_grants_over(const std::vector<VolumeId>& volumes) = 0;

 protected:
  ~LeaseHost() = default;
};

class Leases {
 public:
  Leases(Streams& streams, LeaseHost& host) : streams_(streams), host_(host) {}

  // --- Holding: streams on which this store leads ---
  void led(StreamId stream, const StoreId& follower, const Epoch& epoch);
  void left(StreamId stream);
  void on_grant(StreamId stream, const LeaseGrantFrame& grant);
  /// The lease that a store gives for the volume ends then; 0: it gives none.
  uint64_t held_until(const StoreId& store, const VolumeId& volume, const Epoch& epoch,
                      uint64_t lease_ns) const;
  /// There may be news: asks at once, unless an answer is on its way.
  void ask_soon(const StoreId& store);

  // --- Granting: streams on which this store follows ---
  void followed(StreamId stream, const VolumeId& volume, const StoreId& leader, const Epoch& epoch);
  void unfollowed(StreamId stream);
  void on_ask(StreamId stream, const LeaseAskFrame& ask, uint64_t now_ns);
  /// E2: behind a start it is not known what was granted before.
  void assume_granted(const VolumeId& volume, const Epoch& epoch, uint64_t until_ns);
  struct Grant {
    Epoch epoch;
    uint64_t until_ns = 0;
  };
  /// What was granted last and runs still.
  std::optional<Grant> granted(const VolumeId& volume, uint64_t now_ns) const;

  void turn(uint64_t now_ns);
  std::optional<uint64_t> next_deadline_ns() const;

 private:
  /// A store that this one asks.
  struct Granter {
    std::map<StreamId, Epoch> streams;  // the first is the carrier
    uint64_t asked_ns = 0;              // of the question last sent; 0 = none
    StreamId asked_on = 0;
    uint64_t answered_ns = 0;  // asked_ns of the newest answer
    bool is_hurried = false;
    std::unordered_map<VolumeId, Epoch> granted;
  };
  /// A stream to a leader.
  struct Follow {
    VolumeId volume;
    StoreId leader;
    Epoch epoch;
    bool is_told = false;  // an answer went this way
    std::unordered_map<VolumeId, Epoch> told;
  };

  void ask(Granter& granter, uint64_t now_ns);

  Streams& streams_;
  LeaseHost& host_;
  std::map<StoreId, Granter> granters_;
  std::unordered_map<StreamId, StoreId> led_;
  std::unordered_map<StreamId, Follow> follows_;
  std::map<StoreId, std::set<StreamId>> by_leader_;
  std::unordered_map<VolumeId, Grant> grants_;
  uint64_t grants_end_ns_ = UINT64_MAX;  // the earliest, or before it
};

}  // namespace cloudfs
