// Writes the dirty pages below frozen roots and tells which index slots are in use (docs/core.md, Checkpoint, step 2).
// Each node in memory is visited once, children before parents; a bounded number per step.
#pragma once

#include <optional>
#include <vector>

#include "core/index/extent_map.h"

namespace cloudfs {

/// Where the walk's pages go.
class PageSink {
 public:
  virtual ~PageSink() = default;
  /// A free index slot (segment and slot of the result), or nothing: the walk stops there and asks again at the next step.
  virtual std::optional<Entry> take_slot() = 0;
  /// A page to be written at `entry`, whose crc and birth are now known. `bytes` must be copied.
  virtual void write_page(const Entry& entry, std::span<const uint8_t> bytes) = 0;
  /// A page on the store that the checkpoint reaches. May be told more than once for a page.
  virtual void page_used(const Entry& entry) = 0;
};

class CheckpointWalk {
 public:
  /// The roots are held until the walk is destroyed. One walk at a time for a cache.
  CheckpointWalk(PageCache& cache, std::vector<Subtree> roots);

  struct Step {
    bool done = false;
    bool blocked = false;  // take_slot() had none
    MissingPages missing;  // interior pages that must be read: what they name is in use too
  };
  /// Looks at about `budget` entries. After `done` every root's Slot::place() is known, and stays known.
  Step step(PageSink& sink, size_t budget);

 private:
  struct Frame {
    NodeRef node;
    uint32_t next = 0;  // child to look at
  };

  bool enter(PageSink& sink, const Entry& entry, NodeRef& node, uint8_t level);
  bool finish(PageSink& sink, MapNode& node);
  void look_ahead(MissingPages& missing);

  PageCache& cache_;
  const uint32_t mark_;
  std::vector<Subtree> roots_;
  size_t next_root_ = 0;
  std::vector<Frame> path_;
};

}  // namespace cloudfs
