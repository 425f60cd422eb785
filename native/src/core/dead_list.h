// The blocks of a parent version that a version no longer references: loose ones, and whole trees (docs/core.md). Says
// which blocks nobody can have any more, each once.
#pragma once

#include <functional>
#include <vector>

#include "core/extent_map.h"

namespace cloudfs {

/// Told of a block that has no owner any more, once.
using OnFree = std::function<void(const Entry&)>;

/// What `limit` separates: births above it are freed, the rest is kept in the list (or, in remains, forgotten).
class DeadList {
 public:
  /// A block that the version replaced.
  void add(PageCache& cache, const Entry& entry, Lsn limit, const OnFree& on_free);
  void add(Subtree tree) { unsettled_.push_back(std::move(tree)); }
  void add(Replaced&& replaced, PageCache& cache, Lsn limit, const OnFree& on_free);

  /// This list's version lost its parent: `other` is the parent's list, and `limit` the lsn of the one above it.
  void join(PageCache& cache, DeadList&& other, Lsn limit, const OnFree& on_free);

  /// The list's version is gone and has no children: what it alone can have stays, everything else is forgotten.
  void become_remains(Subtree root);

  /// Takes unsettled trees apart, looking at about `budget` entries, which it counts down. `keep` false: remains.
  [[nodiscard]] MissingPages settle(PageCache& cache, Lsn limit, bool keep, const OnFree& on_free,
                                    size_t& budget);
  bool settled() const { return unsettled_.empty(); }

  /// Drops pages that are stored from memory. No page write may be in flight.
  void evict();

  const std::vector<Entry>& tail() const { return tail_; }
  std::vector<Subtree> trees() const;
  size_t tree_count() const { return settled_.size() + unsettled_.size(); }
  bool empty() const { return tail_.empty() && settled_.empty() && unsettled_.empty(); }

 private:
  void append(PageCache& cache, const Entry& entry);

  std::vector<Entry> tail_;         // births not above the limit; fewer than a page
  std::vector<Subtree> settled_;    // greatest births not above the limit
  std::vector<Subtree> unsettled_;  // to be looked at, last one first
};

}  // namespace cloudfs
