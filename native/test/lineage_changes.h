// Of a random history of versions: what a client, an operator and the cleaner do to them.
#pragma once

#include "lineage_shown.h"

namespace cloudfs::test {

class LineageChanges : public LineageShown {
 protected:
  LineageChanges(uint64_t seed, uint32_t fan_log2, uint64_t blocks_max)
      : LineageShown(seed, fan_log2), blocks_max_(blocks_max) {}

  void create() {
    const uint64_t blocks = 1 + pick(blocks_max_);
    const NodeId id = lineage_->create(volume_id(++last_volume_), blocks, 1);
    ModelVersion& head = model_.versions[id];
    head.lsn = 1;
    head.volume = last_volume_;
    head.resize(blocks, 1);
  }

  void write() {
    const NodeId id = any(NodeKind::head);
    if (id == 0) return;
    ModelVersion& head = model_.versions.at(id);
    const auto [first, count] = any_range(head.size);
    store_.with_pages(*cache_, [&] { return lineage_->prepare_write(id, first, count); });
    ++head.lsn;
    std::vector<Entry> entries;
    for (uint64_t block = first; block < first + count; ++block) {
      entries.push_back(pick(5) == 0 ? Entry{.birth = head.lsn} : new_block(head.lsn));
      head.put(block, entries.back(), head.lsn);
    }
    lineage_->write(id, first, entries);
  }

  void zero() {
    const NodeId id = any(NodeKind::head);
    if (id == 0) return;
    ModelVersion& head = model_.versions.at(id);
    const auto [first, count] = any_range(head.size);
    store_.with_pages(*cache_, [&] { return lineage_->prepare_zero(id, first, count); });
    anchor(id, lineage_->needs_anchor(id, first, count));
    ++head.lsn;
    for (uint64_t block = first; block < first + count; ++block) head.put(block, {}, head.lsn);
    lineage_->zero(id, first, count, head.lsn);
  }

  void resize() {
    const NodeId id = any(NodeKind::head);
    if (id == 0) return;
    ModelVersion& head = model_.versions.at(id);
    const uint64_t blocks = 1 + pick(pick(4) == 0 ? blocks_max_ * 4 : blocks_max_);
    store_.with_pages(*cache_, [&] { return lineage_->prepare_resize(id, blocks); });
    anchor(id, true);
    head.resize(blocks, ++head.lsn);
    lineage_->resize(id, blocks, head.lsn);
  }

  void snapshot() {
    const NodeId id = any(NodeKind::head);
    if (id == 0 || model_.versions.size() > 20) return;
    if (pick(2) == 0) ++model_.versions.at(id).lsn;  // a snapshot is a record of its own
    insert_above(id, lineage_->snapshot(id, model_.versions.at(id).lsn, {}, "s"), NodeKind::named);
  }

  void branch() {
    if (model_.versions.size() > 20) return;
    NodeId from = any(pick(2) == 0 ? NodeKind::named : NodeKind::hidden);
    if (from != 0 && model_.versions.at(from).bare) from = 0;
    if (from == 0 || pick(2) == 0) {
      const NodeId head = any(NodeKind::head);
      if (head == 0) return;
      from = lineage_->branch_point(head, model_.versions.at(head).lsn, {});
      if (model_.versions.contains(from)) model_.versions.at(from).bare = false;
      if (!model_.versions.contains(from)) insert_above(head, from, NodeKind::hidden);
    }
    const NodeId id = lineage_->branch(from, volume_id(++last_volume_));
    ModelVersion head = model_.versions.at(from);
    head.kind = NodeKind::head;
    head.held = head.bare = false;
    head.parent = from;
    head.volume = last_volume_;
    model_.versions[id] = head;
  }

  void delete_snapshot() {
    const NodeId id = any(NodeKind::named);
    if (id == 0) return;
    model_.versions.at(id).kind = NodeKind::hidden;
    model_.prune();
    lineage_->delete_snapshot(id);
  }

  void delete_volume(NodeId head) {
    if (head == 0) return;
    const uint64_t volume = model_.versions.at(head).volume;
    drop_shown_of(volume);
    model_.delete_volume(volume);
    lineage_->delete_volume(volume_id(volume));
  }

  /// The cleaner moves a block: where its leaf is mended, the old place is nobody's any more.
  void mend() {
    const NodeId id = any(NodeKind::head);
    if (id == 0) return;
    ModelVersion& head = model_.versions.at(id);
    const uint64_t block = pick(head.size);
    const Entry from = head.blocks[block];
    if (!from.stored()) return;
    const Entry to = new_block(from.birth);
    if (!lineage_->mend(id, block, from, to)) {
      model_.allocated.erase({to.segment, to.slot});
      return;
    }
    head.blocks[block].segment = to.segment;
    head.blocks[block].slot = to.slot;
    // Versions without a map have it by way of the head's.
    for (NodeId at = head.parent; at != 0 && model_.versions.at(at).bare;
         at = model_.versions.at(at).parent) {
      std::vector<Entry>& blocks = model_.versions.at(at).blocks;
      if (block < blocks.size() && blocks[block] == from) blocks[block] = head.blocks[block];
    }
    model_.allocated.erase({from.segment, from.slot});
    REQUIRE(!model_.needed().contains({from.segment, from.slot}));
    REQUIRE(!lineage_->mend(id, block, from, to));
  }

  void work() {
    const Lineage::Step step = lineage_->step(1 + pick(30));
    store_.install(*cache_, step.missing);
  }

 private:
  const uint64_t blocks_max_;
};

}  // namespace cloudfs::test
