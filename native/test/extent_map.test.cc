#include "core/index/extent_map.h"

#include <doctest/doctest.h>

#include "core/base/checksum.h"

#include "page_store.h"

namespace cloudfs::test {

namespace {

Entry block_entry(uint64_t number, Lsn birth) {
  return {static_cast<uint32_t>(1 + number / 16), static_cast<uint16_t>(number % 16 * 4), birth, 7};
}

void write(ExtentMap& map, uint64_t block, const Entry& entry) {
  REQUIRE(map.prepare_set(block, 1).empty());
  Replaced replaced;
  map.set(block, std::span(&entry, 1), replaced);
}

Entry read(ExtentMap& map, uint64_t block) {
  std::vector<MapRun> runs;
  REQUIRE(map.lookup(block, 1, runs).empty());
  REQUIRE(runs.size() == 1);
  return runs[0].entry;
}

/// The map's pages on the store, its root clean; then as a fresh start finds it: nothing in memory.
ExtentMap reload(PageStore& store, PageCache& from, ExtentMap& map, PageCache& to) {
  CheckpointWalk walk(from, {map.tree()});
  while (!walk.step(store, 1'000'000).done) continue;
  return {to, map.blocks(), map.height(), map.root().place()};
}

}  // namespace

TEST_CASE("a packed entry keeps every field and lies as the format says") {
  const Entry entry{0x04030201, 0x0605, 0x0c0b0a090807, 0x100f0e0d};
  const PackedEntry packed = PackedEntry::pack(entry);
  CHECK(packed.unpack() == entry);
  CHECK(packed.birth() == entry.birth);
  const auto* bytes = reinterpret_cast<const uint8_t*>(&packed);
  for (uint8_t index = 0; index < 16; ++index) CHECK(bytes[index] == index + 1);
  PackedEntry raised = packed;
  raised.raise_birth(0xffffffffffff);
  CHECK(raised.unpack() == Entry{entry.segment, entry.slot, 0xffffffffffff, entry.crc});
  raised.raise_birth(5);
  CHECK(raised.birth() == 0xffffffffffff);
}

TEST_CASE("a write leaves the births of its neighbours as they are, in pages that it creates too") {
  PageCache cache;
  ExtentMap map(cache, 1 << 20);
  write(map, 0, block_entry(1, 3));
  Replaced replaced;
  REQUIRE(map.prepare_zero(0, 1 << 20).empty());
  map.zero(0, 1 << 20, 5, replaced);
  write(map, 70'000, block_entry(2, 9));
  CHECK(read(map, 70'000) == block_entry(2, 9));
  CHECK(read(map, 70'001) == Entry{.birth = 5});
  CHECK(read(map, 69'000) == Entry{.birth = 5});
  CHECK(read(map, 900'000) == Entry{.birth = 5});
}

TEST_CASE("trimming a terabyte touches a few pages and reads none") {
  PageCache cache;
  PageStore store;
  ExtentMap map(cache, 1 << 28);
  for (uint64_t block = 0; block < 1 << 28; block += 1 << 16) write(map, block, block_entry(block, 2));
  PageCache cold;
  ExtentMap reloaded = reload(store, cache, map, cold);
  store.with_pages(cold, [&] { return reloaded.prepare_zero(1000, (1 << 28) - 2000); });
  Replaced replaced;
  reloaded.zero(1000, (1 << 28) - 2000, 9, replaced);
  CHECK(store.reads < 10);
  CHECK(cold.node_count() < 20);
  CHECK(replaced.entries.empty());  // the loose ends hold no block
  CHECK(replaced.subtrees.size() < 1024);
}

TEST_CASE("zeroing an empty volume creates no page") {
  PageCache cache;
  ExtentMap map(cache, 1 << 28);
  REQUIRE(map.prepare_zero(12'345, 1'000'000).empty());
  Replaced replaced;
  map.zero(12'345, 1'000'000, 9, replaced);
  CHECK(cache.node_count() == 0);
}

TEST_CASE("a copy of a map says since when blocks are zero, though it has held nothing there") {
  PageCache cache;
  ExtentMap map(cache, 1 << 20);
  write(map, 10, block_entry(1, 3));
  Replaced replaced;
  // In part of a leaf, in an empty one, and over many of them.
  const std::pair<uint64_t, uint64_t> ranges[] = {{5, 2}, {5'000, 3}, {100'000, 50'000}};
  for (const auto& [first, count] : ranges) {
    REQUIRE(map.prepare_zero(first, count).empty());
    map.zero(first, count, 7, replaced, true);
  }
  CHECK(replaced.subtrees.empty());
  std::vector<MapRun> runs;
  for (uint64_t position = 0; position < map.blocks();)
    REQUIRE(map.scan(position, map.blocks(), 5, 1000, runs).empty());
  std::vector<std::pair<uint64_t, uint64_t>> found;
  for (const MapRun& run : runs) {
    CHECK_FALSE(run.entry.stored());
    CHECK(run.entry.birth == 7);
    if (!found.empty() && found.back().first + found.back().second == run.block) {
      found.back().second += run.count;
    } else {
      found.emplace_back(run.block, run.count);
    }
  }
  REQUIRE(found.size() == 3);
  for (size_t index = 0; index < 3; ++index) CHECK(found[index] == ranges[index]);
  CHECK(read(map, 10).birth == 3);
  // What is zero since later stays so.
  REQUIRE(map.prepare_zero(100'000, 50'000).empty());
  map.zero(100'000, 50'000, 6, replaced, true);
  CHECK(read(map, 120'000).birth == 7);
}

TEST_CASE("a cold range asks for many pages at once") {
  PageCache cache;
  PageStore store;
  ExtentMap map(cache, 256 * 40);
  for (uint64_t leaf = 0; leaf < 40; ++leaf) write(map, leaf * 256, block_entry(leaf, 2));
  PageCache cold;
  ExtentMap reloaded = reload(store, cache, map, cold);
  int rounds = 0;
  store.with_pages(cold, [&] {
    ++rounds;
    std::vector<MapRun> runs;
    return reloaded.lookup(0, 256 * 40, runs);
  });
  CHECK(store.reads == 41);
  CHECK(rounds == 3);  // the root, all leaves, done
}

TEST_CASE("trees that name the same page share one node") {
  PageCache cache;
  PageStore store;
  ExtentMap map(cache, 1000);
  write(map, 0, block_entry(1, 2));
  PageCache cold;
  ExtentMap first = reload(store, cache, map, cold);
  ExtentMap second(cold, first.blocks(), first.height(), first.root().entry);
  std::vector<MapRun> runs;
  store.with_pages(cold, [&] { return first.lookup(0, 10, runs); });
  CHECK(second.lookup(0, 10, runs).empty());
  CHECK(store.reads == 2);
  CHECK(cold.node_count() == 2);

  write(first, 0, block_entry(9, 9));
  CHECK(read(second, 0) == block_entry(1, 2));
  CHECK(read(first, 0) == block_entry(9, 9));
}

TEST_CASE("a page whose bytes do not fit its entry is refused") {
  PageCache cache(2);
  std::vector<uint8_t> bytes(cache.page_bytes(), 1);
  const MissingPage page{{1, 4, 2, crc32c(bytes)}, 0};
  bytes[5] ^= 1;
  CHECK_FALSE(cache.install(page, bytes.data()));
  bytes[5] ^= 1;
  CHECK(cache.install(page, bytes.data()));
}

TEST_CASE("a page of an earlier life of its slot is not taken for the present one") {
  PageCache cache(2);
  std::vector<uint8_t> old_bytes(cache.page_bytes(), 1);
  std::vector<uint8_t> new_bytes(cache.page_bytes(), 2);
  const Entry old_entry{1, 4, 2, crc32c(old_bytes)};
  const Entry new_entry{1, 4, 3, crc32c(new_bytes)};
  REQUIRE(cache.install({old_entry, 0}, old_bytes.data()));
  ExtentMap map(cache, 4, 1, new_entry);
  std::vector<MapRun> runs;
  CHECK(map.lookup(0, 4, runs) == MissingPages{{new_entry, 0}});
  REQUIRE(cache.install({new_entry, 0}, new_bytes.data()));
  CHECK(map.lookup(0, 4, runs).empty());
  CHECK(runs.front().entry.segment == 0x02020202);
}

TEST_CASE("pages that nobody claims do not pile up") {
  PageCache cache(2);
  for (uint32_t slot = 0; slot < 3 * PageCache::kUnclaimedMax; ++slot) {
    std::vector<uint8_t> bytes(cache.page_bytes());
    bytes[0] = 1;
    REQUIRE(cache.install({{slot + 1, 0, 1, crc32c(bytes)}, 0}, bytes.data()));
  }
  cache.reap(SIZE_MAX);
  CHECK(cache.node_count() <= PageCache::kUnclaimedMax);
}

TEST_CASE("eviction keeps dirty leaves and those used lately, and what it drops is read back") {
  PageCache cache;
  PageStore store;
  ExtentMap map(cache, 256 * 8);
  for (uint64_t leaf = 0; leaf < 8; ++leaf) write(map, leaf * 256, block_entry(leaf, 2));
  {
    CheckpointWalk walk(cache, {map.tree()});
    while (!walk.step(store, 1'000'000).done) continue;
  }
  CHECK(cache.dirty_count() == 0);
  write(map, 256 + 1, block_entry(99, 3));  // leaf 1 is dirty
  uint32_t sweep = 1;
  const auto evict = [&] {
    size_t budget = 1000;
    uint64_t position = 0;
    map.evict(sweep++, position, budget);
    CHECK(position == UINT64_MAX);
    cache.reap(SIZE_MAX);
  };
  evict();  // all were used since they were made
  CHECK(cache.node_count() == 9);
  CHECK(read(map, 512) == block_entry(2, 2));
  evict();
  CHECK(cache.node_count() == 3);  // root, the dirty leaf, leaf 2
  for (uint64_t leaf = 0; leaf < 8; ++leaf) {
    std::vector<MapRun> runs;
    store.with_pages(cache, [&] { return map.lookup(leaf * 256, 1, runs); });
    CHECK(runs.at(0).entry == block_entry(leaf, 2));
  }
  CHECK(read(map, 257) == block_entry(99, 3));
  CHECK(store.reads == 6);
}

TEST_CASE("a checkpoint writes dirty pages only, each once, however many versions share them") {
  PageCache cache;
  PageStore store;
  Lineage lineage(cache, [](const Entry&) {});
  const NodeId head = lineage.create({}, 256 * 256, 1);
  for (uint64_t leaf = 0; leaf < 64; ++leaf) {
    REQUIRE(lineage.prepare_write(head, leaf * 256, 1).empty());
    const Entry entry = block_entry(leaf, 2);
    lineage.write(head, leaf * 256, std::span(&entry, 1));
  }
  for (int count = 0; count < 1000; ++count) lineage.branch(lineage.branch_point(head, 2, {}), {});
  write_checkpoint(store, cache, lineage);
  CHECK(store.writes == 65);
  write_checkpoint(store, cache, lineage);
  CHECK(store.writes == 65);

  // The walk's work is that of one tree and a look at each root.
  store.begin_checkpoint();
  CheckpointWalk walk(cache, lineage.freeze().roots());
  CHECK(walk.step(store, 64 + 256 + 1002 + 10).done);

  const Entry entry = block_entry(1000, 3);
  REQUIRE(lineage.prepare_write(head, 0, 1).empty());
  lineage.write(head, 0, std::span(&entry, 1));
  write_checkpoint(store, cache, lineage);
  CHECK(store.writes == 67);  // the leaf and the root above it
}

TEST_CASE("a checkpoint after a start reads interior pages, and the next one finds them in memory") {
  PageCache cache(2);
  PageStore store;
  Lineage lineage(cache, [](const Entry&) {});
  const NodeId head = lineage.create({}, 256, 1);
  for (uint64_t block = 0; block < 256; ++block) {
    const Entry entry = block_entry(block, 2);
    lineage.write(head, block, std::span(&entry, 1));
  }
  lineage.snapshot(head, 2, {}, "s");
  lineage.zero(head, 0, 64, 3);  // a tree in the dead list
  FrozenLineage frozen = write_checkpoint(store, cache, lineage);
  for (FrozenNode& node : frozen.nodes) node = from_checkpoint(to_checkpoint(node));

  PageCache cold(2);
  Lineage restored(cold, [](const Entry&) {});
  REQUIRE(restored.restore(frozen) == nullptr);
  const size_t writes = store.writes;
  write_checkpoint(store, cold, restored);
  CHECK(store.reads == 1 + 1 + 4 + 16);  // two roots, what they share, no leaf
  write_checkpoint(store, cold, restored);
  CHECK(store.reads == 1 + 1 + 4 + 16);
  CHECK(store.writes == writes);
}

TEST_CASE("pages that name nothing are not stored") {
  PageCache cache(2);
  PageStore store;
  ExtentMap map(cache, 64);
  write(map, 5, block_entry(1, 2));
  write(map, 5, {.birth = 3});
  CheckpointWalk walk(cache, {map.tree()});
  while (!walk.step(store, 100).done) continue;
  CHECK(store.writes == 0);
  CHECK(map.root().place() == Entry{.birth = 3});
}

TEST_CASE("dropping a large tree is done in steps") {
  PageCache cache;
  {
    ExtentMap map(cache, 256 * 1000);
    for (uint64_t leaf = 0; leaf < 1000; ++leaf) write(map, leaf * 256, block_entry(leaf, 2));
  }
  CHECK(cache.node_count() == 1005);
  CHECK_FALSE(cache.reap(100));
  CHECK(cache.node_count() == 905);
  CHECK(cache.reap(1000));
  CHECK(cache.node_count() == 0);
}

TEST_CASE("a volume without blocks, and the largest one, have a map") {
  PageCache cache;
  ExtentMap none(cache, 0);
  Replaced replaced;
  none.resize(kBlocksMax, 2, replaced);
  CHECK(none.height() == 7);
  write(none, kBlocksMax - 1, block_entry(1, 3));
  CHECK(read(none, kBlocksMax - 1) == block_entry(1, 3));
  CHECK(read(none, 0) == Entry{});
  REQUIRE(none.prepare_resize(0).empty());
  none.resize(0, 4, replaced);
  CHECK(replaced.subtrees.size() == 1);
  CHECK(none.blocks() == 0);
}

}  // namespace cloudfs::test
