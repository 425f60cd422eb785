#include "core/index/forwards.h"

#include <algorithm>

namespace cloudfs {

const Forward* Forwards::find(uint32_t segment, uint16_t slot) const {
  const std::vector<Forward>* list = by_segment_.find(segment);
  if (list == nullptr) return nullptr;
  const auto at =
      std::lower_bound(list->begin(), list->end(), slot,
                       [](const Forward& forward, uint16_t wanted) { return forward.from_slot < wanted; });
  return at != list->end() && at->from_slot == slot ? &*at : nullptr;
}

void Forwards::add(uint32_t from_segment, const Forward& forward) {
  std::vector<Forward>* list = by_segment_.find(from_segment);
  if (list == nullptr) list = &by_segment_.insert(from_segment, {});
  const auto at =
      std::lower_bound(list->begin(), list->end(), forward.from_slot,
                       [](const Forward& one, uint16_t wanted) { return one.from_slot < wanted; });
  ensure(at == list->end() || at->from_slot != forward.from_slot, "a block moves out of its place once");
  list->insert(at, forward);
  ++count_;
}

}  // namespace cloudfs
