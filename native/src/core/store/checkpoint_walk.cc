#include "core/store/checkpoint_walk.h"

#include <algorithm>
#include <utility>

#include "core/base/checksum.h"

namespace cloudfs {

CheckpointWalk::CheckpointWalk(PageCache& cache, std::vector<Subtree> roots)
    : cache_(cache), mark_(++cache.walk_), roots_(std::move(roots)) {}

CheckpointWalk::Step CheckpointWalk::step(PageSink& sink, size_t budget) {
  Step step;
  while (budget > 0) {
    --budget;
    if (path_.empty()) {
      if (next_root_ == roots_.size()) {
        step.done = true;
        return step;
      }
      Subtree& root = roots_[next_root_];
      if (!enter(sink, root.slot.entry, root.slot.node, root.level)) {
        look_ahead(step.missing);
        return step;
      }
      ++next_root_;
      continue;
    }
    Frame& frame = path_.back();
    MapNode& node = *frame.node.get();
    if (node.level_ > 0 && frame.next < cache_.fan()) {
      const uint32_t index = frame.next++;
      if (!enter(sink, node.entries()[index].unpack(), node.children()[index],
                 static_cast<uint8_t>(node.level_ - 1))) {
        --frame.next;
        look_ahead(step.missing);
        return step;
      }
      continue;
    }
    if (!node.clean_) budget -= std::min<size_t>(budget, cache_.fan());
    if (!finish(sink, node)) {
      step.blocked = true;
      return step;
    }
    path_.pop_back();
  }
  return step;
}

/// Goes down into a slot's page, unless the walk has been there. @returns false if the page must be read first
bool CheckpointWalk::enter(PageSink& sink, const Entry& entry, NodeRef& node, uint8_t level) {
  if (!node && !entry.stored()) return true;
  if (!cache_.attach(entry, level, node)) {
    if (level > 0) return false;
    sink.page_used(entry);
    return true;
  }
  if (node->walk_ == mark_) return true;
  node->walk_ = mark_;
  if (node->level_ == 0 && node->clean_) {
    if (node->place_.stored()) sink.page_used(node->place_);
    return true;
  }
  path_.push_back({node, 0});
  return true;
}

/// The children of `node` are done: so is the node. @returns false if there is no slot to write it to
bool CheckpointWalk::finish(PageSink& sink, MapNode& node) {
  if (node.clean_) {
    if (node.place_.stored()) sink.page_used(node.place_);
    return true;
  }
  // From here on the entries name the children's places, with their exact births; no tree that shares the node sees a
  // difference.
  Entry place;
  bool any_stored = false;
  for (uint32_t index = 0; index < cache_.fan(); ++index) {
    PackedEntry& packed = node.entries()[index];
    if (node.level_ > 0 && node.children()[index])
      packed = PackedEntry::pack(node.children()[index]->place());
    place.birth = std::max(place.birth, packed.birth());
    any_stored = any_stored || packed.stored();
  }
  // A page that names nothing is an empty slot of its parent.
  if (any_stored) {
    const std::optional<Entry> slot = sink.take_slot();
    if (!slot) return false;
    const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(node.entries()),
                                         cache_.page_bytes());
    place.segment = slot->segment;
    place.slot = slot->slot;
    place.crc = crc32c(bytes);
    sink.write_page(place, bytes);
  }
  cache_.set_clean(&node, place);
  return true;
}

/// What the walk will need soon and lacks, the page it stands at first.
void CheckpointWalk::look_ahead(MissingPages& missing) {
  const auto lack = [&](const Entry& entry, const NodeRef& node, uint8_t level) {
    const MissingPage page{entry, level};
    if (!node && entry.stored() && level > 0 && missing.size() < kMissingMax && !cache_.holds(entry, level) &&
        std::find(missing.begin(), missing.end(), page) == missing.end())
      missing.push_back(page);
  };
  if (!path_.empty()) {
    MapNode* const node = path_.back().node.get();
    for (uint32_t index = path_.back().next; index < cache_.fan(); ++index)
      lack(node->entries()[index].unpack(), node->children()[index], static_cast<uint8_t>(node->level_ - 1));
  }
  for (size_t index = next_root_; index < roots_.size() && index < next_root_ + kMissingMax; ++index)
    lack(roots_[index].slot.entry, roots_[index].slot.node, roots_[index].level);
}

}  // namespace cloudfs
