// What replication adds to a volume that has more than one data member. Volume makes and applies records; who else holds
// them is Leader's business at the primary and Follower's elsewhere (docs/wire-protocol.md).
#pragma once

#include <span>
#include <vector>

#include "core/log/appender.h"
#include "core/volume/commit.h"

namespace cloudfs {

class Replication {
 public:
  virtual ~Replication() = default;

  /// A run has its place in a batch; `bodies` are its blocks in order. `sync`: somebody waits for it to be durable.
  virtual void on_placed(const PlacedRun& run, const std::vector<Slice>& bodies, bool sync) = 0;
  /// The volume appended, synced, committed or applied more.
  virtual void on_advanced() = 0;

  /// Other members, as far as they count now, and the sets that have to agree. Of the primary.
  virtual std::span<const MemberProgress> peers() const = 0;
  virtual std::span<const Quorum> quorums() const = 0;
  /// Other sets have to agree (Volume::views()).
  virtual void on_views_moved() = 0;
  /// Of a follower: what its leader says is committed. Of the primary: nullopt.
  virtual std::optional<Lsn> leader_commit() const = 0;
  /// May clients be served? A primary that starts again asks its followers first.
  virtual bool serving() const = 0;
  /// L2: may what is counted be committed, and answers leave? A majority's leases run, or nobody's is needed: in mode `local`,
  /// of a follower.
  virtual bool has_lease() const = 0;
};

}  // namespace cloudfs
