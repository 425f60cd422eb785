// What the lineage promises, the naive way: every version is a plain array of blocks, and who needs a block is found by
// looking at all of them.
#pragma once

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "core/index/lineage.h"

namespace cloudfs::test {

struct ModelVersion {
  NodeKind kind = NodeKind::head;
  NodeId parent = 0;
  Lsn lsn = 0;  // of its newest update
  uint64_t volume = 0;
  bool held = false;          // a hidden one that stays though nobody depends on it
  bool bare = false;          // not in checkpoints
  uint64_t size = 0;          // in blocks
  std::vector<Entry> blocks;  // as many as it ever had; those that are not stored have no birth here
  std::vector<Lsn> changed;   // when each of them last changed its content

  void put(uint64_t block, const Entry& entry, Lsn at) {
    if (entry.stored() || blocks[block].stored()) changed[block] = at;
    blocks[block] = entry.stored() ? entry : Entry{};
  }
  void resize(uint64_t to, Lsn at) {
    for (uint64_t block = to; block < blocks.size(); ++block) put(block, {}, at);
    if (to > blocks.size()) {
      blocks.resize(to);
      changed.resize(to);
    }
    size = to;
  }
};

struct Model {
  using Place = std::pair<uint32_t, uint16_t>;
  std::map<NodeId, ModelVersion> versions;
  std::set<Place> allocated;
  std::set<Place> freed;

  size_t children(NodeId id) const {
    size_t count = 0;
    for (const auto& [other, version] : versions) count += version.parent == id;
    return count;
  }

  /// Hidden versions that fewer than two depend on are not needed: drops them, wherever they are.
  void prune() {
    for (bool again = true; again;) {
      again = false;
      for (auto& [id, version] : versions) {
        if (version.kind != NodeKind::hidden || children(id) > 1 || version.held) continue;
        erase(id);
        again = true;
        break;
      }
    }
  }
  void erase(NodeId id) {
    const NodeId parent = versions.at(id).parent;
    for (auto& [other, child] : versions)
      if (child.parent == id) child.parent = parent;
    versions.erase(id);
  }
  /// What a checkpoint taken now holds.
  Model stored() const {
    Model out = *this;
    for (const auto& [id, version] : versions)
      if (version.bare) out.erase(id);
    return out;
  }

  void delete_volume(uint64_t volume) {
    for (auto version = versions.begin(); version != versions.end();) {
      if (version->second.volume == volume && version->second.kind == NodeKind::head) {
        version = versions.erase(version);
        continue;
      }
      if (version->second.volume == volume) {
        version->second.kind = NodeKind::hidden;
        version->second.held = false;
      }
      ++version;
    }
    prune();
  }

  std::set<Place> needed() const {
    std::set<Place> needed;
    for (const auto& [id, version] : versions)
      for (const Entry& entry : version.blocks)
        if (entry.stored()) needed.insert({entry.segment, entry.slot});
    return needed;
  }
};

}  // namespace cloudfs::test
