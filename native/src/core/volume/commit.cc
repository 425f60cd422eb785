#include "core/volume/commit.h"

#include <algorithm>
#include <array>

#include "core/base/assert.h"

namespace cloudfs {

namespace {

/// The greatest lsn that `majority` members have reached; 0 if there are not so many members.
Lsn reached(const CommitInputs& inputs, Lsn MemberProgress::*progress) {
  ensure(inputs.majority > 0 && inputs.peers.size() < kMembersMax, "a view has 1 to 255 members");
  if (inputs.majority > inputs.peers.size() + 1) return 0;
  std::array<Lsn, kMembersMax> lsns;
  lsns[0] = inputs.own.*progress;
  size_t count = 1;
  for (const MemberProgress& peer : inputs.peers) lsns[count++] = peer.*progress;
  const auto nth = lsns.begin() + inputs.majority - 1;
  std::nth_element(lsns.begin(), nth, lsns.begin() + static_cast<std::ptrdiff_t>(count), std::greater<>());
  return *nth;
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
