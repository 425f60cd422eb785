#include "core/volume/commit.h"

#include <doctest/doctest.h>

#include <array>

using namespace cloudfs;

TEST_CASE(
    "commit: E6, a majority that holds the last view's records commits none of them before the present "
    "view's") {
  std::array<MemberProgress, 2> peers{{{9, 9}, {9, 9}}};
  CommitInputs inputs{Mode::quorum, {10, 9}, peers, 2, 0};
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
