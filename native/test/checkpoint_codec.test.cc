#include "core/format/checkpoint_codec.h"

#include <doctest/doctest.h>

#include "samples.h"

using namespace cloudfs;

namespace {

bool refused(const std::vector<uint8_t>& bytes) {
  const Result<Checkpoint> checkpoint = decode_checkpoint(bytes);
  if (!checkpoint.ok()) CHECK(checkpoint.error().code == ErrorCode::checkpoint_corrupt);
  return !checkpoint.ok();
}

/// The sample's bytes after a change to its values that the encoder does not mind.
template <class Change>
bool refused_after(Change change) {
  Checkpoint checkpoint = samples::checkpoint();
  change(checkpoint);
  return refused(encode_checkpoint(checkpoint));
}

/// Where section `type` starts.
size_t section_offset(const std::vector<uint8_t>& bytes, uint32_t type) {
  size_t offset = 0;
  while (load<uint32_t>(bytes.data() + offset) != type)
    offset += 16 + load<uint64_t>(bytes.data() + offset + 8);
  return offset;
}

}  // namespace

TEST_CASE("a checkpoint is read back as it was") {
  const Checkpoint checkpoint = samples::checkpoint();
  const std::vector<uint8_t> bytes = encode_checkpoint(checkpoint);
  const Result<Checkpoint> decoded = decode_checkpoint(bytes);
  REQUIRE(decoded.ok());
  CHECK(*decoded == checkpoint);
  CHECK(decode_checkpoint(encode_checkpoint(Checkpoint{})).value() == Checkpoint{});
}

TEST_CASE("zero bytes at the end of a bitmap are left out, and refused if they are not") {
  Checkpoint checkpoint = samples::checkpoint();
  const std::vector<uint8_t> bytes = encode_checkpoint(checkpoint);
  checkpoint.segments[0].live.resize(100);
  CHECK(encode_checkpoint(checkpoint) == bytes);

  std::vector<uint8_t> trailing = bytes;
  const size_t live = section_offset(bytes, 2) + 16 + 4 + 34;
  REQUIRE(trailing[live + 2] == 1);
  trailing[live + 2] = 0;
  CHECK(refused(trailing));
}

TEST_CASE("a checkpoint cut off anywhere, or with bytes behind it, is refused") {
  const std::vector<uint8_t> bytes = encode_checkpoint(samples::checkpoint());
  for (size_t size = 0; size < bytes.size(); ++size)
    CHECK(refused(std::vector<uint8_t>(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size))));
  std::vector<uint8_t> longer = bytes;
  longer.push_back(0);
  CHECK(refused(longer));
}

TEST_CASE("what is decoded from changed bytes is encoded to those bytes again") {
  // The blob has no checksum of its own (its pages have): a change is refused, or it is a value of its own.
  const std::vector<uint8_t> bytes = encode_checkpoint(samples::checkpoint());
  size_t read = 0;
  for (size_t offset = 0; offset < bytes.size(); ++offset) {
    for (const uint8_t change : {uint8_t{0x01}, uint8_t{0x80}, uint8_t{0xff}}) {
      std::vector<uint8_t> changed = bytes;
      changed[offset] ^= change;
      const Result<Checkpoint> decoded = decode_checkpoint(changed);
      if (!decoded.ok()) continue;
      CHECK(encode_checkpoint(*decoded) == changed);
      ++read;
    }
  }
  CHECK(read > 100);
}

TEST_CASE("counts and lengths that lie are refused before room for them is made") {
  const std::vector<uint8_t> bytes = encode_checkpoint(samples::checkpoint());
  for (uint32_t type = 1; type <= 6; ++type) {
    const size_t section = section_offset(bytes, type);
    for (const uint64_t length : {uint64_t{0}, uint64_t{1} << 32, ~uint64_t{0}}) {
      std::vector<uint8_t> lying = bytes;
      store(lying.data() + section + 8, length);
      CHECK(refused(lying));
    }
    if (type == 1) continue;
    for (const uint32_t count : {0u, 9u, 0xffffffffu}) {
      std::vector<uint8_t> lying = bytes;
      store(lying.data() + section + 16, count);
      CHECK(refused(lying));
    }
  }
}

TEST_CASE("sections stand once each, in order, without others") {
  const std::vector<uint8_t> bytes = encode_checkpoint(samples::checkpoint());
  std::vector<uint8_t> unknown = bytes;
  store(unknown.data() + section_offset(bytes, 6), uint32_t{7});
  CHECK(refused(unknown));
  std::vector<uint8_t> twice = bytes;
  store(twice.data() + section_offset(bytes, 5), uint32_t{4});
  CHECK(refused(twice));
  std::vector<uint8_t> reserved = bytes;
  reserved[section_offset(bytes, 3) + 4] = 1;
  CHECK(refused(reserved));
}

TEST_CASE("fields of a checkpoint outside their range are refused") {
  CHECK_FALSE(refused_after([](Checkpoint&) {}));
  CHECK(refused_after([](Checkpoint& c) { c.segments[0].kind = static_cast<SegmentKind>(4); }));
  CHECK(refused_after([](Checkpoint& c) { c.segments[0].kind = static_cast<SegmentKind>(0); }));
  CHECK(refused_after([](Checkpoint& c) { c.segments[0].state = static_cast<SegmentState>(0); }));
  CHECK(refused_after([](Checkpoint& c) { c.segments[0].state = static_cast<SegmentState>(4); }));
  CHECK(refused_after([](Checkpoint& c) { c.segments[0].ranges[0].last = kLsnMax + 1; }));
  CHECK(refused_after([](Checkpoint& c) { c.nodes[0].flags = kNodeHead | kNodeNamed; }));
  CHECK(refused_after([](Checkpoint& c) { c.nodes[0].flags = 16; }));
  CHECK_FALSE(refused_after([](Checkpoint& c) { c.nodes[0].flags = kNodeRemains; }));
  CHECK(refused_after([](Checkpoint& c) { c.nodes[0].height = kMapHeightMax + 1; }));
  CHECK(refused_after([](Checkpoint& c) { c.nodes[0].lsn = kLsnMax + 1; }));
  CHECK(refused_after([](Checkpoint& c) { c.nodes[0].size_bytes = 4095; }));
  CHECK(refused_after([](Checkpoint& c) { c.nodes[0].name = "\xff"; }));
  CHECK(refused_after([](Checkpoint& c) { c.nodes[1].dead_trees[0].level = kMapHeightMax; }));
  CHECK(refused_after([](Checkpoint& c) { c.volumes[0].mode = static_cast<Mode>(0); }));
  CHECK(refused_after([](Checkpoint& c) { c.volumes[0].flags = 2; }));
  CHECK(refused_after([](Checkpoint& c) { c.volumes[0].size_bytes = kVolumeBytesMax + 4096; }));
  CHECK(refused_after([](Checkpoint& c) { c.volumes[0].name = "\xc0\x80"; }));
  CHECK(refused_after([](Checkpoint& c) { c.volumes[0].epochs[0].epoch.counter = kLsnMax + 1; }));
  CHECK(refused_after([](Checkpoint& c) { c.forwards[0].entries[1].from_slot = 4; }));
  CHECK(refused_after([](Checkpoint& c) { c.locals[0].epoch.counter = kLsnMax + 1; }));
}

TEST_CASE("a volume has the link of the record it has applied, and of no other") {
  CHECK(refused_after([](Checkpoint& c) { c.volumes[0].applied_link.clear(); }));
  CHECK(refused_after([](Checkpoint& c) { c.volumes[0].applied_link.resize(kLinkBytesMin - 1); }));
  CHECK_FALSE(refused_after([](Checkpoint& c) { c.volumes[0].applied_link.resize(kLinkBytesMin + 12); }));
  CHECK(refused_after([](Checkpoint& c) { ++c.volumes[0].applied_lsn; }));
}

TEST_CASE("an empty entry and reserved bytes hold nothing") {
  const std::vector<uint8_t> bytes = encode_checkpoint(samples::checkpoint());
  const size_t volumes = section_offset(bytes, 4);
  const size_t end = section_offset(bytes, 5);
  const size_t second = end - 84 - kLinkBytesMin;
  REQUIRE(second > volumes);
  std::vector<uint8_t> reserved = bytes;
  reserved[second + 39] = 1;
  CHECK(refused(reserved));

  // The last node's root names no segment.
  const size_t trees = section_offset(bytes, 4) - 2 - 20 - 4;
  const size_t root = trees - 8 - 40 - 16;
  REQUIRE(load<uint32_t>(bytes.data() + root) == 0);
  std::vector<uint8_t> entry = bytes;
  entry[root + 4] = 4;
  CHECK(refused(entry));
  entry[root] = 1;
  CHECK_FALSE(refused(entry));
}
