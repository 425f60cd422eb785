#include "core/format/run.h"

#include <doctest/doctest.h>

#include <string>

#include "encode_again.h"
#include "samples.h"

using namespace cloudfs;
using samples::id;

namespace {

/// Gives the changed bytes a valid checksum again: what a broken program, not a broken disk, would write.
std::vector<uint8_t> resealed(std::vector<uint8_t> run) {
  store(run.data() + 124, crc32c_without(run, 124));
  return run;
}

/// `run` with `value` at `offset`, resealed.
template <class T>
std::vector<uint8_t> with(std::vector<uint8_t> run, size_t offset, T value) {
  store(run.data() + offset, value);
  return resealed(std::move(run));
}

void check_refused(const std::vector<uint8_t>& bytes, ErrorCode code = ErrorCode::record_corrupt) {
  const Result<RunView> run = decode_run(bytes);
  REQUIRE_FALSE(run.ok());
  CHECK(code_name(run.error().code) == code_name(code));
}

/// A run of one record, a write of `extents`, sums as needed.
std::vector<uint8_t> run_of(std::span<const Extent> extents) {
  size_t data_blocks = 0;
  for (const Extent& extent : extents)
    if (extent.kind == ExtentKind::data) data_blocks += extent.count;
  std::vector<uint8_t> out(4096);
  RunBuilder run(out, samples::run_header(RunType::records, 7));
  run.add_extents(id<Token>(1), 0, extents, std::vector<BlockSum>(data_blocks));
  return samples::to_vector(run.finish());
}

}  // namespace

TEST_CASE("a write run is read back record by record, its zero block named and not stored") {
  const samples::BuiltRun built = samples::write_run();
  const Result<RunView> run = decode_run(built.bytes);
  REQUIRE(run.ok());
  CHECK(run->header() == built.header);
  CHECK(run->header().body_bytes == 4 * kBlockBytes);
  CHECK(run->last_lsn() == 9);
  std::vector<RecordView> records;
  for (const RecordView record : run->records()) records.push_back(record);
  REQUIRE(records.size() == 3);

  CHECK(records[0].lsn() == 7);
  CHECK(records[0].request_sequence() == 41);
  CHECK(records[0].parent() == id<Token>(0xc0));
  CHECK(records[0].extent_count() == 1);
  CHECK(records[0].extent(0) == Extent{100, 2, ExtentKind::data});
  CHECK(records[0].data_blocks() == 2);
  CHECK(records[0].body_offset() == 0);
  CHECK(records[0].block_sum(1) == sum_block(built.body.data() + kBlockBytes));
  CHECK(records[0].block_crc(1) == block_crc(built.body.data() + kBlockBytes));

  CHECK(records[1].extent(0) == Extent{0, 16, ExtentKind::trimmed});
  CHECK(records[1].extent(1) == Extent{20, 4, ExtentKind::zeroed});
  CHECK(records[1].data_blocks() == 0);

  CHECK(records[2].lsn() == 9);
  CHECK(records[2].extent_count() == 3);
  CHECK(records[2].extent(1) == Extent{kBlockCountMax - 2, 1, ExtentKind::zeroed});
  CHECK(records[2].body_offset() == 2 * kBlockBytes);
  CHECK(verify_body_crcs(*run, built.body).ok());
  CHECK(verify_body_digests(*run, built.body).ok());
}

TEST_CASE("runs of each type are what is built again from what they hold") {
  for (const samples::BuiltRun& built :
       {samples::write_run(), samples::control_run(), samples::moved_run(), samples::local_run()}) {
    const Result<RunView> run = decode_run(built.bytes);
    REQUIRE(run.ok());
    CHECK(run->header() == built.header);
    CHECK(encode_again::run(*run) == built.bytes);
  }
}

TEST_CASE("local items and moved blocks are read back") {
  const samples::BuiltRun local = samples::local_run();
  std::vector<LocalKind> kinds;
  std::vector<uint8_t> attachment;
  decode_run(local.bytes)->each_local_item([&](const LocalItem& item) {
    kinds.push_back(item.kind);
    if (item.kind == LocalKind::attachment) attachment.assign(item.bytes.begin(), item.bytes.end());
  });
  CHECK(kinds.size() == 8);
  CHECK(attachment == std::vector<uint8_t>{1, 2, 3, 4, 5});

  const samples::BuiltRun moved = samples::moved_run();
  const Result<RunView> run = decode_run(moved.bytes);
  REQUIRE(run.ok());
  CHECK(run->moved_block(0) == MovedBlock{5, 6, 3, 12, sum_block(moved.body.data())});
  CHECK(run->moved_block(1).birth == kLsnMax);
  CHECK(verify_body_digests(*run, moved.body).ok());
}

TEST_CASE("every flipped bit of a run is noticed") {
  for (const samples::BuiltRun& built : {samples::write_run(), samples::moved_run(), samples::local_run()}) {
    std::vector<uint8_t> bytes = built.bytes;
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      CHECK_FALSE(decode_run(bytes).ok());
      bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    }
  }
}

TEST_CASE("a flipped byte in a body is found, and the block it is in named") {
  const samples::BuiltRun built = samples::write_run();
  const Result<RunView> run = decode_run(built.bytes);
  REQUIRE(run.ok());
  for (size_t offset = 0; offset < built.body.size(); offset += 509) {
    std::vector<uint8_t> body = built.body;
    body[offset] ^= 0x40;
    for (const Result<void>& verified : {verify_body_crcs(*run, body), verify_body_digests(*run, body)}) {
      REQUIRE_FALSE(verified.ok());
      CHECK(verified.error().code == ErrorCode::block_corrupt);
      CHECK(verified.error().offset == offset / kBlockBytes * kBlockBytes);
    }
  }
  CHECK_FALSE(verify_body_crcs(*run, ByteSpan(built.body).first(built.body.size() - 1)).ok());
}

TEST_CASE("a run cut off anywhere is refused, and nothing behind it is looked at") {
  const samples::BuiltRun built = samples::control_run();
  for (size_t size = 0; size < built.bytes.size(); ++size) {
    // A copy of exactly this size: AddressSanitizer sees a read behind it.
    const std::vector<uint8_t> cut(built.bytes.begin(),
                                   built.bytes.begin() + static_cast<std::ptrdiff_t>(size));
    check_refused(cut);
  }
  std::vector<uint8_t> longer = built.bytes;
  longer.resize(longer.size() + 100, 0xee);
  CHECK(decode_run(longer).ok());
}

TEST_CASE("an intact run of a later version is told from a damaged one") {
  std::vector<uint8_t> bytes = samples::write_run().bytes;
  check_refused(with(bytes, 1, uint8_t{2}), ErrorCode::record_version);
  check_refused(with(bytes, 1, uint8_t{0}));
  bytes[1] = 2;
  check_refused(bytes);
}

TEST_CASE("fields of a run's header outside their range are refused though the checksum holds") {
  const std::vector<uint8_t> bytes = samples::write_run().bytes;
  check_refused(with(bytes, 0, uint8_t{0}));
  check_refused(with(bytes, 0, uint8_t{4}));
  check_refused(with(bytes, 2, uint16_t{1}));
  check_refused(with(bytes, 48, kLsnMax + 1));
  check_refused(with(bytes, 56, uint64_t{0}));
  check_refused(with(bytes, 56, kLsnMax - 1));  // the third lsn would be 2^48
  CHECK(decode_run(with(bytes, 56, kLsnMax - 2)).ok());
  check_refused(with(bytes, 64, uint32_t{0}));
  check_refused(with(bytes, 64, uint32_t{2}));
  check_refused(with(bytes, 64, uint32_t{4}));
  check_refused(with(bytes, 64, uint32_t{0xffffffff}));
  check_refused(with(bytes, 68, uint32_t{0}));
  check_refused(with(bytes, 68, uint32_t{0xfffff000}));
  check_refused(with(bytes, 72, kLsnMax + 1));
  check_refused(with(bytes, 116, uint64_t{1} << 63));

  const std::vector<uint8_t> moved = samples::moved_run().bytes;
  check_refused(with(moved, 56, uint64_t{1}));
  check_refused(with(moved, 96, uint8_t{1}));
  check_refused(with(moved, 64, uint32_t{1}));
  check_refused(with(moved, 68, uint32_t{kBlockBytes}));
}

TEST_CASE("lengths that lie are refused before they are followed") {
  const std::vector<uint8_t> bytes = samples::write_run().bytes;
  for (const uint32_t length : {0u, 4u, 124u, 127u, 129u, 0x80000000u, 0xfffffffcu, 0xffffffffu}) {
    std::vector<uint8_t> lying = bytes;
    store(lying.data() + 4, length);
    check_refused(lying);
    CHECK_FALSE(peek_run(lying).ok());
  }
  for (const uint32_t length : {0u, 32u, 35u, 40u, 0xfffffffcu, 0xffffffffu})
    check_refused(with(bytes, kRunHeaderBytes + 4, length));
  for (const uint16_t count : {uint16_t{0}, uint16_t{2}, uint16_t{0xffff}})
    check_refused(with(bytes, kRunHeaderBytes + 2, count));
  CHECK(peek_run(ByteSpan(bytes).first(kRunHeaderBytes)).ok());
  CHECK_FALSE(peek_run(ByteSpan(bytes).first(kRunHeaderBytes - 1)).ok());
}

TEST_CASE("extents are refused unless they ascend, hold something and lie inside the largest volume") {
  const auto extents_ok = [](std::vector<Extent> extents) { return decode_run(run_of(extents)).ok(); };
  CHECK(extents_ok({{0, 1, ExtentKind::data}}));
  CHECK(extents_ok({{0, 1, ExtentKind::data}, {1, 1, ExtentKind::data}}));
  CHECK(extents_ok({{kBlockCountMax - 1, 1, ExtentKind::trimmed}}));
  CHECK(extents_ok({{0, 0xffffffff, ExtentKind::zeroed}}));
  CHECK_FALSE(extents_ok({{0, 0, ExtentKind::trimmed}}));
  CHECK_FALSE(extents_ok({{kBlockCountMax, 1, ExtentKind::trimmed}}));
  CHECK_FALSE(extents_ok({{kBlockCountMax - 1, 2, ExtentKind::trimmed}}));
  CHECK_FALSE(extents_ok({{4, 4, ExtentKind::trimmed}, {7, 1, ExtentKind::trimmed}}));
  CHECK_FALSE(extents_ok({{4, 4, ExtentKind::trimmed}, {0, 1, ExtentKind::trimmed}}));
  CHECK_FALSE(extents_ok({{0, 1, static_cast<ExtentKind>(0)}}));
  CHECK_FALSE(extents_ok({{0, 1, static_cast<ExtentKind>(4)}}));
}

TEST_CASE("a data extent that promises more blocks than the record holds is refused") {
  const Extent one[] = {{0, 1, ExtentKind::data}};
  std::vector<uint8_t> bytes = run_of(one);
  check_refused(with(bytes, kRunHeaderBytes + kRecordHeaderBytes + 8, uint32_t{2}));
  check_refused(with(bytes, kRunHeaderBytes + kRecordHeaderBytes + 8, uint32_t{0xffffffff}));
}

TEST_CASE("a record's kind, flags and parent are refused where they do not belong") {
  const std::vector<uint8_t> writes = samples::write_run().bytes;
  check_refused(with(writes, kRunHeaderBytes, uint8_t{0}));
  check_refused(with(writes, kRunHeaderBytes, uint8_t{10}));
  check_refused(with(writes, kRunHeaderBytes + 1, uint8_t{1}));
  std::vector<uint8_t> orphan = writes;
  for (size_t offset = 0; offset < kIdBytes; offset += 4)
    orphan = with(orphan, kRunHeaderBytes + 16 + offset, uint32_t{0});
  check_refused(orphan);

  const std::vector<uint8_t> control = samples::control_run().bytes;
  check_refused(with(control, kRunHeaderBytes + 16, uint8_t{1}));  // a create has no parent
  check_refused(with(control, kRunHeaderBytes + 2, uint16_t{1}));
  check_refused(with(control, 56, uint64_t{2}));  // a create without parent volume is lsn 1
}

TEST_CASE("a view change may be marked restart or force, stands first in its run, and is checked inside") {
  const auto run_with = [](uint8_t flags, const std::vector<uint8_t>& payload, bool second) {
    std::vector<uint8_t> out(4096);
    RunBuilder run(out, samples::run_header(RunType::records, 7));
    if (second) run.add_control(RecordKind::remove, 0, id<Token>(1), 0, {});
    run.add_control(RecordKind::view, flags, id<Token>(1), 0, payload);
    return samples::to_vector(run.finish());
  };
  const std::vector<uint8_t> view = encode_view(samples::view_payload());
  for (uint8_t flags = 0; flags <= 3; ++flags) CHECK(decode_run(run_with(flags, view, false)).ok());
  check_refused(run_with(4, view, false));
  check_refused(run_with(0, view, true));
  check_refused(run_with(0, std::vector<uint8_t>(view.begin(), view.end() - 4), false));
}

TEST_CASE("moved blocks and local items outside their range are refused") {
  const std::vector<uint8_t> moved = samples::moved_run().bytes;
  check_refused(with(moved, kRunHeaderBytes, kBlockCountMax));
  check_refused(with(moved, kRunHeaderBytes + 8, uint64_t{0}));
  check_refused(with(moved, kRunHeaderBytes + 8, kLsnMax + 1));
  check_refused(with(moved, kRunHeaderBytes + 16, uint32_t{0}));
  check_refused(with(moved, kRunHeaderBytes + 22, uint16_t{1}));

  const std::vector<uint8_t> local = samples::local_run().bytes;
  check_refused(with(local, kRunHeaderBytes, uint16_t{0}));
  check_refused(with(local, kRunHeaderBytes, uint16_t{9}));
  check_refused(with(local, kRunHeaderBytes + 2, uint16_t{1}));
  check_refused(with(local, kRunHeaderBytes + 4, uint32_t{31}));
  check_refused(with(local, kRunHeaderBytes + 4, uint32_t{0xffffffff}));
  check_refused(with(local, local.size() - 1, uint8_t{1}));  // padding of the last item
  check_refused(with(local, 68, uint32_t{kBlockBytes}));
}

TEST_CASE("each kind of local item has its length") {
  const auto valid = [](LocalKind kind, size_t length, uint8_t fill) {
    return local_item_valid(kind, std::vector<uint8_t>(length, fill));
  };
  CHECK(valid(LocalKind::stamp, 32, 0xff));
  CHECK_FALSE(valid(LocalKind::stamp, 31, 0));
  CHECK(valid(LocalKind::promise, 28, 0));
  CHECK_FALSE(valid(LocalKind::promise, 28, 0xff));
  CHECK_FALSE(valid(LocalKind::promise, 20, 0));
  CHECK_FALSE(valid(LocalKind::commit, 8, 0xff));
  CHECK_FALSE(valid(LocalKind::commit, 7, 0));
  CHECK_FALSE(valid(LocalKind::boot, 15, 0));
  CHECK(valid(LocalKind::stopped, 1, 1));
  CHECK_FALSE(valid(LocalKind::stopped, 1, 2));
  CHECK_FALSE(valid(LocalKind::recovering, 0, 0));
  CHECK_FALSE(valid(LocalKind::dropped, 1, 0));
  CHECK(valid(LocalKind::attachment, 0, 0));
  CHECK(valid(LocalKind::attachment, 1000, 7));
  CHECK_FALSE(valid(LocalKind{}, 0, 0));
}

TEST_CASE(
    "a write of any pattern of zero blocks fits the room that is asked for it, and reads back as it was") {
  constexpr size_t kBlocks = 6;
  for (unsigned pattern = 0; pattern < 1u << kBlocks; ++pattern) {
    std::vector<uint8_t> bytes = samples::blocks(kBlocks, 1);
    for (size_t block = 0; block < kBlocks; ++block)
      if ((pattern >> block & 1) != 0)
        std::fill_n(bytes.data() + block * kBlockBytes, kBlockBytes, uint8_t{0});
    std::vector<uint8_t> out(kRunHeaderBytes + write_record_bytes_max(kBlocks));
    RunBuilder builder(out, samples::run_header(RunType::records, 7));
    builder.add_write(id<Token>(1), 5, 50, bytes);
    const Result<RunView> run = decode_run(builder.finish());
    REQUIRE(run.ok());

    // The body as its writer gathers it, and the volume as its reader sees it.
    const RecordView record = *run->records().begin();
    std::vector<uint8_t> seen(bytes.size(), 0);
    size_t covered = 0;
    size_t stored = 0;
    for (size_t index = 0; index < record.extent_count(); ++index) {
      const Extent extent = record.extent(index);
      const size_t offset = (extent.block - 50) * kBlockBytes;
      CHECK(offset == covered);
      covered += extent.count * size_t{kBlockBytes};
      if (extent.kind != ExtentKind::data) continue;
      std::memcpy(seen.data() + offset, bytes.data() + offset, extent.count * size_t{kBlockBytes});
      for (size_t block = 0; block < extent.count; ++block)
        CHECK(record.block_sum(stored++) == sum_block(bytes.data() + offset + block * kBlockBytes));
    }
    CHECK(covered == bytes.size());
    CHECK(stored == record.data_blocks());
    CHECK(seen == bytes);
  }
}
