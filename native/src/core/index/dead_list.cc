#include "core/index/dead_list.h"

#include <algorithm>
#include <iterator>

namespace cloudfs {

namespace {

void move_to_end(std::vector<Subtree>& target, std::vector<Subtree>&& source) {
  if (target.empty())
    target = std::move(source);
  else
    target.insert(target.end(), std::move_iterator(source.begin()), std::move_iterator(source.end()));
  source.clear();
}

}  // namespace

void DeadList::add(PageCache& cache, Replaced&& replaced, Lsn limit, const OnFree& on_free) {
  for (const Entry& entry : replaced.entries)
    if (entry.birth > limit)
      on_free(entry);
    else
      append(cache, entry);
  move_to_end(unsettled_, std::move(replaced.subtrees));
}

void DeadList::append(PageCache& cache, const Entry& entry) {
  tail_.push_back(entry);
  if (tail_.size() < cache.fan()) return;
  Subtree page;
  MapNode* const node = cache.writable({}, page.level, page.slot.node);
  for (size_t index = 0; index < tail_.size(); ++index) {
    node->entries()[index] = PackedEntry::pack(tail_[index]);
    page.slot.entry.birth = std::max(page.slot.entry.birth, tail_[index].birth);
  }
  tail_.clear();
  settled_.push_back(std::move(page));
}

void DeadList::join(PageCache& cache, DeadList&& above, Lsn limit, const OnFree& on_free) {
  // This list was settled for the parent that is gone; for the one above it, it is not. The parent's list is as it was.
  move_to_end(unsettled_, std::move(settled_));
  move_to_end(unsettled_, std::move(above.unsettled_));
  settled_ = std::move(above.settled_);
  std::vector<Entry> tail = std::exchange(tail_, std::move(above.tail_));
  add(cache, {std::move(tail), {}}, limit, on_free);
  above = {};
}

void DeadList::become_remains(Subtree root) {
  tail_.clear();
  settled_.clear();
  unsettled_.push_back(std::move(root));
}

MissingPages DeadList::settle(PageCache& cache, Lsn limit, bool remains, const OnFree& on_free,
                              size_t& budget) {
  while (budget > 0 && !unsettled_.empty()) {
    --budget;
    Subtree& last = unsettled_.back();
    if (last.slot.empty() || last.slot.entry.birth <= limit) {
      if (!last.slot.empty() && !remains) settled_.push_back(std::move(last));
      unsettled_.pop_back();
      continue;
    }
    if (!cache.attach(last.slot.entry, last.level, last.slot.node)) return look_ahead(cache, limit);
    // From here on the page stands for nothing: what is below it is freed, in the list, or a tree by itself.
    const Subtree tree = std::move(last);
    unsettled_.pop_back();
    budget -= std::min<size_t>(budget, cache.fan());
    for (uint32_t index = 0; index < cache.fan(); ++index) {
      Slot below =
          tree.level > 0 ? tree.slot.node->slot(index) : Slot{tree.slot.node->entries()[index].unpack(), {}};
      if (below.empty()) continue;
      if (tree.level > 0)
        unsettled_.push_back({std::move(below), static_cast<uint8_t>(tree.level - 1)});
      else if (below.entry.birth > limit)
        on_free(below.entry);
      else if (!remains)
        append(cache, below.entry);
    }
  }
  return {};
}

/// The pages that settling will need next and lacks.
MissingPages DeadList::look_ahead(PageCache& cache, Lsn limit) {
  MissingPages missing;
  for (size_t index = unsettled_.size(); index-- > 0 && missing.size() < kMissingMax;) {
    Subtree& tree = unsettled_[index];
    if (tree.slot.empty() || tree.slot.entry.birth <= limit) continue;
    if (!cache.attach(tree.slot.entry, tree.level, tree.slot.node))
      missing.push_back({tree.slot.entry, tree.level});
  }
  return missing;
}

void DeadList::restore(std::vector<Entry> tail, std::vector<Subtree> trees) {
  tail_ = std::move(tail);
  unsettled_ = std::move(trees);
}

std::vector<Subtree> DeadList::trees() const {
  std::vector<Subtree> trees;
  trees.reserve(settled_.size() + unsettled_.size());
  trees.insert(trees.end(), settled_.begin(), settled_.end());
  trees.insert(trees.end(), unsettled_.begin(), unsettled_.end());
  return trees;
}

void DeadList::attach_roots(PageCache& cache) {
  for (std::vector<Subtree>* trees : {&settled_, &unsettled_})
    for (Subtree& tree : *trees)
      if (tree.level > 0) cache.attach(tree.slot.entry, tree.level, tree.slot.node);
}

void DeadList::evict(PageCache& cache, uint32_t sweep, size_t& index, uint64_t& position, size_t& budget) {
  // Trees come and go between two calls; then some are passed over, and found by the next sweep.
  for (; index < settled_.size() + unsettled_.size(); ++index, position = 0) {
    if (budget == 0) return;
    Subtree& tree = index < settled_.size() ? settled_[index] : unsettled_[index - settled_.size()];
    cache.evict_leaves(tree.slot, tree.level, sweep, position, budget);
    if (position != UINT64_MAX) return;
  }
  index = SIZE_MAX;
}

}  // namespace cloudfs
