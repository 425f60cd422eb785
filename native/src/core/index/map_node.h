// A page of the extent map in memory: its entries exactly as stored, and for interior pages the children that are in
// memory too. Nodes are counted and shared by all trees that have them in common.
//
// Invariants
// - A node that is reachable more than once (count above 1, its own or that of a node above it) is never changed by a
//   writer: writers copy it on their way down (path copying). Only what no reader can tell apart changes in place: a child
//   is attached or dropped, a dirty node becomes clean.
// - A clean node's entries name its children's places, and all nodes below a clean node are clean.
// - A slot's birth is never below the greatest birth under it, whether or not its node is in memory; in a stored page it
//   equals it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/base/assert.h"
#include "core/base/ids.h"

namespace cloudfs {

class PageCache;

/// An Entry in its 16 stored bytes (docs/disk-format.md), as two little-endian words.
struct PackedEntry {
  uint64_t low = 0;   // segment 32, slot 16, birth's low 16
  uint64_t high = 0;  // birth's high 32, crc 32

  static PackedEntry pack(const Entry& entry) {
    return {entry.segment | uint64_t{entry.slot} << 32 | entry.birth << 48,
            entry.birth >> 16 | uint64_t{entry.crc} << 32};
  }
  Entry unpack() const {
    return {static_cast<uint32_t>(low), static_cast<uint16_t>(low >> 32), birth(),
            static_cast<uint32_t>(high >> 32)};
  }
  uint64_t birth() const { return low >> 48 | (high & 0xffffffff) << 16; }
  bool stored() const { return static_cast<uint32_t>(low) != 0; }
  void raise_birth(uint64_t least) {
    if (birth() >= least) return;
    low = (low & 0xffff'ffff'ffff) | least << 48;
    high = (high & ~uint64_t{0xffff'ffff}) | least >> 16;
  }
};
static_assert(sizeof(PackedEntry) == 16 && std::endian::native == std::endian::little);

class MapNode;

/// A counted reference to a node; empty by default.
class NodeRef {
 public:
  NodeRef() = default;
  NodeRef(const NodeRef& other);
  NodeRef(NodeRef&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  NodeRef& operator=(NodeRef other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~NodeRef();
  /// Takes over a count that is the caller's already.
  static NodeRef adopt(MapNode* node) {
    NodeRef ref;
    ref.node_ = node;
    return ref;
  }
  MapNode* get() const { return node_; }
  MapNode* operator->() const { return node_; }
  explicit operator bool() const { return node_ != nullptr; }

 private:
  MapNode* node_ = nullptr;
};

/// What a parent (or a version, or a dead list) knows of a subtree.
/// `node` set: the subtree is in memory; `entry.birth` bounds the births below, the rest of `entry` counts for nothing.
/// `node` empty, entry stored: the page lies there. Entry not stored: every block below is zero since `entry.birth`.
struct Slot {
  Entry entry;
  NodeRef node;

  bool empty() const { return !node && !entry.stored(); }
  /// The stored place. The subtree must be clean.
  Entry place() const;
};

/// Allocated and freed by PageCache alone, with room behind it for fan-out entries, and above level 0 for as many children.
class MapNode {
 public:
  uint8_t level() const { return level_; }  // 0: entries are blocks
  bool clean() const { return clean_; }
  uint32_t count() const { return count_; }
  /// Where the page is stored; its birth is the greatest below. Clean nodes only.
  const Entry& place() const {
    ensure(clean_, "a place is asked of clean nodes only");
    return place_;
  }

  PackedEntry* entries() { return reinterpret_cast<PackedEntry*>(this + 1); }
  const PackedEntry* entries() const { return reinterpret_cast<const PackedEntry*>(this + 1); }

 private:
  friend class NodeRef;
  friend class PageCache;
  friend class ExtentMap;
  friend class CheckpointWalk;
  friend class DeadList;

  MapNode(PageCache* cache, uint8_t level) : cache_(cache), level_(level) {}

  NodeRef* children();
  /// The child at `index`. Above level 0 only.
  Slot slot(uint32_t index);

  PageCache* cache_;
  uint32_t count_ = 1;
  uint32_t walk_ = 0;   // the newest checkpoint walk that met it
  uint32_t sweep_ = 0;  // the newest eviction sweep that went through all its children
  uint8_t level_;
  bool clean_ = false;
  bool used_ = true;        // since the eviction sweep last came by
  bool unclaimed_ = false;  // installed, and held by the cache until a tree attaches it
  Entry place_;
};

}  // namespace cloudfs
