#include "core/volume/commit.h"

#include <doctest/doctest.h>

#include <array>

using namespace cloudfs;

TEST_CASE(
    "commit: E6, a majority that holds the last view's records commits none of them before the present "
    "view's") {
  std::array<MemberProgress, 2> peers{{{9, 9}, {9, 9}}};
  const Quorum quorum{{0, 1}, true, 2};
  CommitInputs inputs{Mode::quorum, {10, 9}, peers, {&quorum, 1}, 0};
  CHECK(commit_point(inputs) == 9);
  CHECK(durable_point(inputs) == 9);
  inputs.view_lsn = 10;
  for (const Mode mode : {Mode::quorum, Mode::durable}) {
    inputs.mode = mode;
    CHECK(commit_point(inputs) == 0);
    // V1
    CHECK(durable_point(inputs) == 0);
  }
  // One of the others has the view's record: with it go all before it.
  peers[0] = {11, 10};
  inputs.own = {12, 12};
  inputs.mode = Mode::quorum;
  CHECK(commit_point(inputs) == 11);
  CHECK(durable_point(inputs) == 10);
  inputs.mode = Mode::local;
  CHECK(commit_point(inputs) == 12);
}

TEST_CASE("commit: M1, majorities of every set have to hold an update, and learners are in none") {
  // This host, 0 and 1 before; this host, 0 and 2 from now on; 3 learns.
  std::array<MemberProgress, 4> peers{{{5, 5}, {9, 9}, {7, 6}, {12, 12}}};
  const std::array<Quorum, 2> quorums{{{{0, 1}, true, 2}, {{0, 2}, true, 2}}};
  CommitInputs inputs{Mode::quorum, {12, 12}, peers, quorums, 0};
  CHECK(commit_point(inputs) == 7);
  CHECK(durable_point(inputs) == 6);
  inputs.quorums = {quorums.data(), 1};
  CHECK(commit_point(inputs) == 9);
  // One that leaves the set that decides.
  const Quorum others{{0, 1, 2}, false, 2};
  inputs.quorums = {&others, 1};
  CHECK(commit_point(inputs) == 7);
  // More are needed than there are.
  const Quorum absent{{}, true, 2};
  inputs.quorums = {&absent, 1};
  CHECK(commit_point(inputs) == 0);
}

TEST_CASE(
    "commit: W1, a witness counts for an update with a body once every data member of the newest set has "
    "it") {
  // This host, 0, and 1, which is a witness.
  std::array<MemberProgress, 2> peers{{{5, 5}, {12, 12}}};
  std::array<Quorum, 2> quorums{{{{0, 1}, true, 2, {1}}, {{1}, true, 2, {1}}}};
  CommitInputs inputs{Mode::quorum, {12, 12}, peers, {quorums.data(), 1}, 0, 6};
  CHECK(commit_point(inputs) == 5);
  CHECK(durable_point(inputs) == 5);
  // Up to the first body it counts as anybody.
  inputs.first_body_lsn = 9;
  CHECK(commit_point(inputs) == 8);
  // What is to survive a power cut of all is on a data member's disk.
  CHECK(durable_point(inputs) == 5);
  // A body that both data members have is committed without it.
  peers = {{{10, 9}, {7, 7}}};
  CHECK(commit_point(inputs) == 10);
  CHECK(durable_point(inputs) == 9);
  // W4: on with one data copy. The set before has to agree, and does so with the witness.
  peers = {{{0, 0}, {12, 11}}};
  inputs.quorums = quorums;
  inputs.first_body_lsn = 1;
  CHECK(commit_point(inputs) == 12);
  CHECK(durable_point(inputs) == 11);
  inputs.mode = Mode::durable;
  CHECK(commit_point(inputs) == 11);
}
