// The lineage as a checkpoint holds it: frozen in one turn, and taken up again after a start.
#include <algorithm>
#include <span>
#include <utility>

#include "core/index/lineage.h"

namespace cloudfs {

std::vector<Subtree> FrozenLineage::roots() const {
  std::vector<Subtree> roots;
  for (const FrozenNode& node : nodes) {
    if (node.height > 0) roots.push_back({node.root, static_cast<uint8_t>(node.height - 1)});
    roots.insert(roots.end(), node.dead_trees.begin(), node.dead_trees.end());
  }
  return roots;
}

CheckpointNode to_checkpoint(const FrozenNode& node) {
  CheckpointNode stored{
      .id = node.id,
      .parent = node.parent,
      .lsn = node.lsn,
      .flags = static_cast<uint8_t>(node.kind),
      .height = node.height,
      .root = node.root.place(),
      .volume = node.volume,
      .public_id = node.version,
      .size_bytes = node.blocks << kBlockLog2,
      .name = node.name,
      .dead_trees = {},
      .dead_tail = node.dead_tail,
  };
  stored.dead_trees.reserve(node.dead_trees.size());
  for (const Subtree& tree : node.dead_trees) stored.dead_trees.push_back({tree.slot.place(), tree.level});
  return stored;
}

FrozenNode from_checkpoint(const CheckpointNode& stored) {
  FrozenNode node{
      .id = stored.id,
      .kind = static_cast<NodeKind>(stored.flags),
      .parent = stored.parent,
      .lsn = stored.lsn,
      .volume = stored.volume,
      .version = stored.public_id,
      .name = stored.name,
      .blocks = stored.size_bytes >> kBlockLog2,
      .height = stored.height,
      .root = {stored.root, {}},
      .dead_trees = {},
      .dead_tail = stored.dead_tail,
  };
  node.dead_trees.reserve(stored.dead_trees.size());
  for (const CheckpointTree& tree : stored.dead_trees)
    node.dead_trees.push_back({{tree.entry, {}}, tree.level});
  return node;
}

/// The dead list of a node, and those of the versions without a map between it and the next one above that has one: as if
/// they had been let go. What they alone hold lies in trees, which are settled after a restart.
void Lineage::freeze_dead(const VersionNode& node, FrozenNode& frozen) {
  frozen.dead_trees = node.dead.trees();
  frozen.dead_tail = node.dead.tail();
  if (frozen.parent == node.parent) return;
  std::vector<Entry> entries = std::exchange(frozen.dead_tail, {});
  for (NodeId id = node.parent; id != frozen.parent; id = nodes_.at(id).parent) {
    const DeadList& dead = nodes_.at(id).dead;
    const std::vector<Subtree> trees = dead.trees();
    frozen.dead_trees.insert(frozen.dead_trees.end(), trees.begin(), trees.end());
    entries.insert(entries.end(), dead.tail().begin(), dead.tail().end());
  }
  for (size_t done = 0; done < entries.size(); done += cache_.fan()) {
    const auto chunk =
        std::span(entries).subspan(done, std::min<size_t>(cache_.fan(), entries.size() - done));
    Subtree page;
    MapNode* const at = cache_.writable({}, page.level, page.slot.node);
    for (size_t index = 0; index < chunk.size(); ++index) {
      at->entries()[index] = PackedEntry::pack(chunk[index]);
      page.slot.entry.birth = std::max(page.slot.entry.birth, chunk[index].birth);
    }
    frozen.dead_trees.push_back(std::move(page));
  }
}

FrozenLineage Lineage::freeze() {
  FrozenLineage frozen;
  frozen.next_node = next_node_;
  frozen.nodes.reserve(nodes_.size());
  for (const auto& [id, node] : nodes_) {
    if (node.bare) continue;
    frozen.nodes.push_back({
        .id = id,
        .kind = node.kind,
        .parent = mapped_parent(node),
        .lsn = node.lsn,
        .volume = node.volume,
        .version = node.version,
        .name = node.name,
        .blocks = node.map.blocks(),
        .height = node.map.height(),
        .root = node.map.root(),
        .dead_trees = {},
        .dead_tail = {},
    });
    freeze_dead(node, frozen.nodes.back());
  }
  return frozen;
}

void Lineage::keep_walked() {
  for (auto& [id, node] : nodes_) {
    if (node.kind != NodeKind::remains && !node.bare) node.map.attach_root();
    node.dead.attach_roots(cache_);
  }
}

namespace {

/// What is wrong with a node by itself, or nullptr.
const char* refuse(const PageCache& cache, const FrozenNode& node, NodeId next_node) {
  if (node.id == 0 || node.id >= next_node) return "a version node's id is out of range";
  if (node.lsn > kBirthMax) return "a version node's lsn is out of range";
  const uint8_t height_max = ExtentMap::height_max(cache);
  switch (node.kind) {
    case NodeKind::head:
    case NodeKind::named:
    case NodeKind::hidden:
      if (node.blocks > kBlocksMax) return "a version's size is out of range";
      if (node.height == 0 || node.height > height_max ||
          node.blocks > uint64_t{1} << (cache.fan_log2() * node.height))
        return "a version's map has not the height its size needs";
      break;
    case NodeKind::remains:
      if (node.height != 0 || node.blocks != 0 || node.parent != 0 || !node.dead_tail.empty())
        return "remains have a map, a parent or a tail";
      break;
    default:
      return "a version node is of no known kind";
  }
  if (node.dead_tail.size() >= cache.fan()) return "a dead list's tail is a page or more";
  for (const Entry& entry : node.dead_tail)
    if (!entry.stored()) return "a dead list holds a block that is not stored";
  for (const Subtree& tree : node.dead_trees)
    if (tree.level >= height_max) return "a dead list holds a tree that is too high";
  return nullptr;
}

}  // namespace

const char* Lineage::restore(const FrozenLineage& frozen) {
  ensure(nodes_.empty(), "a lineage is restored once");
  for (const FrozenNode& from : frozen.nodes) {
    if (const char* why = refuse(cache_, from, frozen.next_node)) return why;
    const auto [at, is_new] = nodes_.try_emplace(from.id);
    if (!is_new) return "two version nodes have one id";
    VersionNode& node = at->second;
    node.id = from.id;
    node.kind = from.kind;
    node.parent = from.parent;
    node.lsn = from.lsn;
    node.volume = from.volume;
    node.version = from.version;
    node.name = from.name;
    if (from.height > 0) node.map = ExtentMap(cache_, from.blocks, from.height, from.root.place());
    std::vector<Subtree> trees;
    trees.reserve(from.dead_trees.size());
    for (const Subtree& tree : from.dead_trees) trees.push_back({{tree.slot.place(), {}}, tree.level});
    node.dead.restore(from.dead_tail, std::move(trees));
    note_work(node);
  }
  next_node_ = std::max<NodeId>(frozen.next_node, 1);

  std::vector<NodeId> reached;
  for (auto& [id, node] : nodes_) {
    if (node.parent == 0) {
      reached.push_back(id);
      continue;
    }
    const auto parent = nodes_.find(node.parent);
    if (parent == nodes_.end()) return "a version's parent does not exist";
    if (parent->second.kind != NodeKind::named && parent->second.kind != NodeKind::hidden)
      return "a version's parent is no snapshot";
    if (node.lsn < parent->second.lsn) return "a version is older than its parent";
    parent->second.children.insert(id);
  }
  // Equal lsns are allowed along a line, so they do not rule circles out: whoever is in one is not reached.
  for (size_t next = 0; next < reached.size(); ++next) {
    const VersionNode& node = nodes_.at(reached[next]);
    reached.insert(reached.end(), node.children.begin(), node.children.end());
    for (const Entry& entry : node.dead.tail())
      if (entry.birth > limit(node)) return "a dead list's tail is newer than the parent version";
  }
  if (reached.size() != nodes_.size()) return "versions descend from each other in a circle";
  return nullptr;
}

}  // namespace cloudfs
