#include "core/format/superblock.h"

#include <doctest/doctest.h>

#include "core/base/hex.h"
#include "core/format/segment_header.h"
#include "samples.h"

using namespace cloudfs;

namespace {

std::vector<uint8_t> encoded(const Superblock& superblock) {
  std::vector<uint8_t> bytes(kSuperblockBytes, 0xee);
  encode_superblock(superblock, bytes);
  return bytes;
}

std::vector<uint8_t> encoded(const SegmentHeader& header) {
  std::vector<uint8_t> bytes(kSegmentHeaderBytes, 0xee);
  encode_segment_header(header, bytes);
  return bytes;
}

/// `page` with `value` at `offset` and a valid checksum.
template <class T>
std::vector<uint8_t> with(std::vector<uint8_t> page, size_t offset, T value) {
  store(page.data() + offset, value);
  store(page.data() + 4092, crc32c(ByteSpan(page).first(4092)));
  return page;
}

ErrorCode superblock_error(const std::vector<uint8_t>& bytes) {
  const Result<Superblock> superblock = decode_superblock(bytes);
  REQUIRE_FALSE(superblock.ok());
  return superblock.error().code;
}

template <class Change>
bool superblock_refused_after(Change change) {
  Superblock superblock = samples::superblock();
  change(superblock);
  return !decode_superblock(encoded(superblock)).ok();
}

ErrorCode segment_error(const std::vector<uint8_t>& bytes) {
  const Result<SegmentHeader> header = decode_segment_header(bytes);
  REQUIRE_FALSE(header.ok());
  return header.error().code;
}

}  // namespace

TEST_CASE("a superblock is read back as it was, before and after the first checkpoint") {
  Superblock superblock = samples::superblock();
  CHECK(decode_superblock(encoded(superblock)).value() == superblock);
  superblock.checkpoint = {};
  superblock.checkpoint_bytes = 0;
  superblock.checkpoint_physical = 0;
  superblock.checkpoint_height = 0;
  CHECK(decode_superblock(encoded(superblock)).value() == superblock);
}

TEST_CASE("every flipped bit of a superblock and a segment header is noticed") {
  std::vector<uint8_t> superblock = encoded(samples::superblock());
  std::vector<uint8_t> header = encoded(samples::segment_header());
  for (size_t bit = 0; bit < 4096 * 8; ++bit) {
    const auto mask = static_cast<uint8_t>(1 << bit % 8);
    superblock[bit / 8] ^= mask;
    header[bit / 8] ^= mask;
    CHECK(superblock_error(superblock) == ErrorCode::superblock_corrupt);
    CHECK(segment_error(header) == ErrorCode::segment_corrupt);
    superblock[bit / 8] ^= mask;
    header[bit / 8] ^= mask;
  }
}

TEST_CASE("a superblock and a segment header cut off anywhere are refused") {
  const std::vector<uint8_t> superblock = encoded(samples::superblock());
  const std::vector<uint8_t> header = encoded(samples::segment_header());
  for (std::ptrdiff_t size = 0; size < 4096; size += size < 130 ? 1 : 89) {
    CHECK(superblock_error({superblock.begin(), superblock.begin() + size}) == ErrorCode::superblock_corrupt);
    CHECK(segment_error({header.begin(), header.begin() + size}) == ErrorCode::segment_corrupt);
  }
}

TEST_CASE("an intact store of a later version is told from a damaged one") {
  const std::vector<uint8_t> bytes = encoded(samples::superblock());
  CHECK(superblock_error(with(bytes, 8, uint32_t{2})) == ErrorCode::store_version);
  CHECK(superblock_error(with(bytes, 8, uint32_t{0})) == ErrorCode::superblock_corrupt);
  CHECK(superblock_error(with(bytes, 72, uint32_t{0x1e})) == ErrorCode::store_version);  // blake3
  std::vector<uint8_t> torn = with(bytes, 8, uint32_t{2});
  torn[4000] ^= 1;
  CHECK(superblock_error(torn) == ErrorCode::superblock_corrupt);
  const std::vector<uint8_t> header = encoded(samples::segment_header());
  CHECK(segment_error(with(header, 8, uint32_t{2})) == ErrorCode::store_version);
  CHECK(segment_error(with(header, 8, uint32_t{0})) == ErrorCode::segment_corrupt);
}

TEST_CASE("a superblock whose fields do not fit each other is refused though its checksum holds") {
  CHECK(superblock_refused_after([](Superblock& s) { s.segment_log2 = 15; }));
  CHECK(superblock_refused_after([](Superblock& s) { s.segment_log2 = 27; }));
  CHECK(superblock_refused_after([](Superblock& s) { s.segment_log2 = 64; }));
  CHECK(superblock_refused_after([](Superblock& s) { s.segment_limit = 0; }));
  CHECK(superblock_refused_after([](Superblock& s) { s.starts = 0; }));
  CHECK(superblock_refused_after([](Superblock& s) { s.checkpoint.segment = 0; }));
  CHECK(superblock_refused_after([](Superblock& s) { s.checkpoint = {}; }));
  CHECK(superblock_refused_after([](Superblock& s) { s.checkpoint.slot = 0; }));
  CHECK(superblock_refused_after([](Superblock& s) { s.checkpoint.slot = 9; }));
  CHECK(superblock_refused_after(
      [](Superblock& s) { s.checkpoint.slot = 1024; }));  // behind a segment of 1 MiB
  CHECK_FALSE(superblock_refused_after([](Superblock& s) { s.checkpoint.slot = 1020; }));
  CHECK(superblock_refused_after([](Superblock& s) { s.checkpoint_physical = 512; }));
  CHECK(superblock_refused_after([](Superblock& s) { s.checkpoint_bytes = 0; }));
  CHECK(superblock_refused_after([](Superblock& s) { s.checkpoint_bytes = ~uint64_t{0}; }));
  CHECK(superblock_refused_after([](Superblock& s) { s.checkpoint_bytes = 4096; }));  // height 0
  CHECK(superblock_refused_after([](Superblock& s) { s.checkpoint_height = 2; }));
  for (size_t offset = 120; offset < 4092; ++offset) {
    if (offset > 130 && offset < 4080 && offset % 211 != 0) continue;
    CHECK(superblock_error(with(encoded(samples::superblock()), offset, uint8_t{1})) ==
          ErrorCode::superblock_corrupt);
  }
}

TEST_CASE("a checkpoint's tree is as high as its pages need") {
  CHECK(checkpoint_tree_height(1) == 0);
  CHECK(checkpoint_tree_height(4096) == 0);
  CHECK(checkpoint_tree_height(4097) == 1);
  CHECK(checkpoint_tree_height(256 * 4096) == 1);
  CHECK(checkpoint_tree_height(256 * 4096 + 1) == 2);
  CHECK(checkpoint_tree_height(uint64_t{256} * 256 * 4096) == 2);
  CHECK(checkpoint_tree_height(~uint64_t{0}) == 7);
}

TEST_CASE("a segment header is read back as it was, and refused when its fields do not fit") {
  const SegmentHeader header = samples::segment_header();
  const std::vector<uint8_t> bytes = encoded(header);
  CHECK(decode_segment_header(bytes).value() == header);
  CHECK(segment_error(with(bytes, 12, uint32_t{0})) == ErrorCode::segment_corrupt);
  CHECK(segment_error(with(bytes, 48, uint64_t{0})) == ErrorCode::segment_corrupt);
  CHECK(segment_error(with(bytes, 56, uint8_t{0})) == ErrorCode::segment_corrupt);
  CHECK(segment_error(with(bytes, 56, uint8_t{3})) == ErrorCode::segment_corrupt);  // index, with a sequence
  CHECK(segment_error(with(bytes, 56, uint8_t{4})) == ErrorCode::segment_corrupt);
  CHECK(segment_error(with(bytes, 63, uint8_t{1})) == ErrorCode::segment_corrupt);
  CHECK(segment_error(with(bytes, 64, uint64_t{0})) == ErrorCode::segment_corrupt);
  CHECK(segment_error(with(bytes, 72, uint8_t{1})) == ErrorCode::segment_corrupt);
  CHECK(segment_error(with(bytes, 4091, uint8_t{1})) == ErrorCode::segment_corrupt);
  SegmentHeader index = header;
  index.kind = SegmentKind::index;
  index.first_sequence = 0;
  CHECK(decode_segment_header(encoded(index)).value() == index);
}

TEST_CASE(
    "an entry is 16 bytes with a 48-bit birth, and stores nothing but a birth where there is no segment") {
  const Entry entry{0x04030201, 0x0605, 0x0c0b0a090807, 0x100f0e0d};
  uint8_t bytes[kEntryBytes];
  store_entry(bytes, entry);
  CHECK(to_hex(ByteSpan(bytes)) == "0102030405060708090a0b0c0d0e0f10");
  CHECK(load_entry(bytes) == entry);
  CHECK(entry_valid(entry));
  CHECK(entry_valid({}));
  CHECK(entry_valid({0, 0, 7, 0}));
  CHECK_FALSE(entry_valid({0, 1, 7, 0}));
  CHECK_FALSE(entry_valid({0, 0, 7, 1}));
  CHECK_FALSE(entry_valid({1, 4, kLsnMax + 1, 1}));
}
