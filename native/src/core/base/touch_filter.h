// Which blocks pending records touch, roughly: per group of blocks the newest lsn that touched one of them. May name a
// later lsn than the true one, never an earlier one; nothing has to be taken out, for lsns that are applied no longer
// matter.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/base/ids.h"

namespace cloudfs {

class TouchFilter {
 public:
  void touch(uint64_t first, uint64_t end, Lsn lsn) {
    if (wide(first, end)) {
      wide_ = lsn;
      return;
    }
    for (uint64_t group = first >> kGroupLog2; group <= (end - 1) >> kGroupLog2; ++group)
      groups_[cell(group)] = lsn;
  }

  /// No record newer than this touches a block of [first, end).
  Lsn newest(uint64_t first, uint64_t end) const {
    if (wide(first, end)) return std::max(wide_, *std::max_element(groups_.begin(), groups_.end()));
    Lsn lsn = wide_;
    for (uint64_t group = first >> kGroupLog2; group <= (end - 1) >> kGroupLog2; ++group)
      lsn = std::max(lsn, groups_[cell(group)]);
    return lsn;
  }

 private:
  static constexpr uint32_t kGroupLog2 = 4;
  static constexpr size_t kCells = 1024;

  static bool wide(uint64_t first, uint64_t end) {
    return ((end - 1) >> kGroupLog2) - (first >> kGroupLog2) >= 64;
  }
  static size_t cell(uint64_t group) { return static_cast<size_t>((group * 0x9e3779b97f4a7c15) >> 54); }

  std::array<Lsn, kCells> groups_{};
  Lsn wide_ = 0;
};

}  // namespace cloudfs
