// Goal: whatever is done to versions in whatever order, every version reads as it should, and every block is freed once,
// when no version needs it any more, and not before. Method: random histories (writes, zeroes, resizes, snapshots, branches,
// deletions, moved blocks, checkpoints that run beside them, evictions, crashes with a reload from the last checkpoint's
// pages, versions kept for a while as those that were shown are, and their maps made) on small pages and tall trees, beside a naive model. CLOUDFS_TEST_SEED=n runs one seed,
// CLOUDFS_TEST_LONG=1 ten times as many.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <random>

#include "lineage_model.h"
#include "page_store.h"

namespace cloudfs::test {

namespace {

uint64_t seed_now = 0;

void tell_seed(const char* invariant, const std::source_location& where) {
  std::fprintf(stderr, "seed %llu: %s (%s:%u)\n", static_cast<unsigned long long>(seed_now), invariant,
               where.file_name(), where.line());
}

class World {
 public:
  World(uint64_t seed, uint32_t fan_log2, uint64_t blocks_max)
      : random_(seed), fan_log2_(fan_log2), blocks_max_(blocks_max) {
    start();
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

  // --- life
  void start() {
    cache_ = std::make_unique<PageCache>(fan_log2_);
    lineage_ =
        std::make_unique<Lineage>(*cache_, [this](const Entry& entry) { freed_now_.push_back(entry); });
  }
  /// A freeze as the checkpoint's bytes would have it: places, and nothing in memory.
  static FrozenLineage stored(const FrozenLineage& frozen) {
    FrozenLineage read{.next_node = frozen.next_node, .nodes = {}};
    for (const FrozenNode& node : frozen.nodes) read.nodes.push_back(from_checkpoint(to_checkpoint(node)));
    return read;
  }
  void crash() {
    walk_.reset();
    frozen_ = {};
    kept_.clear();
    rebuilds_.clear();
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

  // --- versions shown lately
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

  void create() {
    const uint64_t blocks = 1 + pick(blocks_max_);
    const NodeId id = lineage_->create(volume_id(++last_volume_), blocks, 1);
    ModelVersion& head = model_.versions[id];
    head.lsn = 1;
    head.volume = last_volume_;
    head.resize(blocks, 1);
  }

  std::pair<uint64_t, uint64_t> any_range(uint64_t size) {
    const uint64_t first = pick(size);
    const uint64_t most = pick(4) == 0 ? size - first : std::min<uint64_t>(size - first, 6);
    return {first, pick(8) == 0 ? size - first : 1 + pick(most)};
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

  /// In the model a snapshot is a copy that takes the head's place below the parent.
  void insert_above(NodeId head, NodeId snapshot, NodeKind kind) {
    ModelVersion copy = model_.versions.at(head);
    copy.kind = kind;
    model_.versions[snapshot] = copy;
    model_.versions.at(head).parent = snapshot;
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
    for (auto at = kept_.begin(); at != kept_.end();)
      at = model_.versions.at(at->first).volume == volume ? kept_.erase(at) : std::next(at);
    // A version that is held for a map being made stays with its map or goes: both end the making.
    for (size_t index = rebuilds_.size(); index-- > 0;) {
      if (model_.versions.at(rebuilds_[index].second).volume != volume) continue;
      lineage_->end_rebuild(rebuilds_[index].first);
      lineage_->release(rebuilds_[index].first.target);
      rebuilds_.erase(rebuilds_.begin() + static_cast<std::ptrdiff_t>(index));
    }
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

  std::mt19937_64 random_;
  const uint32_t fan_log2_;
  const uint64_t blocks_max_;
  uint64_t last_block_ = 0;
  uint64_t last_volume_ = 0;

  PageStore store_;
  std::unique_ptr<PageCache> cache_;
  std::unique_ptr<Lineage> lineage_;
  Model model_;
  std::vector<Entry> freed_now_;

  static constexpr uint64_t kKeptFor = 40;
  uint64_t now_ = 0;
  std::map<NodeId, std::deque<std::pair<NodeId, Lsn>>> kept_;  // of each head, oldest first
  std::vector<std::pair<Lineage::Rebuild, NodeId>> rebuilds_;  // and the head each is made from

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
