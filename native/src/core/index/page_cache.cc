#include "core/index/page_cache.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <span>

#include "core/base/checksum.h"

namespace cloudfs {

namespace {

// An allocation pays for what was freed before it, two nodes at a time, so that doomed nodes do not pile up.
constexpr size_t kReapedPerAllocation = 2;

}  // namespace

PageCache::PageCache(uint32_t fan_log2) : fan_log2_(fan_log2) {
  ensure(fan_log2 >= 1 && fan_log2 <= 8, "a page has 2 to 256 entries");
}

PageCache::~PageCache() {
  unclaimed_.clear();
  reap(SIZE_MAX);
  ensure(node_count_ == 0, "trees do not outlive their page cache");
}

bool PageCache::install(const MissingPage& page, const uint8_t* bytes) {
  if (crc32c({bytes, page_bytes()}) != page.entry.crc) return false;
  if (find(page.entry, page.level)) return true;
  MapNode* node = allocate(page.level);
  std::memcpy(static_cast<void*>(node->entries()), bytes, page_bytes());
  set_clean(node, page.entry);
  if (unclaimed_.size() >= kUnclaimedMax) unclaimed_.clear();
  unclaimed_.emplace(node, NodeRef::adopt(node));
  return true;
}

bool PageCache::reap(size_t budget) {
  for (; budget > 0 && !doomed_.empty(); --budget) {
    MapNode* node = doomed_.back();
    doomed_.pop_back();
    free_node(node);
  }
  return doomed_.empty();
}

size_t PageCache::node_bytes(uint8_t level) const {
  const size_t entry_bytes = sizeof(PackedEntry) + (level > 0 ? sizeof(NodeRef) : 0);
  return sizeof(MapNode) + entry_bytes * fan();
}

MapNode* PageCache::allocate(uint8_t level) {
  reap(kReapedPerAllocation);
  const size_t bytes = node_bytes(level);
  auto* node = new (::operator new(bytes)) MapNode(this, level);
  if (level > 0) std::uninitialized_default_construct_n(node->children(), fan());
  ++node_count_;
  memory_bytes_ += bytes;
  return node;
}

void PageCache::doom(MapNode* node) {
  // Out of the index at once: what is doomed is not found again.
  if (node->clean_) set_dirty(node);
  doomed_.push_back(node);
}

void PageCache::free_node(MapNode* node) {
  const size_t bytes = node_bytes(node->level_);
  if (node->level_ > 0) std::destroy_n(node->children(), fan());  // may doom children
  node->~MapNode();
  ::operator delete(node);
  --node_count_;
  memory_bytes_ -= bytes;
}

NodeRef PageCache::find(const Entry& entry, uint8_t level) {
  const auto found = index_.find(key_of(entry, level));
  // A node of an earlier life of the slot, which nobody has claimed, differs in birth or crc.
  if (found == index_.end() || found->second->place_ != entry) return {};
  MapNode* node = found->second;
  ++node->count_;
  if (node->unclaimed_) {
    node->unclaimed_ = false;
    unclaimed_.erase(node);
  }
  return NodeRef::adopt(node);
}

bool PageCache::attach(const Entry& entry, uint8_t level, NodeRef& node) {
  if (!node && entry.stored()) node = find(entry, level);
  return static_cast<bool>(node);
}

MapNode* PageCache::writable(const Entry& entry, uint8_t level, NodeRef& node) {
  if (!node) {
    ensure(!entry.stored(), "a change was prepared: the pages it needs are in memory");
    MapNode* created = allocate(level);
    std::uninitialized_fill_n(created->entries(), fan(), PackedEntry::pack({.birth = entry.birth}));
    node = NodeRef::adopt(created);
  } else if (node->count_ > 1) {
    MapNode* copy = allocate(level);
    std::memcpy(static_cast<void*>(copy->entries()), node->entries(), page_bytes());
    if (level > 0) std::copy_n(node->children(), fan(), copy->children());
    node = NodeRef::adopt(copy);
  } else if (node->clean_) {
    set_dirty(node.get());
  }
  return node.get();
}

void PageCache::evict_leaves(Slot& slot, uint8_t level, uint32_t sweep, uint64_t& position, size_t& budget) {
  if (slot.node && level == 0) {
    if (slot.node->clean_ && !std::exchange(slot.node->used_, false)) slot = {slot.node->place_, {}};
  } else if (slot.node && !evict_below(slot.node.get(), 0, sweep, position, budget)) {
    return;
  }
  position = UINT64_MAX;
  if (budget > 0) --budget;
}

/// @returns whether the sweep is through with all below `node`; if not, `position` says where it stopped
bool PageCache::evict_below(MapNode* node, uint64_t base, uint32_t sweep, uint64_t& position,
                            size_t& budget) {
  if (node->sweep_ == sweep) return true;
  const uint32_t child_log2 = fan_log2_ * node->level_;
  for (uint64_t index = position > base ? (position - base) >> child_log2 : 0; index < fan(); ++index) {
    NodeRef& child = node->children()[index];
    if (!child) continue;
    if (budget == 0) {
      position = std::max(position, base + (index << child_log2));
      return false;
    }
    if (node->level_ > 1) {
      if (!evict_below(child.get(), base + (index << child_log2), sweep, position, budget)) return false;
    } else if (child->clean_ && !std::exchange(child->used_, false)) {
      node->entries()[index] = PackedEntry::pack(child->place_);
      child = {};
    }
    if (budget > 0) --budget;
  }
  node->sweep_ = sweep;
  return true;
}

void PageCache::set_clean(MapNode* node, const Entry& place) {
  ensure(!node->clean_, "a page is stored once");
  node->clean_ = true;
  node->place_ = place;
  ++clean_count_;
  if (place.stored()) index_[key_of(place, node->level_)] = node;
}

void PageCache::set_dirty(MapNode* node) {
  node->clean_ = false;
  --clean_count_;
  const auto found = index_.find(key_of(node->place_, node->level_));
  if (found != index_.end() && found->second == node) index_.erase(found);
}

}  // namespace cloudfs
