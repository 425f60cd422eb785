#include "core/index/lineage.h"

#include <doctest/doctest.h>

#include "page_store.h"

namespace cloudfs::test {

namespace {

Entry block_entry(uint32_t number, Lsn birth) {
  return {number, 0, birth, 7};
}

struct Versions {
  std::vector<uint32_t> freed;
  PageCache cache{2};
  PageStore store;
  Lineage lineage{cache, [this](const Entry& entry) { freed.push_back(entry.segment); }};

  void write(NodeId head, uint64_t block, uint32_t number, Lsn birth) {
    REQUIRE(lineage.prepare_write(head, block, 1).empty());
    const Entry entry = block_entry(number, birth);
    lineage.write(head, block, std::span(&entry, 1));
  }
  void zero(NodeId head, uint64_t first, uint64_t count, Lsn birth) {
    REQUIRE(lineage.prepare_zero(head, first, count).empty());
    lineage.zero(head, first, count, birth);
  }
  std::vector<uint32_t> settled() {
    settle(store, cache, lineage);
    std::sort(freed.begin(), freed.end());
    return freed;
  }
};

VolumeId volume(uint8_t number) {
  VolumeId id;
  id.bytes[0] = number;
  return id;
}

using Blocks = std::vector<uint32_t>;

}  // namespace

TEST_CASE("an overwritten block is freed at once if no snapshot has it, and with the snapshot if one has") {
  Versions versions;
  const NodeId head = versions.lineage.create(volume(1), 64, 1);
  versions.write(head, 0, 10, 2);
  versions.write(head, 0, 11, 3);
  CHECK(versions.freed == Blocks{10});
  const NodeId snapshot = versions.lineage.snapshot(head, 3, {}, "s");
  versions.write(head, 0, 12, 4);
  versions.write(head, 0, 13, 5);
  CHECK(versions.settled() == Blocks{10, 12});
  versions.lineage.delete_snapshot(snapshot);
  CHECK(versions.settled() == Blocks{10, 11, 12});
}

TEST_CASE("a trim under a snapshot frees nothing until the snapshot goes, and then reads what it dropped") {
  Versions versions;
  const NodeId head = versions.lineage.create(volume(1), 64, 1);
  for (uint32_t block = 0; block < 64; ++block) versions.write(head, block, 100 + block, 2);
  const NodeId snapshot = versions.lineage.snapshot(head, 2, {}, "s");
  versions.write(head, 5, 200, 3);
  versions.zero(head, 0, 64, 4);
  CHECK(versions.settled() == Blocks{200});
  versions.lineage.delete_snapshot(snapshot);
  CHECK(versions.settled().size() == 65);
}

TEST_CASE("a deleted volume's blocks stay as far as a branch reads them") {
  Versions versions;
  const NodeId head = versions.lineage.create(volume(1), 64, 1);
  versions.write(head, 0, 10, 2);
  versions.write(head, 1, 11, 2);
  const NodeId branch = versions.lineage.branch(versions.lineage.branch_point(head, 2, {}), volume(2));
  versions.write(head, 2, 12, 3);
  versions.write(branch, 1, 13, 3);
  CHECK(versions.settled().empty());
  versions.lineage.delete_volume(volume(1));
  CHECK(versions.settled() == Blocks{11, 12});
  CHECK(versions.lineage.nodes().size() == 1);
  versions.lineage.delete_volume(volume(2));
  CHECK(versions.settled() == Blocks{10, 11, 12, 13});
  CHECK(versions.lineage.nodes().empty());
}

TEST_CASE("two branches of an unchanged head leave from one hidden snapshot") {
  Versions versions;
  const NodeId head = versions.lineage.create(volume(1), 64, 1);
  const NodeId point = versions.lineage.branch_point(head, 1, {});
  versions.lineage.branch(point, volume(2));
  CHECK(versions.lineage.branch_point(head, 1, {}) == point);
  versions.write(head, 0, 10, 2);
  CHECK(versions.lineage.branch_point(head, 2, {}) != point);
}

TEST_CASE("a block that a snapshot has is not mended, the head's own is") {
  Versions versions;
  const NodeId head = versions.lineage.create(volume(1), 64, 1);
  versions.write(head, 0, 10, 2);
  versions.lineage.snapshot(head, 2, {}, "s");
  versions.write(head, 1, 11, 3);
  CHECK_FALSE(versions.lineage.mend(head, 0, block_entry(10, 2), block_entry(20, 2)));
  CHECK(versions.lineage.mend(head, 1, block_entry(11, 3), block_entry(21, 3)));
  CHECK_FALSE(versions.lineage.mend(head, 1, block_entry(11, 3), block_entry(22, 3)));
  versions.write(head, 1, 12, 4);
  CHECK(versions.freed == Blocks{21});
}

TEST_CASE("deleting a large volume is done in steps of about the budget given") {
  Versions versions;
  const NodeId head = versions.lineage.create(volume(1), 4096, 1);
  for (uint32_t block = 0; block < 4096; ++block) versions.write(head, block, 1 + block, 2);
  versions.lineage.delete_volume(volume(1));
  CHECK(versions.freed.empty());
  size_t steps = 0;
  for (bool idle = false; !idle; ++steps) {
    const size_t before = versions.freed.size();
    idle = versions.lineage.step(100).idle;
    CHECK(versions.freed.size() - before <= 104);
  }
  CHECK(steps > 40);
  CHECK(versions.freed.size() == 4096);
}

TEST_CASE("a page that cannot be read holds up its own version's work only") {
  Versions versions;
  const NodeId bad = versions.lineage.create(volume(1), 4, 1);
  const NodeId good = versions.lineage.create(volume(2), 4, 1);
  versions.write(bad, 0, 10, 2);
  versions.write(good, 0, 20, 2);
  FrozenLineage frozen = write_checkpoint(versions.store, versions.cache, versions.lineage);
  for (FrozenNode& node : frozen.nodes) node.root = {node.root.place(), {}};

  Blocks freed;
  PageCache cache(2);
  Lineage lineage(cache, [&](const Entry& entry) { freed.push_back(entry.segment); });
  REQUIRE(lineage.restore(frozen) == nullptr);
  lineage.delete_volume(volume(1));
  lineage.delete_volume(volume(2));
  for (int step = 0; step < 10; ++step)
    for (const MissingPage& page : lineage.step(100).missing)
      if (page.entry != frozen.nodes[0].root.entry) versions.store.install(cache, {page});
  CHECK(freed == Blocks{20});
}

TEST_CASE("a node table that makes no sense is refused") {
  const auto refused = [](std::vector<FrozenNode> nodes) {
    PageCache cache;
    Lineage lineage(cache, [](const Entry&) {});
    return lineage.restore({.next_node = 10, .nodes = std::move(nodes)}) != nullptr;
  };
  const auto node = [](NodeId id, NodeKind kind, NodeId parent, Lsn lsn) {
    FrozenNode made;
    made.id = id;
    made.kind = kind;
    made.parent = parent;
    made.lsn = lsn;
    made.blocks = 1000;
    made.height = 2;
    return made;
  };
  CHECK_FALSE(refused({node(1, NodeKind::named, 0, 5), node(2, NodeKind::head, 1, 5)}));
  CHECK(refused({node(10, NodeKind::head, 0, 5)}));
  CHECK(refused({node(0, NodeKind::head, 0, 5)}));
  CHECK(refused({node(1, NodeKind::head, 0, 5), node(1, NodeKind::head, 0, 5)}));
  CHECK(refused({node(1, NodeKind::head, 3, 5)}));
  CHECK(refused({node(1, NodeKind::head, 0, 5), node(2, NodeKind::head, 1, 5)}));
  CHECK(refused({node(1, NodeKind::named, 0, 5), node(2, NodeKind::head, 1, 4)}));
  CHECK(refused({node(1, NodeKind::named, 2, 5), node(2, NodeKind::named, 1, 5)}));
  CHECK(refused({node(1, static_cast<NodeKind>(3), 0, 5)}));
  FrozenNode low = node(1, NodeKind::head, 0, 5);
  low.height = 1;
  CHECK(refused({low}));
  FrozenNode high = node(1, NodeKind::head, 0, 5);
  high.height = 8;
  CHECK(refused({high}));
  FrozenNode tail = node(1, NodeKind::head, 0, 5);
  tail.dead_tail = {{1, 0, 4, 0}};
  CHECK(refused({tail}));
  FrozenNode tree = node(1, NodeKind::head, 0, 5);
  tree.dead_trees = {{{{1, 0, 4, 0}, {}}, 7}};
  CHECK(refused({tree}));
}

}  // namespace cloudfs::test
