#include "core/index/lineage.h"

#include <algorithm>
#include <utility>

namespace cloudfs {

Lineage::Lineage(PageCache& cache, OnFree on_free) : cache_(cache), on_free_(std::move(on_free)) {}

// --- Versions ------------------------------------------------------------------------------------------------------

VersionNode& Lineage::add_node(NodeKind kind, const VolumeId& volume, Lsn lsn) {
  const NodeId id = next_node_++;
  VersionNode& node = nodes_[id];
  node.id = id;
  node.kind = kind;
  node.volume = volume;
  node.lsn = lsn;
  return node;
}

VersionNode& Lineage::node(NodeId id) {
  const auto found = nodes_.find(id);
  ensure(found != nodes_.end(), "a version that is named exists");
  return found->second;
}

const VersionNode* Lineage::find(NodeId id) const {
  const auto found = nodes_.find(id);
  return found == nodes_.end() ? nullptr : &found->second;
}

VersionNode& Lineage::head_node(NodeId id) {
  VersionNode& head = node(id);
  ensure(head.kind == NodeKind::head, "only heads are updated");
  return head;
}

Lsn Lineage::limit(const VersionNode& node) const {
  if (node.kind == NodeKind::remains) return node.lsn;
  return node.parent == 0 ? 0 : nodes_.at(node.parent).lsn;
}

NodeId Lineage::create(const VolumeId& volume, uint64_t blocks, Lsn lsn) {
  VersionNode& head = add_node(NodeKind::head, volume, lsn);
  head.map = ExtentMap(cache_, blocks);
  return head.id;
}

NodeId Lineage::snapshot(NodeId head, Lsn lsn, const VersionId& version, std::string name) {
  return insert_above(head_node(head), NodeKind::named, lsn, version, std::move(name));
}

NodeId Lineage::branch_point(NodeId head_id, Lsn lsn, const VersionId& version) {
  VersionNode& head = head_node(head_id);
  if (head.parent != 0 && nodes_.at(head.parent).lsn == lsn) {
    // Nothing was applied since.
    if (VersionNode& parent = node(head.parent); parent.bare) give_map(parent, head.map);
    return head.parent;
  }
  return insert_above(head, NodeKind::hidden, lsn, version, {});
}

/// The new node has the head's state and its place below the parent; the head goes on below the new node.
NodeId Lineage::insert_above(VersionNode& head, NodeKind kind, Lsn lsn, const VersionId& version,
                             std::string name, bool bare) {
  ensure(lsn >= limit(head) && head.map.root().entry.birth <= lsn,
         "a snapshot is not older than what it holds");
  VersionNode& snapshot = add_node(kind, head.volume, lsn);
  snapshot.version = version;
  snapshot.name = std::move(name);
  if (bare) {
    snapshot.bare = true;
    ++bare_count_;
  } else {
    snapshot.map = head.map;
  }
  snapshot.dead = std::exchange(head.dead, {});
  snapshot.parent = head.parent;
  snapshot.children = {head.id};
  if (snapshot.parent != 0) {
    std::set<NodeId>& siblings = node(snapshot.parent).children;
    siblings.erase(head.id);
    siblings.insert(snapshot.id);
  }
  head.parent = snapshot.id;
  head.lsn = lsn;
  note_work(snapshot);
  return snapshot.id;
}

NodeId Lineage::branch(NodeId snapshot_id, const VolumeId& volume) {
  VersionNode& snapshot = node(snapshot_id);
  ensure(snapshot.kind == NodeKind::named || snapshot.kind == NodeKind::hidden,
         "branches leave from snapshots");
  ensure(!snapshot.bare, "branches leave from versions that have a map");
  VersionNode& head = add_node(NodeKind::head, volume, snapshot.lsn);
  head.map = snapshot.map;
  head.parent = snapshot.id;
  snapshot.children.insert(head.id);
  return head.id;
}

NodeId Lineage::hide(NodeId head, Lsn lsn, const VersionId& version) {
  return insert_above(head_node(head), NodeKind::hidden, lsn, version, {});
}

void Lineage::name_snapshot(NodeId id, std::string name) {
  VersionNode& snapshot = node(id);
  ensure(snapshot.kind == NodeKind::hidden, "a hidden snapshot gets a name");
  snapshot.kind = NodeKind::named;
  snapshot.name = std::move(name);
}

void Lineage::drop_head(NodeId id) {
  VersionNode& head = head_node(id);
  forget_shown(head);
  const NodeId parent = head.parent;
  make_remains(head);
  collect(parent);
}

void Lineage::drop_other_heads(const std::set<NodeId>& kept) {
  std::vector<NodeId> strays;
  for (const auto& [id, node] : nodes_)
    if (node.kind == NodeKind::head && !kept.contains(id)) strays.push_back(id);
  for (const NodeId id : strays) drop_head(id);
}

void Lineage::drop_strays() {
  std::vector<NodeId> hidden;
  for (const auto& [id, node] : nodes_)
    if (node.kind == NodeKind::hidden) hidden.push_back(id);
  for (const NodeId id : hidden) collect(id);
}

void Lineage::delete_snapshot(NodeId id) {
  VersionNode& snapshot = node(id);
  ensure(snapshot.kind == NodeKind::named, "named snapshots are deleted");
  snapshot.kind = NodeKind::hidden;
  snapshot.name.clear();
  collect(id);
}

void Lineage::delete_volume(const VolumeId& volume) {
  for (const NodeId id : std::vector<NodeId>(trails_))
    if (VersionNode& head = node(id); head.volume == volume) forget_shown(head);
  std::vector<NodeId> owned;
  for (auto& [id, node] : nodes_) {
    if (node.volume != volume || node.kind == NodeKind::remains) continue;
    owned.push_back(id);
    if (node.kind == NodeKind::named) {
      node.kind = NodeKind::hidden;
      node.name.clear();
    }
  }
  for (const NodeId id : owned) {
    const auto found = nodes_.find(id);
    if (found == nodes_.end() || found->second.kind != NodeKind::head) continue;
    const NodeId parent = found->second.parent;
    make_remains(found->second);
    collect(parent);
  }
  // Those with one dependant left are merged into it. What the loop above removed is remains by now, or not there.
  for (const NodeId id : owned) collect(id);
}

/// Removes a hidden snapshot that fewer than two versions depend on, then looks at its parent.
void Lineage::collect(NodeId id) {
  while (id != 0) {
    const auto found = nodes_.find(id);
    if (found == nodes_.end()) return;
    VersionNode& node = found->second;
    if (node.kind != NodeKind::hidden || node.children.size() > 1 || node.holds > 0) return;
    if (node.children.size() == 1) {
      merge_into_child(node);
      return;  // the parent has as many children as before
    }
    id = node.parent;
    make_remains(node);
  }
}

void Lineage::merge_into_child(VersionNode& gone) {
  VersionNode& child = node(*gone.children.begin());
  child.parent = gone.parent;
  if (gone.parent != 0) {
    std::set<NodeId>& siblings = node(gone.parent).children;
    siblings.erase(gone.id);
    siblings.insert(child.id);
  }
  child.dead.join(cache_, std::move(gone.dead), limit(child), on_free_);
  note_work(child);
  if (gone.bare) --bare_count_;
  nodes_.erase(gone.id);
}

/// A node without children leaves the tree; what it alone has is freed by and by.
void Lineage::make_remains(VersionNode& gone) {
  ensure(gone.children.empty() && !gone.bare && !gone.trail, "what others depend on stays");
  gone.lsn = limit(gone);
  if (gone.parent != 0) node(gone.parent).children.erase(gone.id);
  gone.parent = 0;
  gone.kind = NodeKind::remains;
  gone.dead.become_remains(gone.map.tree());
  gone.map = {};
  gone.volume = {};
  gone.version = {};
  gone.name.clear();
  note_work(gone);
}

// --- Updates -------------------------------------------------------------------------------------------------------

MissingPages Lineage::prepare_write(NodeId head, uint64_t first, uint64_t count) {
  return head_node(head).map.prepare_set(first, count);
}

void Lineage::write(NodeId head_id, uint64_t first, std::span<const Entry> entries) {
  VersionNode& head = head_node(head_id);
  const Lsn shared = limit(head);
  for (const Entry& entry : entries)
    ensure(entry.birth > shared, "an update is newer than the snapshot below it");
  Replaced replaced;
  if (head.trail == nullptr) {
    head.map.set(first, entries, replaced);
  } else {
    before_.clear();
    head.map.set(first, entries, replaced, &before_);
    note_before(head, first, entries.front().birth);
  }
  account(head, std::move(replaced));
}

MissingPages Lineage::prepare_zero(NodeId head, uint64_t first, uint64_t count) {
  return head_node(head).map.prepare_zero(first, count);
}

void Lineage::zero(NodeId head_id, uint64_t first, uint64_t count, Lsn birth, bool dates_empty) {
  VersionNode& head = head_node(head_id);
  ensure(birth > limit(head), "an update is newer than the snapshot below it");
  if (head.trail != nullptr) note_zeroing(head, first, count, birth);
  Replaced replaced;
  head.map.zero(first, count, birth, replaced, dates_empty);
  account(head, std::move(replaced));
}

MissingPages Lineage::prepare_resize(NodeId head, uint64_t blocks) {
  return head_node(head).map.prepare_resize(blocks);
}

void Lineage::resize(NodeId head_id, uint64_t blocks, Lsn birth) {
  VersionNode& head = head_node(head_id);
  ensure(birth > limit(head), "an update is newer than the snapshot below it");
  Replaced replaced;
  head.map.resize(blocks, birth, replaced);
  account(head, std::move(replaced));
}

void Lineage::account(VersionNode& head, Replaced&& replaced) {
  head.dead.add(cache_, std::move(replaced), limit(head), on_free_);
  note_work(head);
}

bool Lineage::mend(NodeId head_id, uint64_t block, const Entry& from, const Entry& to) {
  VersionNode& head = head_node(head_id);
  // Versions without a map have this block by way of the head's, for it was not replaced since.
  const NodeId parent = mapped_parent(head);
  const Lsn shared = parent == 0 ? 0 : nodes_.at(parent).lsn;
  return from.birth > shared && block < head.map.blocks() && head.map.mend(block, from, to);
}

// --- Background ----------------------------------------------------------------------------------------------------

void Lineage::note_work(VersionNode& node) {
  if (node.has_work || node.dead.settled()) return;
  node.has_work = true;
  work_.push_back(node.id);
}

Lineage::Step Lineage::step(size_t budget) {
  Step step;
  cache_.reap(budget);
  // A node that waits for a page goes behind the others, each of which gets its turn.
  for (size_t turns = work_.size(); turns > 0 && budget > 0 && step.missing.size() < kMissingMax; --turns) {
    const NodeId id = work_.front();
    work_.pop_front();
    const auto found = nodes_.find(id);
    if (found == nodes_.end()) continue;  // merged into its child
    VersionNode& node = found->second;
    const bool remains = node.kind == NodeKind::remains;
    const MissingPages missing = node.dead.settle(cache_, limit(node), remains, on_free_, budget);
    step.missing.insert(step.missing.end(), missing.begin(), missing.end());
    if (!node.dead.settled()) {
      work_.push_back(id);
    } else if (remains) {
      nodes_.erase(found);
    } else {
      node.has_work = false;
    }
  }
  step.idle = work_.empty() && cache_.reap(0);
  return step;
}

void Lineage::evict(size_t budget) {
  while (budget > 0) {
    const auto at = nodes_.lower_bound(evict_node_);
    if (at == nodes_.end()) {
      evict_node_ = 0;
      evict_tree_ = 0;
      evict_position_ = 0;
      ++evict_sweep_;
      return;  // one sweep a call at most: a small store is not gone through twice
    }
    VersionNode& node = at->second;
    if (node.id != evict_node_) {
      evict_node_ = node.id;
      evict_tree_ = 0;
      evict_position_ = 0;
    }
    if (evict_tree_ == 0) {
      if (node.kind != NodeKind::remains && !node.bare)
        node.map.evict(evict_sweep_, evict_position_, budget);
      else
        evict_position_ = UINT64_MAX;
      if (evict_position_ != UINT64_MAX) return;
      evict_tree_ = 1;
      evict_position_ = 0;
    }
    size_t tree = evict_tree_ - 1;
    node.dead.evict(cache_, evict_sweep_, tree, evict_position_, budget);
    if (tree != SIZE_MAX) {
      evict_tree_ = tree + 1;
      return;
    }
    ++evict_node_;
    evict_tree_ = 0;
    evict_position_ = 0;
  }
}

}  // namespace cloudfs
