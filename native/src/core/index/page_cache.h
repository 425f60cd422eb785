// The nodes of all trees of one store: allocates and frees them, and knows every clean one by its entry, so that trees
// which name the same page share one node.
//
// A node whose count reaches zero is not freed at once but queued, and frees its children's counts when its turn comes:
// dropping a tree of a million nodes costs no pause. reap() does a bounded amount of that; every allocation does a little.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "core/index/map_node.h"

namespace cloudfs {

/// A page that an operation needs and that is not in memory. Read it, install() it, start the operation again.
struct MissingPage {
  Entry entry;
  uint8_t level = 0;
  bool operator==(const MissingPage&) const = default;
};
/// What an operation lacks; empty: it was carried out. At most kMissingMax of what it will need, so that a cold range is
/// read in parallel.
using MissingPages = std::vector<MissingPage>;
constexpr size_t kMissingMax = 64;

class PageCache {
 public:
  /// `fan_log2`: entries in a page. The format has 256; tests use small pages to get tall trees.
  explicit PageCache(uint32_t fan_log2 = 8);
  ~PageCache();
  PageCache(const PageCache&) = delete;
  PageCache& operator=(const PageCache&) = delete;

  uint32_t fan_log2() const { return fan_log2_; }
  uint32_t fan() const { return 1u << fan_log2_; }
  uint32_t page_bytes() const { return uint32_t{sizeof(PackedEntry)} << fan_log2_; }

  /// Makes a page that was read available to every tree that names it. `bytes` is page_bytes() long and copied.
  /// @returns false if the bytes are not what the entry names (crc): the caller reports corruption. A page that nobody
  ///   wants any more is kept for a while and dropped (kUnclaimedMax).
  bool install(const MissingPage& page, const uint8_t* bytes);

  /// Frees up to `budget` nodes that nobody references. @returns true if none is left.
  bool reap(size_t budget);

  /// Drops clean leaves below `slot` from memory that were not used since a sweep last came by, from block `position` of
  /// the subtree on. Counts down `budget` for each page looked at; `position` ends at UINT64_MAX when all were. Nodes
  /// that the sweep has been through under another parent are passed over. No page write may be in flight: what is
  /// dropped is read back from its place.
  void evict_leaves(Slot& slot, uint8_t level, uint32_t sweep, uint64_t& position, size_t& budget);

  size_t node_count() const { return node_count_; }  // in memory, those to be reaped included
  size_t clean_count() const { return clean_count_; }
  size_t dirty_count() const { return node_count_ - clean_count_ - doomed_.size(); }
  size_t memory_bytes() const { return memory_bytes_; }
  /// About: as if all of them were leaves.
  size_t dirty_bytes() const { return dirty_count() * node_bytes(0); }

  /// Pages installed and not attached to a tree yet. Far more than reads in flight; past this all are dropped, and who still
  /// wants one reads it again.
  static constexpr size_t kUnclaimedMax = 4096;

 private:
  friend class NodeRef;
  friend class ExtentMap;
  friend class CheckpointWalk;
  friend class DeadList;
  friend class Lineage;

  struct Key {
    uint32_t segment;
    uint16_t slot;
    uint8_t level;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const noexcept {
      const uint64_t value = key.segment | uint64_t{key.slot} << 32 | uint64_t{key.level} << 48;
      return static_cast<size_t>((value * 0x9e3779b97f4a7c15) >> 17);
    }
  };
  static Key key_of(const Entry& entry, uint8_t level) { return {entry.segment, entry.slot, level}; }

  size_t node_bytes(uint8_t level) const;
  MapNode* allocate(uint8_t level);
  void doom(MapNode* node);  // its count has reached zero
  void free_node(MapNode* node);

  /// The node of a stored page, with a count for the caller; empty if it is not in memory.
  NodeRef find(const Entry& entry, uint8_t level);
  bool holds(const Entry& entry, uint8_t level) const {
    const auto found = index_.find(key_of(entry, level));
    return found != index_.end() && found->second->place_ == entry;
  }
  /// Makes `node` refer to the stored page `entry` if it does not yet and the page is in memory. @returns whether it does now
  bool attach(const Entry& entry, uint8_t level, NodeRef& node);

  /// The node at `node`, fit to be changed: created (filled with zeroed entries of `entry.birth`) where there is none, copied
  /// where it is shared, dirty in any case. A stored page must have been attached.
  MapNode* writable(const Entry& entry, uint8_t level, NodeRef& node);

  bool evict_below(MapNode* node, uint64_t base, uint32_t sweep, uint64_t& position, size_t& budget);

  void set_clean(MapNode* node, const Entry& place);
  void set_dirty(MapNode* node);

  const uint32_t fan_log2_;
  std::unordered_map<Key, MapNode*, KeyHash> index_;  // clean nodes by their place
  std::unordered_map<MapNode*, NodeRef> unclaimed_;
  std::vector<MapNode*> doomed_;
  size_t node_count_ = 0;
  size_t clean_count_ = 0;
  size_t memory_bytes_ = 0;
  uint32_t walk_ = 0;  // counts checkpoint walks
};

}  // namespace cloudfs
