// A store's index pages in memory: what the map's tests write checkpoints to and read pages back from. Slots that a
// published checkpoint does not reach are wiped, so that whoever still needs one is found out.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <vector>

#include "core/index/lineage.h"
#include "core/store/checkpoint_walk.h"

namespace cloudfs::test {

class PageStore : public PageSink {
 public:
  using Place = std::pair<uint32_t, uint16_t>;
  static Place place_of(const Entry& entry) { return {entry.segment, entry.slot}; }

  // PageSink. Every `refuse_every`th request for a slot is refused once.
  std::optional<Entry> take_slot() override {
    if (refuse_every != 0 && ++requests_ % refuse_every == 0) return std::nullopt;
    if (free_.empty()) {
      free_.push_back({1 + next_ / 8, static_cast<uint16_t>(next_ % 8 * 4)});
      ++next_;
    }
    const Place place = free_.back();
    free_.pop_back();
    return Entry{.segment = place.first, .slot = place.second};
  }
  void write_page(const Entry& entry, std::span<const uint8_t> bytes) override {
    REQUIRE(pages_.emplace(place_of(entry), std::vector<uint8_t>(bytes.begin(), bytes.end())).second);
    used_.insert(place_of(entry));
    ++writes;
  }
  void page_used(const Entry& entry) override {
    REQUIRE(pages_.contains(place_of(entry)));
    used_.insert(place_of(entry));
  }

  void begin_checkpoint() { used_.clear(); }
  void publish() {
    for (auto page = pages_.begin(); page != pages_.end();) {
      if (used_.contains(page->first)) {
        ++page;
        continue;
      }
      free_.push_back(page->first);
      page = pages_.erase(page);
    }
  }
  /// What was written since the last published checkpoint is lost.
  void crash(const std::set<Place>& published) {
    used_ = published;
    publish();
  }
  const std::set<Place>& used() const { return used_; }

  const std::vector<uint8_t>& read(const Entry& entry) const {
    const auto page = pages_.find(place_of(entry));
    REQUIRE_MESSAGE(page != pages_.end(), "a page is read that no published checkpoint reaches");
    return page->second;
  }
  void install(PageCache& cache, const MissingPages& missing) {
    for (const MissingPage& page : missing) {
      REQUIRE(cache.install(page, read(page.entry).data()));
      ++reads;
    }
  }
  /// Carries out `operation`, reading the pages it misses. It must not miss a page twice.
  template <class Operation>
  void with_pages(PageCache& cache, Operation&& operation) {
    for (int rounds = 0;; ++rounds) {
      const MissingPages missing = operation();
      if (missing.empty()) return;
      REQUIRE(rounds < 100'000);
      install(cache, missing);
    }
  }

  size_t refuse_every = 0;
  size_t reads = 0;
  size_t writes = 0;

 private:
  std::map<Place, std::vector<uint8_t>> pages_;
  std::set<Place> used_;
  std::vector<Place> free_;
  uint32_t next_ = 0;
  size_t requests_ = 0;
};

/// A whole checkpoint at once: every page written, `lineage` frozen before and published after.
inline FrozenLineage write_checkpoint(PageStore& store, PageCache& cache, Lineage& lineage) {
  FrozenLineage frozen = lineage.freeze();
  store.begin_checkpoint();
  CheckpointWalk walk(cache, frozen.roots());
  for (bool done = false; !done;) {
    const CheckpointWalk::Step step = walk.step(store, 64);
    store.install(cache, step.missing);
    done = step.done;
  }
  lineage.keep_walked();
  store.publish();
  return frozen;
}

/// Background work until there is none.
inline void settle(PageStore& store, PageCache& cache, Lineage& lineage) {
  for (int steps = 0;; ++steps) {
    REQUIRE(steps < 100'000);
    const Lineage::Step step = lineage.step(50);
    if (step.idle) return;
    store.install(cache, step.missing);
  }
}

}  // namespace cloudfs::test
