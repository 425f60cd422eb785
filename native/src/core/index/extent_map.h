// Which entry each block of a volume has: a copy-on-write tree (docs/core.md, The map). A value: copying it costs one
// reference, and the copies never see each other's changes.
//
// An operation that needs pages which are not in memory returns them and has changed nothing. Changes come in two steps:
// prepare_*() until it returns none, then the change itself, which cannot fail; between the two nothing may be evicted.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/index/page_cache.h"

namespace cloudfs {

/// `count` blocks from `block` on. A stored entry stands for one block; a zeroed one for as many as share a birth.
struct MapRun {
  uint64_t block = 0;
  uint64_t count = 0;
  Entry entry;
  bool operator==(const MapRun&) const = default;
};

/// Blocks that are all stored, or all holes.
struct MapStatus {
  uint64_t block = 0;
  uint64_t count = 0;
  bool stored = false;
  bool operator==(const MapStatus&) const = default;
};

/// The largest volume: 2^62 bytes.
constexpr uint64_t kBlocksMax = uint64_t{1} << 50;
constexpr Lsn kBirthMax = (Lsn{1} << 48) - 1;

/// A whole subtree: `slot` covers fan^(level+1) blocks; a page of blocks is level 0.
struct Subtree {
  Slot slot;
  uint8_t level = 0;
};

/// What a change took out of a map. Each stored entry that was replaced is here, or lies below one of the subtrees, once.
struct Replaced {
  std::vector<Entry> entries;
  std::vector<Subtree> subtrees;
};

class ExtentMap {
 public:
  ExtentMap() = default;
  /// All zero. `blocks` is at most kBlocksMax.
  ExtentMap(PageCache& cache, uint64_t blocks);
  /// As a checkpoint has it.
  ExtentMap(PageCache& cache, uint64_t blocks, uint8_t height, const Entry& root);

  /// The greatest height a checkpoint can have.
  static uint8_t height_max(const PageCache& cache) {
    return static_cast<uint8_t>((50 + cache.fan_log2() - 1) / cache.fan_log2());
  }

  uint64_t blocks() const { return blocks_; }
  uint8_t height() const { return height_; }
  const Slot& root() const { return root_; }
  Subtree tree() const { return {root_, static_cast<uint8_t>(height_ - 1)}; }

  /// Appends the entries of blocks [first, first + count), in order and without gaps.
  [[nodiscard]] MissingPages lookup(uint64_t first, uint64_t count, std::vector<MapRun>& runs);

  /// Appends entries with a birth above `born_after` (holes too), in order, from `position` on, until `end`, until
  /// `runs` has `runs_max`, or until a bounded number of pages was looked at. `position` moves to the first block not
  /// looked at: done when it is `end`. With missing pages, `runs` and `position` say what was found before them.
  [[nodiscard]] MissingPages scan(uint64_t& position, uint64_t end, Lsn born_after, size_t runs_max,
                                  std::vector<MapRun>& runs);

  /// As scan, for block status: all blocks, neighbours of one kind joined.
  [[nodiscard]] MissingPages status(uint64_t& position, uint64_t end, size_t runs_max,
                                    std::vector<MapStatus>& runs);

  /// Blocks [first, first + entries.size()) become `entries`, stored or zeroed. Replaced entries go to `replaced`.
  [[nodiscard]] MissingPages prepare_set(uint64_t first, uint64_t count);
  /// `before`, if given: all entries there were, zeroed ones too, are appended.
  void set(uint64_t first, std::span<const Entry> entries, Replaced& replaced,
           std::vector<PackedEntry>* before = nullptr);

  /// Takes a change back, after prepare_set(): blocks [first, first + count) are `entry` again, as they were at `lsn`. When
  /// all changes since are taken back, every birth is at most `lsn`; in between the bounds above the leaves may be wrong.
  void put_back(uint64_t first, uint64_t count, const PackedEntry& entry, Lsn lsn);

  /// Blocks [first, first + count) become zero with `birth`. Subtrees that lie wholly inside go to `replaced` as they are,
  /// unread; those that are empty already keep their birth, as they have been zero since then: unless `dates_empty`, for a
  /// copy of another map, whose births tell what became zero when.
  [[nodiscard]] MissingPages prepare_zero(uint64_t first, uint64_t count);
  void zero(uint64_t first, uint64_t count, Lsn birth, Replaced& replaced, bool dates_empty = false);

  /// Growing adds height and empty blocks; shrinking zeroes what lies beyond the end, and keeps the height.
  [[nodiscard]] MissingPages prepare_resize(uint64_t blocks);
  void resize(uint64_t blocks, Lsn birth, Replaced& replaced);

  /// If the leaf of `block` is in memory and names the place of `from`: it names that of `to` from now on, with its birth.
  /// Nothing is replaced. @returns whether it did
  bool mend(uint64_t block, const Entry& from, const Entry& to);

  /// If the page of the root is in memory (another version or a checkpoint walk read it), keeps it.
  void attach_root();

  /// PageCache::evict_leaves() over the map.
  void evict(uint32_t sweep, uint64_t& position, size_t& budget);

 private:
  struct Visit;
  uint8_t top() const { return static_cast<uint8_t>(height_ - 1); }
  uint64_t capacity() const { return uint64_t{1} << (cache_->fan_log2() * height_); }
  MapNode* attached_leaf(uint64_t block) const;
  void check_range(uint64_t first, uint64_t count) const;

  template <class OnRun>
  void visit(const Entry& entry, NodeRef& node, uint8_t level, uint64_t base, Visit& visit, OnRun& on_run);
  void prepare(const Entry& entry, NodeRef& node, uint8_t level, uint64_t base, uint64_t first, uint64_t end,
               bool read_whole, MissingPages& missing);
  void zero_below(Entry& entry, NodeRef& node, uint8_t level, uint64_t base, uint64_t first, uint64_t end,
                  Lsn birth, Replaced& replaced, bool dates_empty = false);

  PageCache* cache_ = nullptr;
  Slot root_;
  uint8_t height_ = 0;
  uint64_t blocks_ = 0;
};

}  // namespace cloudfs
