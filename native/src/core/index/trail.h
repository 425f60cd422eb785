// What a head leaves behind: the versions of it that were shown lately, and what its updates replaced since (docs/core.md,
// Versions shown lately). The map of such a version is the head's with those updates taken back: a random write costs 32
// bytes here, where a version with a map of its own costs a page for each leaf that is written after it.
#pragma once

#include <deque>

#include "core/base/ids.h"
#include "core/index/extent_map.h"

namespace cloudfs {

using NodeId = uint64_t;  // of a version: counts up in a store, never used twice; 0 = none

struct Trail {
  /// Blocks [first, first + count) had this entry before the update `lsn`. Several blocks had a zeroed one.
  struct Step {
    Step(Lsn at, uint64_t first_block, uint64_t blocks, PackedEntry before)
        : key_(at | blocks << 48), first(first_block), entry(before) {}
    Lsn lsn() const { return key_ & kBirthMax; }
    uint64_t count() const { return key_ >> 48; }

   private:
    uint64_t key_;

   public:
    uint64_t first;
    PackedEntry entry;
  };
  static constexpr uint64_t kStepBlocksMax = 0xffff;

  struct Kept {
    NodeId node = 0;
    Lsn lsn = 0;
    uint64_t until_ns = 0;
  };

  /// The lsn of the newest one before the update `lsn`; 0 = none.
  Lsn newest_before(Lsn lsn) const {
    for (auto at = kept.rbegin(); at != kept.rend(); ++at)
      if (at->lsn < lsn) return at->lsn;
    return 0;
  }
  const Step& step(uint64_t number) const { return steps[number - dropped]; }

  std::deque<Kept> kept;    // by lsn; those without a map, and those that others are made from
  std::deque<Step> steps;   // by lsn; of updates newer than the oldest version kept
  uint64_t dropped = 0;     // steps that were before `steps`: numbers them
  size_t tail_entries = 0;  // in the dead lists' tails of versions kept without a map, about
};

}  // namespace cloudfs
