// When an update counts: a pure function of who holds what (docs/wire-protocol.md, Commit at the primary).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/ids.h"
#include "core/format/payload.h"

namespace cloudfs {

/// What a member holds, counted up to an lsn with all before it.
struct MemberProgress {
  Lsn appended = 0;
  Lsn synced = 0;
};

/// One set of members that has to agree.
struct Quorum {
  /// Places of its voters in CommitInputs::peers.
  std::vector<uint8_t> peers;
  /// This host's store is one of its voters.
  bool has_own = true;
  /// How many of its voters must hold an update.
  uint32_t majority = 1;
  /// Those of `peers` that keep no data (docs/protocol.md, W1).
  std::vector<uint8_t> witnesses{};
};

struct CommitInputs {
  Mode mode = Mode::quorum;
  MemberProgress own;
  /// Other members, as far as they count now.
  std::span<const MemberProgress> peers;
  /// Each has to agree (docs/protocol.md, M1). At least one.
  std::span<const Quorum> quorums;
  /// The present view's record. What is older is committed and synced by what follows that record, never by being
  /// counted itself (docs/protocol.md, E6, V1).
  Lsn view_lsn = 0;
  /// The first record behind what is known to be committed that has a body (W1); of none, the next one.
  Lsn first_body_lsn = 0;
};

/// Updates up to here are committed: they may be acknowledged and read.
Lsn commit_point(const CommitInputs& inputs);

/// Updates up to here survive a power cut of every host: FLUSH and FUA may be answered for them.
Lsn durable_point(const CommitInputs& inputs);

}  // namespace cloudfs
