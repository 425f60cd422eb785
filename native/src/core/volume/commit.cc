#include "core/volume/commit.h"

#include <algorithm>
#include <array>

#include "core/base/assert.h"

namespace cloudfs {

namespace {

bool is_witness(const Quorum& quorum, uint8_t peer) {
  return std::find(quorum.witnesses.begin(), quorum.witnesses.end(), peer) != quorum.witnesses.end();
}

/// W1: what all data members of the newest set have reached. Up to there witnesses count.
Lsn held_by_data(const CommitInputs& inputs, Lsn MemberProgress::*progress) {
  const Quorum& newest = inputs.quorums.back();
  Lsn lsn = newest.has_own ? inputs.own.*progress : UINT64_MAX;
  for (const uint8_t peer : newest.peers)
    if (!is_witness(newest, peer)) lsn = std::min(lsn, inputs.peers[peer].*progress);
  return lsn;
}

/// The greatest lsn that a majority of the set has reached; 0 if there are not so many of it. A witness counts up to `most`.
Lsn reached(const CommitInputs& inputs, const Quorum& quorum, Lsn MemberProgress::*progress, Lsn most) {
  const size_t voters = quorum.peers.size() + (quorum.has_own ? 1 : 0);
  ensure(quorum.majority > 0 && voters <= kMembersMax, "a view has 1 to 255 members");
  if (quorum.majority > voters) return 0;
  std::array<Lsn, kMembersMax> lsns;
  size_t count = 0;
  if (quorum.has_own) lsns[count++] = inputs.own.*progress;
  for (const uint8_t peer : quorum.peers) {
    const Lsn lsn = inputs.peers[peer].*progress;
    lsns[count++] = is_witness(quorum, peer) ? std::min(lsn, most) : lsn;
  }
  const auto nth = lsns.begin() + quorum.majority - 1;
  std::nth_element(lsns.begin(), nth, lsns.begin() + static_cast<std::ptrdiff_t>(count), std::greater<>());
  return *nth;
}

/// `bodiless`: witnesses count up to there, whoever lacks it.
Lsn reached(const CommitInputs& inputs, Lsn MemberProgress::*progress, Lsn bodiless) {
  ensure(!inputs.quorums.empty(), "some set decides");
  const Lsn most = std::max(bodiless, held_by_data(inputs, progress));
  Lsn lsn = UINT64_MAX;
  for (const Quorum& quorum : inputs.quorums) lsn = std::min(lsn, reached(inputs, quorum, progress, most));
  return lsn;
}

/// W1
Lsn last_bodiless(const CommitInputs& inputs) {
  return inputs.first_body_lsn == 0 ? 0 : inputs.first_body_lsn - 1;
}

/// E6
Lsn counted(const CommitInputs& inputs, Lsn lsn) {
  return lsn < inputs.view_lsn ? 0 : lsn;
}

}  // namespace

Lsn commit_point(const CommitInputs& inputs) {
  switch (inputs.mode) {
    case Mode::durable:
      return counted(inputs, reached(inputs, &MemberProgress::synced, last_bodiless(inputs)));
    case Mode::quorum:
      return counted(inputs, reached(inputs, &MemberProgress::appended, last_bodiless(inputs)));
    case Mode::local:
      return counted(inputs, inputs.own.appended);
  }
  return 0;
}

Lsn durable_point(const CommitInputs& inputs) {
  // What is committed may still be on no disk of a data member, so nothing counts as without a body here.
  return counted(
      inputs, inputs.mode == Mode::local ? inputs.own.synced : reached(inputs, &MemberProgress::synced, 0));
}

}  // namespace cloudfs
