// Where the live blocks of cleaned segments went. Leaves keep naming the old place until they are next written
// (docs/core.md, Cleaning).
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/flat_map.h"
#include "core/base/ids.h"

namespace cloudfs {

struct Forward {
  uint16_t from_slot = 0;
  uint16_t to_slot = 0;
  uint32_t to_segment = 0;
};

class Forwards {
 public:
  /// The block's present place; birth and crc stay.
  Entry resolve(Entry entry) const {
    while (const Forward* forward = find(entry.segment, entry.slot)) {
      entry.segment = forward->to_segment;
      entry.slot = forward->to_slot;
    }
    return entry;
  }

  void add(uint32_t from_segment, const Forward& forward);

  /// Shortens chains and drops what leads to blocks that `is_live(segment, slot)` denies.
  template <class IsLive>
  void sweep(IsLive is_live);

  /// `visit(segment, forwards)`, each sorted by slot.
  template <class Visit>
  void each(Visit visit) const {
    by_segment_.each(visit);
  }
  size_t count() const { return count_; }

 private:
  const Forward* find(uint32_t segment, uint16_t slot) const;

  FlatMap<uint32_t, std::vector<Forward>> by_segment_;  // each sorted by from_slot
  size_t count_ = 0;
};

template <class IsLive>
void Forwards::sweep(IsLive is_live) {
  std::vector<std::pair<uint32_t, std::vector<Forward>>> kept;
  size_t kept_count = 0;
  by_segment_.each([&](uint32_t segment, const std::vector<Forward>& forwards) {
    std::vector<Forward> list;
    for (const Forward& forward : forwards) {
      const Entry place = resolve({forward.to_segment, forward.to_slot, 0, 0});
      if (is_live(place.segment, place.slot)) list.push_back({forward.from_slot, place.slot, place.segment});
    }
    kept_count += list.size();
    if (!list.empty()) kept.emplace_back(segment, std::move(list));
  });
  by_segment_ = {};
  for (auto& [segment, list] : kept) by_segment_.insert(segment, std::move(list));
  count_ = kept_count;
}

}  // namespace cloudfs
