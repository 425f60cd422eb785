#include "core/volume/commit.h"

#include <algorithm>
#include <array>

#include "core/base/assert.h"

namespace cloudfs {

namespace {

/// The greatest lsn that a majority of the set has reached; 0 if there are not so many of it.
Lsn reached(const CommitInputs& inputs, const Quorum& quorum, Lsn MemberProgress::*progress) {
  const size_t voters = quorum.peers.size() + (quorum.has_own ? 1 : 0);
  ensure(quorum.majority > 0 && voters <= kMembersMax, "a view has 1 to 255 members");
  if (quorum.majority > voters) return 0;
  std::array<Lsn, kMembersMax> lsns;
  size_t count = 0;
  if (quorum.has_own) lsns[count++] = inputs.own.*progress;
  for (const uint8_t peer : quorum.peers) lsns[count++] = inputs.peers[peer].*progress;
  const auto nth = lsns.begin() + quorum.majority - 1;
  std::nth_element(lsns.begin(), nth, lsns.begin() + static_cast<std::ptrdiff_t>(count), std::greater<>());
  return *nth;
}

Lsn reached(const CommitInputs& inputs, Lsn MemberProgress::*progress) {
  ensure(!inputs.quorums.empty(), "some set decides");
  Lsn lsn = UINT64_MAX;
  for (const Quorum& quorum : inputs.quorums) lsn = std::min(lsn, reached(inputs, quorum, progress));
  return lsn;
}

/// E6
Lsn counted(const CommitInputs& inputs, Lsn lsn) {
  return lsn < inputs.view_lsn ? 0 : lsn;
}

}  // namespace

Lsn commit_point(const CommitInputs& inputs) {
  switch (inputs.mode) {
    case Mode::durable:
      return counted(inputs, reached(inputs, &MemberProgress::synced));
    case Mode::quorum:
      return counted(inputs, reached(inputs, &MemberProgress::appended));
    case Mode::local:
      return counted(inputs, inputs.own.appended);
  }
  return 0;
}

Lsn durable_point(const CommitInputs& inputs) {
  return counted(inputs,
                 inputs.mode == Mode::local ? inputs.own.synced : reached(inputs, &MemberProgress::synced));
}

}  // namespace cloudfs
