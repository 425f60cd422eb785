// Of a random history of versions: those that are kept for a while because they were shown, and their maps being made.
#pragma once

#include <cstring>
#include <deque>
#include <map>

#include "lineage_state.h"

namespace cloudfs::test {

class LineageShown : public LineageState {
 protected:
  using LineageState::LineageState;

  void keep() {
    const NodeId id = any(NodeKind::head);
    if (id == 0) return;
    // A branch begins with a record of its own.
    const NodeId parent = model_.versions.at(id).parent;
    if (parent != 0 && model_.versions.at(parent).volume != model_.versions.at(id).volume &&
        model_.versions.at(parent).lsn == model_.versions.at(id).lsn)
      ++model_.versions.at(id).lsn;
    const Lsn lsn = model_.versions.at(id).lsn;
    VersionId version;
    std::memcpy(version.bytes.data(), &lsn, sizeof(lsn));
    std::memcpy(version.bytes.data() + 8, &id, sizeof(id));
    now_ += 1 + pick(3);
    lineage_->keep_shown(id, lsn, version, (now_ + kKeptFor) * 1'000'000'000);
    if (!kept_.contains(id) || kept_.at(id).back().second != lsn) note_kept(id, lsn);
  }
  /// The node above the head is kept from now on.
  void note_kept(NodeId head, Lsn lsn) {
    const NodeId node = lineage_->node(head).parent;
    if (!model_.versions.contains(node)) {
      insert_above(head, node, NodeKind::hidden);
      model_.versions.at(node).held = false;
    }
    ModelVersion& version = model_.versions.at(node);
    version.bare = lineage_->node(node).bare;
    std::deque<std::pair<NodeId, Lsn>>& kept = kept_[head];
    if (!kept.empty() && kept.back().first == node) return;
    version.held = true;
    kept.emplace_back(node, lsn);
  }
  /// Before a change that cannot be taken back step by step.
  void anchor(NodeId head, bool needed) {
    if (!needed || !kept_.contains(head)) return;
    const Lsn lsn = model_.versions.at(head).lsn;
    lineage_->set_anchor(head, lsn, {});
    note_kept(head, lsn);
  }
  void expire() {
    now_ += pick(4) == 0 ? pick(kKeptFor) : pick(3);
    const bool half = pick(10) == 0;
    half ? static_cast<void>(lineage_->forget_half()) : lineage_->expire_shown(now_ * 1'000'000'000);
    sync_kept();
  }
  /// What the lineage let go is let go in the model: the oldest ones, and none that is being made.
  void sync_kept() {
    for (auto at = kept_.begin(); at != kept_.end();) {
      std::deque<std::pair<NodeId, Lsn>>& kept = at->second;
      const VersionNode* const head = lineage_->find(at->first);
      const size_t left = head == nullptr || head->trail == nullptr ? 0 : head->trail->kept.size();
      REQUIRE(left <= kept.size());
      while (kept.size() > left) {
        model_.versions.at(kept.front().first).held = false;
        kept.pop_front();
      }
      at = kept.empty() ? kept_.erase(at) : std::next(at);
    }
    model_.prune();
  }
  /// The map of a version that is kept without one, in small steps, with all that can happen in between.
  void rebuild() {
    if (rebuilds_.empty() || pick(3) == 0) {
      for (const auto& [head, kept] : kept_) {
        const auto [node, lsn] = kept[pick(kept.size())];
        if (!lineage_->node(node).bare || pick(2) == 0) continue;
        // The base is a version that hangs between; the model has it while it is needed.
        if (lineage_->node(node).holds > 1) continue;
        lineage_->hold(node);
        Lineage::Rebuild work = lineage_->begin_rebuild(head, node, model_.versions.at(head).lsn, {});
        if (work.base == node) {
          lineage_->release(node);
          model_.versions.at(node).bare = false;
          continue;
        }
        if (!model_.versions.contains(work.base)) {
          insert_above(head, work.base, NodeKind::hidden);
          model_.versions.at(work.base).bare = false;
        }
        model_.versions.at(work.base).bare = lineage_->node(work.base).bare;
        model_.versions.at(work.base).held = true;
        rebuilds_.push_back({std::move(work), head});
        break;
      }
      return;
    }
    const size_t index = pick(rebuilds_.size());
    Lineage::Rebuild& work = rebuilds_[index].first;
    const NodeId base = work.base;
    const NodeId target = work.target;
    MissingPages missing;
    bool done = false;
    const bool there = lineage_->rebuild(work, 1 + pick(20), missing, done);
    store_.install(*cache_, missing);
    if (there && !done) return;
    lineage_->end_rebuild(work);
    rebuilds_.erase(rebuilds_.begin() + static_cast<std::ptrdiff_t>(index));
    if (there) {
      model_.versions.at(target).bare = false;
      lineage_->release(target);
    }
    const auto is_kept = [&](NodeId id) {
      for (const auto& [head, kept] : kept_)
        for (const auto& [node, lsn] : kept)
          if (node == id) return true;
      return false;
    };
    const auto is_base = [&](NodeId id) {
      for (const auto& [other, head] : rebuilds_)
        if (other.base == id) return true;
      return false;
    };
    if (model_.versions.contains(base)) model_.versions.at(base).held = is_kept(base) || is_base(base);
    model_.prune();
  }

  void drop_shown() {
    kept_.clear();
    rebuilds_.clear();
  }
  void drop_shown_of(uint64_t volume) {
    for (auto at = kept_.begin(); at != kept_.end();)
      at = model_.versions.at(at->first).volume == volume ? kept_.erase(at) : std::next(at);
    // A version that is held for a map being made stays with its map or goes: both end the making.
    for (size_t index = rebuilds_.size(); index-- > 0;) {
      if (model_.versions.at(rebuilds_[index].second).volume != volume) continue;
      lineage_->end_rebuild(rebuilds_[index].first);
      lineage_->release(rebuilds_[index].first.target);
      rebuilds_.erase(rebuilds_.begin() + static_cast<std::ptrdiff_t>(index));
    }
  }

 private:
  static constexpr uint64_t kKeptFor = 40;
  uint64_t now_ = 0;
  std::map<NodeId, std::deque<std::pair<NodeId, Lsn>>> kept_;  // of each head, oldest first
  std::vector<std::pair<Lineage::Rebuild, NodeId>> rebuilds_;  // and the head each is made from
};

}  // namespace cloudfs::test
