// The versions of all volumes of a store, and who frees what (docs/core.md, Versions, dead lists, liveness). Owns the maps:
// every change of a map goes through here, so that each block it replaces is accounted for.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/ids.h"
#include "core/format/checkpoint_codec.h"
#include "core/index/dead_list.h"
#include "core/index/extent_map.h"
#include "core/index/trail.h"

namespace cloudfs {

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
  /// Stands for a version shown lately that has no map: a hidden snapshot with one version below it, not in checkpoints.
  bool bare = false;
  uint32_t holds = 0;            // a hidden snapshot stays as long as it is held
  std::unique_ptr<Trail> trail;  // of a head: while versions of it are kept
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
  /// Drops the hidden snapshots that nobody needs: a crash left them (docs/core.md, Versions shown lately).
  void drop_strays();
  /// Unnames a snapshot. It goes when fewer than two versions depend on it.
  void delete_snapshot(NodeId snapshot);
  /// The volume's head goes; its named snapshots stay only as far as branches of other volumes depend on them.
  void delete_volume(const VolumeId& volume);

  VersionNode& node(NodeId id);
  const VersionNode* find(NodeId id) const;
  const std::map<NodeId, VersionNode>& nodes() const { return nodes_; }
  /// Births above it are the version's own: nobody shares the block.
  Lsn limit(const VersionNode& node) const;
  /// The version above it that has a map, or 0.
  NodeId mapped_parent(const VersionNode& node) const;

  // Versions shown lately (lineage_shown.cc). A head's updates are noted while versions of it are kept.
  /// The head's state is kept until `until_ns`, or until there is no room for it. `until_ns` grows from call to call.
  void keep_shown(NodeId head, Lsn lsn, const VersionId& version, uint64_t until_ns);
  /// Versions of the head are kept, and this zeroing would drop whole pages unread: set_anchor() comes first.
  bool needs_anchor(NodeId head, uint64_t first, uint64_t count);
  /// Where versions of the head are kept: it is about to change in a way that no step can take back, so that versions up to
  /// its present one are made from a snapshot taken here.
  void set_anchor(NodeId head, Lsn lsn, const VersionId& version);
  /// The node of a version that is kept, or 0.
  NodeId find_shown(NodeId head, const VersionId& version) const;
  void hold(NodeId id);
  /// No-op where the version went with its volume.
  void release(NodeId id);
  /// Lets versions go whose time is over.
  void expire_shown(uint64_t now_ns);
  /// When there is something to expire.
  std::optional<uint64_t> next_expiry_ns() const { return next_expiry_ns_; }
  /// Lets the older half of all that is kept go. @returns false: nothing can go
  bool forget_half();
  /// Checkpoint pages that the lists of versions kept without a map can come to, about.
  uint64_t kept_pages() const { return tail_entries_ / cache_.fan() + 2 * trails_.size(); }
  size_t bare_count() const { return bare_count_; }
  size_t step_count() const { return step_count_; }

  /// Making the map of a version that is kept without one, some steps at a time.
  struct Rebuild {
    NodeId target = 0;
    NodeId head = 0;
    NodeId base = 0;    // the version it is made from; held
    uint64_t next = 0;  // the step behind the next one to be taken back
    ExtentMap map;
  };
  /// `lsn` and `version`: the head's present state. The target is held by the caller.
  Rebuild begin_rebuild(NodeId head, NodeId target, Lsn lsn, const VersionId& version);
  /// Takes about `budget` blocks back; call again until `done`. With pages missing nothing was lost.
  /// @returns false: the version went with its volume
  bool rebuild(Rebuild& work, size_t budget, MissingPages& missing, bool& done);
  /// Gives up what is not done.
  void end_rebuild(Rebuild& work);

  // Updates of a head, in two steps as in ExtentMap. `birth` and the births of stored entries are above limit().
  [[nodiscard]] MissingPages prepare_write(NodeId head, uint64_t first, uint64_t count);
  void write(NodeId head, uint64_t first, std::span<const Entry> entries);
  [[nodiscard]] MissingPages prepare_zero(NodeId head, uint64_t first, uint64_t count);
  void zero(NodeId head, uint64_t first, uint64_t count, Lsn birth, bool dates_empty = false);
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
  /// Versions kept without a map are left out: what they alone hold is dead after a restart.
  FrozenLineage freeze();
  /// Keeps the interior pages that a walk over a freeze has read, so that the next one need not. While the walk exists.
  void keep_walked();
  /// As freeze() gave it, places being known. Into an empty lineage. @returns why not, static text, or nullptr
  const char* restore(const FrozenLineage& frozen);

 private:
  VersionNode& add_node(NodeKind kind, const VolumeId& volume, Lsn lsn);
  NodeId insert_above(VersionNode& head, NodeKind kind, Lsn lsn, const VersionId& version, std::string name,
                      bool bare = false);
  void give_map(VersionNode& bare, const ExtentMap& map);
  void freeze_dead(const VersionNode& node, FrozenNode& frozen);
  void note_before(VersionNode& head, uint64_t first, Lsn lsn);
  void note_zeroing(VersionNode& head, uint64_t first, uint64_t count, Lsn lsn);
  void add_step(VersionNode& head, Lsn lsn, uint64_t first, uint64_t count, const PackedEntry& entry);
  void mind_steps(VersionNode& head);
  bool forget_oldest(VersionNode& head);
  void forget_shown(VersionNode& head);
  void recount_kept(VersionNode& head);
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

  std::vector<NodeId> trails_;  // heads that have one
  std::optional<uint64_t> next_expiry_ns_;
  size_t bare_count_ = 0;
  size_t step_count_ = 0;
  size_t tail_entries_ = 0;
  std::vector<PackedEntry> before_;  // scratch
  std::vector<MapRun> runs_;         // scratch

  // Where the eviction sweep stands: the node, its map (0) or the tree of its dead list (from 1), the block in it.
  NodeId evict_node_ = 0;
  size_t evict_tree_ = 0;
  uint64_t evict_position_ = 0;
  uint32_t evict_sweep_ = 1;
};

}  // namespace cloudfs
