// The versions of all volumes of a store, and who frees what (docs/core.md, Versions, dead lists, liveness). Owns the maps:
// every change of a map goes through here, so that each block it replaces is accounted for.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/checkpoint_codec.h"
#include "core/dead_list.h"
#include "core/extent_map.h"
#include "core/ids.h"

namespace cloudfs {

using NodeId = uint64_t;  // counts up in a store, never used twice; 0 = none

enum class NodeKind : uint8_t {
  head = 1,
  named = 2,
  hidden = 4,
  remains = 8
};  // as in the checkpoint's `flags`

/// A version: a head or a snapshot. Remains are what is left to free of a deleted one, and hang on nothing.
struct VersionNode {
  NodeId id = 0;
  NodeKind kind = NodeKind::head;
  NodeId parent = 0;
  std::set<NodeId> children;
  Lsn lsn =
      0;  // of a snapshot: its newest update. Of remains: the limit. Of a head: where it left its parent
  VolumeId volume;
  VersionId version;  // public id, of snapshots
  std::string name;   // of named ones
  ExtentMap map;
  DeadList dead;
  bool has_work = false;  // is among the nodes that step() looks at
};

/// A node as frozen for a checkpoint; places are known once the walk is done.
struct FrozenNode {
  NodeId id = 0;
  NodeKind kind = NodeKind::head;
  NodeId parent = 0;
  Lsn lsn = 0;
  VolumeId volume;
  VersionId version;
  std::string name;
  uint64_t blocks = 0;
  uint8_t height = 0;  // 0: remains, which have no map
  Slot root;
  std::vector<Subtree> dead_trees;
  std::vector<Entry> dead_tail;
};

/// The node as the checkpoint stores it, after the walk; and back.
CheckpointNode to_checkpoint(const FrozenNode& node);
FrozenNode from_checkpoint(const CheckpointNode& node);

struct FrozenLineage {
  NodeId next_node = 1;
  std::vector<FrozenNode> nodes;
  /// What the checkpoint walk has to visit.
  std::vector<Subtree> roots() const;
};

class Lineage {
 public:
  /// `on_free` is told of each block when no version has it any more; it must not call back into the lineage.
  Lineage(PageCache& cache, OnFree on_free);

  // Versions. Ids must exist and be of the kind named: the caller has checked what a client asked for.
  NodeId create(const VolumeId& volume, uint64_t blocks, Lsn lsn);
  /// The head's state, `lsn` being its newest applied update, as a named snapshot.
  NodeId snapshot(NodeId head, Lsn lsn, const VersionId& version, std::string name);
  /// A node to branch from for the head's present state: its parent if nothing was applied since, else a hidden snapshot.
  NodeId branch_point(NodeId head, Lsn lsn, const VersionId& version);
  /// A new volume's head, below a snapshot. Its first update has a greater lsn than the snapshot's.
  NodeId branch(NodeId snapshot, const VolumeId& volume);
  /// A head's present state as a hidden snapshot; it stays while the head and something else stand below it.
  NodeId hide(NodeId head, Lsn lsn, const VersionId& version);
  /// A hidden snapshot gets a name.
  void name_snapshot(NodeId snapshot, std::string name);
  /// A head goes, and what it alone has; the hidden snapshots above it as far as nobody else stands on them.
  void drop_head(NodeId head);
  /// Drops the heads that are not among `kept`: a crash left them (docs/core.md, Compacted catch-up).
  void drop_other_heads(const std::set<NodeId>& kept);
  /// Unnames a snapshot. It goes when fewer than two versions depend on it.
  void delete_snapshot(NodeId snapshot);
  /// The volume's head goes; its named snapshots stay only as far as branches of other volumes depend on them.
  void delete_volume(const VolumeId& volume);

  VersionNode& node(NodeId id);
  const VersionNode* find(NodeId id) const;
  const std::map<NodeId, VersionNode>& nodes() const { return nodes_; }
  /// Births above it are the version's own: nobody shares the block.
  Lsn limit(const VersionNode& node) const;

  // Updates of a head, in two steps as in ExtentMap. `birth` and the births of stored entries are above limit().
  [[nodiscard]] MissingPages prepare_write(NodeId head, uint64_t first, uint64_t count);
  void write(NodeId head, uint64_t first, std::span<const Entry> entries);
  [[nodiscard]] MissingPages prepare_zero(NodeId head, uint64_t first, uint64_t count);
  void zero(NodeId head, uint64_t first, uint64_t count, Lsn birth);
  [[nodiscard]] MissingPages prepare_resize(NodeId head, uint64_t blocks);
  void resize(NodeId head, uint64_t blocks, Lsn birth);
  /// The cleaner moved a block: mends the head's leaf if that is possible at once and nobody else shares the block.
  bool mend(NodeId head, uint64_t block, const Entry& from, const Entry& to);

  /// Background work: frees what deletions and trims left, looking at about `budget` entries.
  struct Step {
    bool idle = false;     // nothing left to do
    MissingPages missing;  // pages to read before it can go on
  };
  Step step(size_t budget);

  /// Drops clean leaves that were not used lately from memory, looking at about `budget` pages; goes round all versions.
  /// Only while no page write is in flight (from a checkpoint walk's start to its last write's completion).
  void evict(size_t budget);

  /// One reference for each version and tree. The copies are not changed by what happens to the lineage afterwards.
  FrozenLineage freeze() const;
  /// Keeps the interior pages that a walk over a freeze has read, so that the next one need not. While the walk exists.
  void keep_walked();
  /// As freeze() gave it, places being known. Into an empty lineage. @returns why not, static text, or nullptr
  const char* restore(const FrozenLineage& frozen);

 private:
  VersionNode& add_node(NodeKind kind, const VolumeId& volume, Lsn lsn);
  NodeId insert_above(VersionNode& head, NodeKind kind, Lsn lsn, const VersionId& version, std::string name);
  void collect(NodeId id);
  void merge_into_child(VersionNode& node);
  void make_remains(VersionNode& node);
  VersionNode& head_node(NodeId id);
  void account(VersionNode& head, Replaced&& replaced);
  void note_work(VersionNode& node);

  PageCache& cache_;
  OnFree on_free_;
  NodeId next_node_ = 1;
  std::map<NodeId, VersionNode> nodes_;
  std::deque<NodeId> work_;  // nodes whose dead list may be unsettled

  // Where the eviction sweep stands: the node, its map (0) or the tree of its dead list (from 1), the block in it.
  NodeId evict_node_ = 0;
  size_t evict_tree_ = 0;
  uint64_t evict_position_ = 0;
  uint32_t evict_sweep_ = 1;
};

}  // namespace cloudfs
