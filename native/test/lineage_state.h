// What a random history of versions (lineage_property.test.cc) is made of: the lineage, the model beside it, and the dice.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <random>

#include "lineage_model.h"
#include "page_store.h"

namespace cloudfs::test {

class LineageState {
 protected:
  LineageState(uint64_t seed, uint32_t fan_log2) : random_(seed), fan_log2_(fan_log2) { start(); }

  // --- randomness
  uint64_t pick(uint64_t below) { return std::uniform_int_distribution<uint64_t>(0, below - 1)(random_); }
  NodeId any_version() {
    auto at = model_.versions.begin();
    std::advance(at, static_cast<long>(pick(model_.versions.size())));
    return at->first;
  }
  /// A version of a kind, or 0.
  NodeId any(NodeKind kind) {
    std::vector<NodeId> ids;
    for (const auto& [id, version] : model_.versions)
      if (version.kind == kind) ids.push_back(id);
    return ids.empty() ? 0 : ids[pick(ids.size())];
  }

  static VolumeId volume_id(uint64_t number) {
    VolumeId id;
    for (size_t byte = 0; byte < 8; ++byte) id.bytes[byte] = static_cast<uint8_t>(number >> (8 * byte));
    return id;
  }
  Entry new_block(Lsn birth) {
    ++last_block_;
    const Entry entry{static_cast<uint32_t>(1000 + last_block_ / 16),
                      static_cast<uint16_t>(last_block_ % 16 * 4), birth, static_cast<uint32_t>(random_())};
    model_.allocated.insert({entry.segment, entry.slot});
    return entry;
  }

  std::pair<uint64_t, uint64_t> any_range(uint64_t size) {
    const uint64_t first = pick(size);
    const uint64_t most = pick(4) == 0 ? size - first : std::min<uint64_t>(size - first, 6);
    return {first, pick(8) == 0 ? size - first : 1 + pick(most)};
  }

  /// In the model a snapshot is a copy that takes the head's place below the parent.
  void insert_above(NodeId head, NodeId snapshot, NodeKind kind) {
    ModelVersion copy = model_.versions.at(head);
    copy.kind = kind;
    model_.versions[snapshot] = copy;
    model_.versions.at(head).parent = snapshot;
  }

  void start() {
    cache_ = std::make_unique<PageCache>(fan_log2_);
    lineage_ =
        std::make_unique<Lineage>(*cache_, [this](const Entry& entry) { freed_now_.push_back(entry); });
  }

  void check_freed() {
    const std::set<Model::Place> needed = model_.needed();
    for (const Entry& entry : freed_now_) {
      const Model::Place place{entry.segment, entry.slot};
      REQUIRE_MESSAGE(!needed.contains(place), "a block is freed that a version needs");
      REQUIRE_MESSAGE(model_.allocated.contains(place), "a block is freed that was moved or never written");
      REQUIRE_MESSAGE(model_.freed.insert(place).second, "a block is freed twice");
    }
    freed_now_.clear();
  }

  std::mt19937_64 random_;
  const uint32_t fan_log2_;
  uint64_t last_block_ = 0;
  uint64_t last_volume_ = 0;

  PageStore store_;
  std::unique_ptr<PageCache> cache_;
  std::unique_ptr<Lineage> lineage_;
  Model model_;
  std::vector<Entry> freed_now_;
};

}  // namespace cloudfs::test
