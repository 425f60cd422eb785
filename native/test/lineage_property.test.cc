// Goal: whatever is done to versions in whatever order, every version reads as it should, and every block is freed once,
// when no version needs it any more, and not before. Method: random histories (writes, zeroes, resizes, snapshots, branches,
// deletions, moved blocks, checkpoints that run beside them, evictions, crashes with a reload from the last checkpoint's
// pages, versions kept for a while as those that were shown are, and their maps made) on small pages and tall trees,
// beside a naive model. CLOUDFS_TEST_SEED=n runs one seed, CLOUDFS_TEST_LONG=1 ten times as many.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "lineage_changes.h"

namespace cloudfs::test {

namespace {

uint64_t seed_now = 0;

void tell_seed(const char* invariant, const std::source_location& where) {
  std::fprintf(stderr, "seed %llu: %s (%s:%u)\n", static_cast<unsigned long long>(seed_now), invariant,
               where.file_name(), where.line());
}

class World : public LineageChanges {
 public:
  World(uint64_t seed, uint32_t fan_log2, uint64_t blocks_max) : LineageChanges(seed, fan_log2, blocks_max) {
    store_.refuse_every = seed % 3 == 0 ? 5 : 0;
    create();
    freeze();  // a crash goes back to a checkpoint: there is one from the start
    while (walk_) advance_checkpoint();
  }

  void run(size_t steps) {
    for (size_t step = 0; step < steps; ++step) {
      act(pick(122));
      check_freed();
      if (model_.versions.empty()) create();
      check_version(any_version());
    }
    settle_all();
    check_all();
    finish();
  }

 private:
  // --- life
  /// A freeze as the checkpoint's bytes would have it: places, and nothing in memory.
  static FrozenLineage stored(const FrozenLineage& frozen) {
    FrozenLineage read{.next_node = frozen.next_node, .nodes = {}};
    for (const FrozenNode& node : frozen.nodes) read.nodes.push_back(from_checkpoint(to_checkpoint(node)));
    return read;
  }
  void crash() {
    walk_.reset();
    frozen_ = {};
    drop_shown();
    lineage_.reset();
    cache_.reset();
    store_.crash(published_pages_);
    model_ = published_model_;
    start();
    const char* refused = lineage_->restore(published_);
    REQUIRE_MESSAGE(refused == nullptr, std::string(refused));
    lineage_->drop_strays();
    for (auto& [id, version] : model_.versions) version.held = false;
    model_.prune();
  }
  void finish() {
    for (NodeId head = any(NodeKind::head); head != 0; head = any(NodeKind::head)) {
      delete_volume(head);
      check_freed();
    }
    settle_all();
    REQUIRE(model_.versions.empty());
    REQUIRE(lineage_->nodes().empty());
    walk_.reset();
    frozen_ = {};
    cache_->reap(SIZE_MAX);
    REQUIRE(cache_->dirty_count() == 0);
  }

  // --- what can happen
  void act(uint64_t dice) {
    if (dice < 30) return write();
    if (dice < 42) return zero();
    if (dice < 46) return resize();
    if (dice < 52) return snapshot();
    if (dice < 58) return branch();
    if (dice < 62) return delete_snapshot();
    if (dice < 65) return delete_volume(any(NodeKind::head));
    if (dice < 66 && model_.versions.size() < 20) return create();
    if (dice < 72) return mend();
    if (dice < 82) return walk_ ? advance_checkpoint() : freeze();
    if (dice < 90) return work();
    if (dice < 95) return evict();
    if (dice < 97) return crash();
    if (dice < 98) return settle_all();
    if (dice < 99) return check_all();
    if (dice < 112) return keep();
    if (dice < 118) return rebuild();
    return expire();
  }

  /// Sometimes everything that is clean goes: a sweep forgets who was used, the next one drops.
  void evict() {
    if (walk_) return;
    const bool all = pick(2) == 0;
    for (uint64_t sweeps = all ? 3 : 1; sweeps > 0; --sweeps) lineage_->evict(all ? 1'000'000 : 1 + pick(40));
  }

  // --- checkpoints
  void freeze() {
    frozen_ = lineage_->freeze();
    frozen_model_ = model_.stored();
    store_.begin_checkpoint();
    walk_ = std::make_unique<CheckpointWalk>(*cache_, frozen_.roots());
  }
  void advance_checkpoint() {
    const CheckpointWalk::Step step = walk_->step(store_, 1 + pick(60));
    store_.install(*cache_, step.missing);
    if (!step.done) return;
    lineage_->keep_walked();
    published_ = stored(frozen_);
    frozen_ = {};
    published_model_ = std::move(frozen_model_);
    walk_.reset();
    store_.publish();
    published_pages_ = store_.used();
    check_pages();
  }

  /// The checkpoint read back by its bytes alone: each entry's birth is exact, and exactly the slots in use are marked.
  void check_pages() {
    std::set<PageStore::Place> seen;
    for (const FrozenNode& node : published_.nodes) {
      if (node.height > 0) {
        std::vector<Entry> blocks;
        read_tree(node.root.entry, node.height - 1, seen, &blocks);
        const ModelVersion& version = published_model_.versions.at(node.id);
        REQUIRE(version.size == node.blocks);
        for (uint64_t block = 0; block < version.size; ++block)
          REQUIRE((block < blocks.size() && blocks[block].stored() ? blocks[block] : Entry{}) ==
                  version.blocks[block]);
      }
      for (const Subtree& tree : node.dead_trees) read_tree(tree.slot.entry, tree.level, seen, nullptr);
    }
    REQUIRE(seen == published_pages_);
  }
  /// @returns the greatest birth below
  Lsn read_tree(const Entry& entry, int level, std::set<PageStore::Place>& seen, std::vector<Entry>* blocks) {
    const size_t fan = size_t{1} << fan_log2_;
    if (!entry.stored()) {
      if (blocks != nullptr)
        blocks->resize(blocks->size() + (size_t{1} << (fan_log2_ * static_cast<uint32_t>(level + 1))));
      return entry.birth;
    }
    seen.insert(PageStore::place_of(entry));
    const std::vector<uint8_t>& page = store_.read(entry);
    REQUIRE(page.size() == fan * 16);
    Lsn birth = 0;
    for (size_t index = 0; index < fan; ++index) {
      const uint8_t* at = page.data() + index * 16;
      Entry child;
      Lsn low = 0;
      std::memcpy(&child.segment, at, 4);
      std::memcpy(&child.slot, at + 4, 2);
      std::memcpy(&low, at + 6, 4);
      uint16_t high = 0;
      std::memcpy(&high, at + 10, 2);
      child.birth = low | Lsn{high} << 32;
      std::memcpy(&child.crc, at + 12, 4);
      if (level == 0 && blocks != nullptr) blocks->push_back(child);
      birth = std::max(birth, level == 0 ? child.birth : read_tree(child, level - 1, seen, blocks));
    }
    REQUIRE(entry.birth == birth);
    return birth;
  }

  // --- checks
  void settle_all() {
    settle(store_, *cache_, *lineage_);
    check_freed();
    const std::set<Model::Place> needed = model_.needed();
    for (const Model::Place& place : model_.allocated)
      REQUIRE_MESSAGE(needed.contains(place) != model_.freed.contains(place),
                      "a block that nobody needs is kept");
    REQUIRE(lineage_->nodes().size() == model_.versions.size());
  }

  void check_all() {
    for (const auto& [id, version] : model_.versions) check_version(id);
  }

  void check_version(NodeId id) {
    const ModelVersion& version = model_.versions.at(id);
    VersionNode& node = lineage_->node(id);
    REQUIRE(node.parent == version.parent);
    REQUIRE(node.bare == version.bare);
    if (node.bare) return;
    REQUIRE(node.map.blocks() == version.size);
    // Different ranges, in any order: each of them meets pages that are missing.
    const uint64_t order = pick(3);
    for (uint64_t turn = 0; turn < 3; ++turn) {
      const auto [first, count] = any_range(version.size);
      if ((turn + order) % 3 == 0) check_lookup(version, node.map, first, count);
      if ((turn + order) % 3 == 1) check_scan(version, node.map, first, first + count);
      if ((turn + order) % 3 == 2) check_status(version, node.map, first, first + count);
    }
  }

  void check_lookup(const ModelVersion& version, ExtentMap& map, uint64_t first, uint64_t count) {
    std::vector<MapRun> runs;
    store_.with_pages(*cache_, [&] { return map.lookup(first, count, runs); });
    uint64_t block = first;
    for (const MapRun& run : runs) {
      REQUIRE(run.block == block);
      REQUIRE((!run.entry.stored() || run.count == 1));
      for (; block < run.block + run.count; ++block) check_block(version, block, run.entry);
    }
    REQUIRE(block == first + count);
  }

  void check_block(const ModelVersion& version, uint64_t block, const Entry& entry) {
    if (version.blocks[block].stored()) {
      REQUIRE(entry == version.blocks[block]);
    } else {
      REQUIRE(!entry.stored());
      REQUIRE(entry.birth >= version.changed[block]);
      REQUIRE(entry.birth <= version.lsn);
    }
  }

  /// A scan gives all that was born after, and every hole that has become one since.
  void check_scan(const ModelVersion& version, ExtentMap& map, uint64_t first, uint64_t end) {
    const Lsn born_after = pick(version.lsn + 1);
    std::vector<MapRun> runs;
    for (uint64_t position = first; position < end;) {
      const size_t runs_max = runs.size() + 1 + pick(5);
      store_.install(*cache_, map.scan(position, end, born_after, runs_max, runs));
      REQUIRE(runs.size() <= runs_max);
    }
    uint64_t block = first;
    const auto skipped = [&](uint64_t until) {
      for (; block < until; ++block) REQUIRE(version.changed[block] <= born_after);
    };
    for (const MapRun& run : runs) {
      skipped(run.block);
      REQUIRE(run.entry.birth > born_after);
      for (; block < run.block + run.count; ++block) check_block(version, block, run.entry);
    }
    skipped(end);
  }

  void check_status(const ModelVersion& version, ExtentMap& map, uint64_t first, uint64_t end) {
    std::vector<MapStatus> runs;
    for (uint64_t position = first; position < end;)
      store_.install(*cache_, map.status(position, end, runs.size() + 1 + pick(5), runs));
    uint64_t block = first;
    for (size_t index = 0; index < runs.size(); ++index) {
      REQUIRE(runs[index].block == block);
      REQUIRE((index == 0 || runs[index].stored != runs[index - 1].stored));
      for (; block < runs[index].block + runs[index].count; ++block)
        REQUIRE(version.blocks[block].stored() == runs[index].stored);
    }
    REQUIRE(block == end);
  }

  FrozenLineage frozen_;
  Model frozen_model_;
  std::unique_ptr<CheckpointWalk> walk_;
  FrozenLineage published_;
  Model published_model_;
  std::set<PageStore::Place> published_pages_;
};

void run_seeds(uint64_t count, uint32_t fan_log2, uint64_t blocks_max, size_t steps) {
  const char* chosen = std::getenv("CLOUDFS_TEST_SEED");
  const uint64_t first = chosen != nullptr ? std::strtoull(chosen, nullptr, 10) : 1;
  if (std::getenv("CLOUDFS_TEST_LONG") != nullptr) count *= 10;
  set_assertion_handler(tell_seed);
  for (uint64_t seed = first; seed < first + (chosen != nullptr ? 1 : count); ++seed) {
    CAPTURE(seed);
    seed_now = seed;
    World(seed, fan_log2, blocks_max).run(steps);
  }
  set_assertion_handler(nullptr);
}

}  // namespace

TEST_CASE("versions read as written and each block is freed once, when nobody needs it: tall trees of 2") {
  run_seeds(30, 1, 40, 300);
}

TEST_CASE("versions read as written and each block is freed once, when nobody needs it: pages of 4") {
  run_seeds(30, 2, 150, 300);
}

TEST_CASE("versions read as written and each block is freed once, when nobody needs it: pages of 256") {
  run_seeds(3, 8, 1500, 200);
}

}  // namespace cloudfs::test
