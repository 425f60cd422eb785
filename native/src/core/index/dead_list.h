// The blocks of a parent version that a version no longer references: loose ones, and whole trees (docs/core.md). Says
// which blocks nobody can have any more, each once.
#pragma once

#include <functional>
#include <vector>

#include "core/index/extent_map.h"

namespace cloudfs {

/// Told of a block that has no owner any more, once.
using OnFree = std::function<void(const Entry&)>;

/// `limit` is the lsn of the version's parent, 0 without one. Blocks below this list with a birth above it are free to go,
/// the others stay. In remains, the limit is the lsn of the parent that was, and the others are forgotten.
class DeadList {
 public:
  /// What an update of the version replaced.
  void add(PageCache& cache, Replaced&& replaced, Lsn limit, const OnFree& on_free);

  /// The version's parent is gone, and `above` was the parent's list; `limit` is the lsn of the parent above it.
  void join(PageCache& cache, DeadList&& above, Lsn limit, const OnFree& on_free);

  /// The version is gone and has no children: what it alone can have stays, below `root` and in unsettled trees.
  void become_remains(Subtree root);

  /// Takes unsettled trees apart, looking at about `budget` entries, which it counts down.
  /// @returns pages it needs to go on
  [[nodiscard]] MissingPages settle(PageCache& cache, Lsn limit, bool remains, const OnFree& on_free,
                                    size_t& budget);
  bool settled() const { return unsettled_.empty(); }

  /// As a checkpoint has it. `trees` are all unsettled at first.
  void restore(std::vector<Entry> tail, std::vector<Subtree> trees);
  const std::vector<Entry>& tail() const { return tail_; }
  std::vector<Subtree> trees() const;

  /// As ExtentMap::attach_root, for each tree.
  void attach_roots(PageCache& cache);
  /// As PageCache::evict_leaves, from tree `index` on; `index` ends at SIZE_MAX when all were swept.
  void evict(PageCache& cache, uint32_t sweep, size_t& index, uint64_t& position, size_t& budget);

 private:
  void append(PageCache& cache, const Entry& entry);
  MissingPages look_ahead(PageCache& cache, Lsn limit);

  std::vector<Entry> tail_;         // births not above the limit; fewer than a page has
  std::vector<Subtree> settled_;    // births below them are not above the limit
  std::vector<Subtree> unsettled_;  // may have any; taken apart from the last one on
};

}  // namespace cloudfs
