#include "core/index/extent_map.h"

#include <algorithm>

namespace cloudfs {

namespace {

// Pages a scan looks at in one call: a few milliseconds at most, however sparse the result is.
constexpr size_t kScanPagesMax = 1024;

}  // namespace

ExtentMap::ExtentMap(PageCache& cache, uint64_t blocks) : cache_(&cache), height_(1), blocks_(blocks) {
  ensure(blocks <= kBlocksMax, "a volume's size was checked");
  while (capacity() < blocks) ++height_;
}

ExtentMap::ExtentMap(PageCache& cache, uint64_t blocks, uint8_t height, const Entry& root)
    : cache_(&cache), root_{root, {}}, height_(height), blocks_(blocks) {
  ensure(blocks <= kBlocksMax && height > 0 && height <= height_max(cache) && blocks <= capacity(),
         "a restored map has the height its size needs");
}

void ExtentMap::check_range(uint64_t first, uint64_t count) const {
  ensure(count > 0 && first < blocks_ && count <= blocks_ - first, "a range lies inside its volume");
}

// --- Looking -------------------------------------------------------------------------------------------------------

/// The state of one pass over blocks in order.
struct ExtentMap::Visit {
  uint64_t at;   // the next block to look at
  uint64_t end;  // the pass ends here
  bool all;      // else only what was born after
  Lsn born_after;
  size_t pages;  // may still be looked at
  bool stopped = false;
  MissingPages missing = {};  // once there is one, the pass goes on only to find more of them
  uint64_t first_missing = 0;

  uint64_t position() const { return missing.empty() ? at : first_missing; }
};

/// Calls on_run(block, count, entry) for what the pass wants below a slot that covers blocks from `base` on; false stops it.
template <class OnRun>
void ExtentMap::visit(const Entry& entry, NodeRef& node, uint8_t level, uint64_t base, Visit& pass,
                      OnRun& on_run) {
  const uint32_t child_log2 = cache_->fan_log2() * level;
  const uint64_t end = std::min(pass.end, base + (uint64_t{cache_->fan()} << child_log2));
  if (!pass.all && entry.birth <= pass.born_after) {
    pass.at = end;
    return;
  }
  if (!cache_->attach(entry, level, node)) {
    if (entry.stored()) {
      if (pass.missing.empty()) pass.first_missing = pass.at;
      pass.missing.push_back({entry, level});
      if (pass.missing.size() == kMissingMax) pass.stopped = true;
    } else if (pass.missing.empty() && !on_run(pass.at, end - pass.at, entry)) {
      pass.stopped = true;
      return;
    }
    pass.at = end;
    return;
  }
  if (pass.pages == 0) {
    pass.stopped = true;
    return;
  }
  --pass.pages;
  MapNode* const page = node.get();
  page->used_ = true;
  if (level > 0) {
    while (pass.at < end && !pass.stopped) {
      const uint64_t index = (pass.at - base) >> child_log2;
      visit(page->entries()[index].unpack(), page->children()[index], static_cast<uint8_t>(level - 1),
            base + (index << child_log2), pass, on_run);
    }
    return;
  }
  if (!pass.missing.empty()) {
    pass.at = end;
    return;
  }
  for (; pass.at < end; ++pass.at) {
    const PackedEntry& packed = page->entries()[pass.at - base];
    if (!pass.all && packed.birth() <= pass.born_after) continue;
    if (!on_run(pass.at, 1, packed.unpack())) {
      pass.stopped = true;
      return;
    }
  }
}

namespace {

bool joins(const MapRun& run, uint64_t block, const Entry& entry) {
  return !entry.stored() && run.entry == entry && run.block + run.count == block;
}

}  // namespace

/// The leaf of `block` if every node on the way is attached. Reads no entry on its way: half the cache misses of a visit.
MapNode* ExtentMap::attached_leaf(uint64_t block) const {
  const uint32_t fan_log2 = cache_->fan_log2();
  MapNode* node = root_.node.get();
  for (uint8_t level = top(); node != nullptr && level > 0; --level)
    node = node->children()[(block >> (fan_log2 * level)) & (cache_->fan() - 1)].get();
  return node;
}

MissingPages ExtentMap::lookup(uint64_t first, uint64_t count, std::vector<MapRun>& runs) {
  check_range(first, count);
  const size_t runs_before = runs.size();
  auto on_run = [&](uint64_t block, uint64_t blocks, const Entry& entry) {
    if (runs.size() > runs_before && joins(runs.back(), block, entry))
      runs.back().count += blocks;
    else
      runs.push_back({block, blocks, entry});
    return true;
  };
  const uint64_t index = first & (cache_->fan() - 1);
  if (index + count <= cache_->fan()) {
    if (MapNode* const leaf = attached_leaf(first)) {
      leaf->used_ = true;
      for (uint64_t offset = 0; offset < count; ++offset)
        on_run(first + offset, 1, leaf->entries()[index + offset].unpack());
      return {};
    }
  }
  Visit pass{.at = first, .end = first + count, .all = true, .born_after = 0, .pages = SIZE_MAX};
  visit(root_.entry, root_.node, top(), 0, pass, on_run);
  if (!pass.missing.empty()) runs.resize(runs_before);
  return std::move(pass.missing);
}

MissingPages ExtentMap::scan(uint64_t& position, uint64_t end, Lsn born_after, size_t runs_max,
                             std::vector<MapRun>& runs) {
  check_range(position, end - position);
  auto on_run = [&](uint64_t block, uint64_t blocks, const Entry& entry) {
    if (!runs.empty() && joins(runs.back(), block, entry)) {
      runs.back().count += blocks;
      return true;
    }
    if (runs.size() >= runs_max) return false;
    runs.push_back({block, blocks, entry});
    return true;
  };
  Visit pass{.at = position, .end = end, .all = false, .born_after = born_after, .pages = kScanPagesMax};
  visit(root_.entry, root_.node, top(), 0, pass, on_run);
  position = pass.position();
  return std::move(pass.missing);
}

MissingPages ExtentMap::status(uint64_t& position, uint64_t end, size_t runs_max,
                               std::vector<MapStatus>& runs) {
  check_range(position, end - position);
  auto on_run = [&](uint64_t block, uint64_t blocks, const Entry& entry) {
    if (!runs.empty() && runs.back().stored == entry.stored() &&
        runs.back().block + runs.back().count == block) {
      runs.back().count += blocks;
      return true;
    }
    if (runs.size() >= runs_max) return false;
    runs.push_back({block, blocks, entry.stored()});
    return true;
  };
  Visit pass{.at = position, .end = end, .all = true, .born_after = 0, .pages = kScanPagesMax};
  visit(root_.entry, root_.node, top(), 0, pass, on_run);
  position = pass.position();
  return std::move(pass.missing);
}

// --- Changing ------------------------------------------------------------------------------------------------------

/// Attaches the pages that a change of [first, end) walks through. `read_whole`: those of subtrees inside it as well.
void ExtentMap::prepare(const Entry& entry, NodeRef& node, uint8_t level, uint64_t base, uint64_t first,
                        uint64_t end, bool read_whole, MissingPages& missing) {
  const uint32_t child_log2 = cache_->fan_log2() * level;
  const uint64_t base_end = base + (uint64_t{cache_->fan()} << child_log2);
  if (!read_whole && first <= base && end >= base_end) return;
  if (!cache_->attach(entry, level, node)) {
    if (entry.stored() && missing.size() < kMissingMax) missing.push_back({entry, level});
    return;
  }
  if (level == 0) return;
  const uint64_t last = std::min(end, base_end) - 1;
  for (uint64_t index = (std::max(first, base) - base) >> child_log2; index <= (last - base) >> child_log2;
       ++index)
    prepare(node->entries()[index].unpack(), node->children()[index], static_cast<uint8_t>(level - 1),
            base + (index << child_log2), first, end, read_whole, missing);
}

MissingPages ExtentMap::prepare_set(uint64_t first, uint64_t count) {
  check_range(first, count);
  MissingPages missing;
  if ((first & (cache_->fan() - 1)) + count <= cache_->fan() && attached_leaf(first) != nullptr)
    return missing;
  prepare(root_.entry, root_.node, top(), 0, first, first + count, true, missing);
  return missing;
}

void ExtentMap::set(uint64_t first, std::span<const Entry> entries, Replaced& replaced,
                    std::vector<PackedEntry>* before) {
  check_range(first, entries.size());
  const uint64_t leaf_mask = cache_->fan() - 1;
  for (size_t done = 0; done < entries.size();) {
    const uint64_t block = first + done;
    const auto chunk =
        entries.subspan(done, std::min<size_t>(entries.size() - done, cache_->fan() - (block & leaf_mask)));
    Lsn birth = 0;
    for (const Entry& entry : chunk) birth = std::max(birth, entry.birth);
    ensure(birth <= kBirthMax, "an lsn has 48 bits");

    // Births are raised after a page was made: what else lies below an empty slot keeps the slot's birth.
    MapNode* node = cache_->writable(root_.entry, top(), root_.node);
    root_.entry.birth = std::max(root_.entry.birth, birth);
    for (uint8_t level = top(); level > 0; --level) {
      const uint64_t index = (block >> (cache_->fan_log2() * level)) & leaf_mask;
      PackedEntry& packed = node->entries()[index];
      MapNode* const below =
          cache_->writable(packed.unpack(), static_cast<uint8_t>(level - 1), node->children()[index]);
      packed.raise_birth(birth);
      node = below;
    }
    PackedEntry* slot = node->entries() + (block & leaf_mask);
    if (before != nullptr) before->insert(before->end(), slot, slot + chunk.size());
    for (const Entry& entry : chunk) {
      if (slot->stored()) replaced.entries.push_back(slot->unpack());
      *slot++ = PackedEntry::pack(entry);
    }
    done += chunk.size();
  }
}

void ExtentMap::put_back(uint64_t first, uint64_t count, const PackedEntry& entry, Lsn lsn) {
  check_range(first, count);
  const uint64_t leaf_mask = cache_->fan() - 1;
  for (uint64_t block = first, end = first + count; block < end;) {
    const uint64_t chunk = std::min(end - block, cache_->fan() - (block & leaf_mask));
    // Zero since before that version, as a whole: nothing to be taken back, and no page to be made.
    const auto is_done = [&](const Entry& at, const NodeRef& node) {
      return !node && !at.stored() && at.birth <= lsn && !entry.stored();
    };
    bool done = is_done(root_.entry, root_.node);
    MapNode* node = nullptr;
    if (!done) {
      root_.entry.birth = std::min(root_.entry.birth, lsn);
      node = cache_->writable(root_.entry, top(), root_.node);
    }
    for (uint8_t level = top(); level > 0 && !done; --level) {
      const uint64_t index = (block >> (cache_->fan_log2() * level)) & leaf_mask;
      PackedEntry& packed = node->entries()[index];
      Entry below = packed.unpack();
      NodeRef& child = node->children()[index];
      done = is_done(below, child);
      if (done) break;
      below.birth = std::min(below.birth, lsn);
      node = cache_->writable(below, static_cast<uint8_t>(level - 1), child);
      packed = PackedEntry::pack(below);
    }
    if (!done) std::fill_n(node->entries() + (block & leaf_mask), chunk, entry);
    block += chunk;
    // A zeroing up to the volume's end goes up to the leaf's.
    if (done || block != blocks_ || (block & leaf_mask) == 0) continue;
    for (uint64_t index = block & leaf_mask; index <= leaf_mask; ++index) {
      PackedEntry& beyond = node->entries()[index];
      beyond = PackedEntry::pack({.birth = std::min(beyond.birth(), lsn)});
    }
  }
}

MissingPages ExtentMap::prepare_zero(uint64_t first, uint64_t count) {
  check_range(first, count);
  MissingPages missing;
  const uint64_t end = first + count;
  prepare(root_.entry, root_.node, top(), 0, first, end == blocks_ ? capacity() : end, false, missing);
  return missing;
}

void ExtentMap::zero(uint64_t first, uint64_t count, Lsn birth, Replaced& replaced, bool dates_empty) {
  check_range(first, count);
  ensure(birth <= kBirthMax, "an lsn has 48 bits");
  // Up to the volume's end means up to the tree's: beyond it all is zero anyway, and whole subtrees are cheap.
  const uint64_t end = first + count;
  zero_below(root_.entry, root_.node, top(), 0, first, end == blocks_ ? capacity() : end, birth, replaced,
             dates_empty);
}

void ExtentMap::zero_below(Entry& entry, NodeRef& node, uint8_t level, uint64_t base, uint64_t first,
                           uint64_t end, Lsn birth, Replaced& replaced, bool dates_empty) {
  const bool is_empty = !node && !entry.stored();
  if (is_empty && (!dates_empty || entry.birth >= birth)) return;
  const uint32_t child_log2 = cache_->fan_log2() * level;
  const uint64_t base_end = base + (uint64_t{cache_->fan()} << child_log2);
  if (first <= base && end >= base_end) {
    if (!is_empty) replaced.subtrees.push_back({{entry, std::move(node)}, level});
    entry = {.birth = birth};
    return;
  }
  MapNode* const page = cache_->writable(entry, level, node);
  entry.birth = std::max(entry.birth, birth);
  const uint64_t from = (std::max(first, base) - base) >> child_log2;
  const uint64_t last = (std::min(end, base_end) - 1 - base) >> child_log2;
  for (uint64_t index = from; index <= last; ++index) {
    PackedEntry& packed = page->entries()[index];
    if (level == 0) {
      if (packed.stored()) replaced.entries.push_back(packed.unpack());
      packed = PackedEntry::pack({.birth = birth});
      continue;
    }
    Entry child = packed.unpack();
    zero_below(child, page->children()[index], static_cast<uint8_t>(level - 1), base + (index << child_log2),
               first, end, birth, replaced, dates_empty);
    packed = PackedEntry::pack(child);
  }
}

MissingPages ExtentMap::prepare_resize(uint64_t blocks) {
  MissingPages missing;
  if (blocks < blocks_) prepare(root_.entry, root_.node, top(), 0, blocks, capacity(), false, missing);
  return missing;
}

void ExtentMap::resize(uint64_t blocks, Lsn birth, Replaced& replaced) {
  ensure(blocks <= kBlocksMax, "a volume's size was checked");
  ensure(birth <= kBirthMax, "an lsn has 48 bits");
  if (blocks < blocks_) zero_below(root_.entry, root_.node, top(), 0, blocks, capacity(), birth, replaced);
  while (capacity() < blocks) {
    if (!root_.empty()) {
      Slot below = std::exchange(root_, Slot{});
      MapNode* const page = cache_->writable({}, height_, root_.node);
      root_.entry.birth = below.entry.birth;
      page->entries()[0] = PackedEntry::pack(below.entry);
      page->children()[0] = std::move(below.node);
    }
    ++height_;
  }
  blocks_ = blocks;
}

bool ExtentMap::mend(uint64_t block, const Entry& from, const Entry& to) {
  check_range(block, 1);
  const uint64_t leaf_mask = cache_->fan() - 1;
  // Looked at first: a leaf that says something else is not to be copied or made dirty.
  MapNode* node = attached_leaf(block);
  if (node == nullptr) return false;
  const Entry now = node->entries()[block & leaf_mask].unpack();
  if (now.segment != from.segment || now.slot != from.slot || !now.stored()) return false;

  node = cache_->writable(root_.entry, top(), root_.node);
  for (uint8_t level = top(); level > 0; --level) {
    const uint64_t index = (block >> (cache_->fan_log2() * level)) & leaf_mask;
    node = cache_->writable(node->entries()[index].unpack(), static_cast<uint8_t>(level - 1),
                            node->children()[index]);
  }
  Entry moved = now;
  moved.segment = to.segment;
  moved.slot = to.slot;
  node->entries()[block & leaf_mask] = PackedEntry::pack(moved);
  return true;
}

void ExtentMap::attach_root() {
  cache_->attach(root_.entry, top(), root_.node);
}

void ExtentMap::evict(uint32_t sweep, uint64_t& position, size_t& budget) {
  cache_->evict_leaves(root_, top(), sweep, position, budget);
}

}  // namespace cloudfs
