#include "core/format/batch.h"

#include <doctest/doctest.h>

#include "encode_again.h"
#include "samples.h"

using namespace cloudfs;

namespace {

template <class T>
std::vector<uint8_t> with(std::vector<uint8_t> bytes, size_t offset, T value) {
  store(bytes.data() + offset, value);
  const auto header_bytes = load<uint32_t>(bytes.data() + 4);
  if (header_bytes >= kBatchHeaderBytes && header_bytes <= bytes.size())
    store(bytes.data() + 60, crc32c_without(ByteSpan(bytes).first(header_bytes), 60));
  return bytes;
}

void check_refused(const std::vector<uint8_t>& bytes, ErrorCode code = ErrorCode::batch_corrupt) {
  const Result<BatchView> batch = decode_batch(bytes);
  REQUIRE_FALSE(batch.ok());
  CHECK(code_name(batch.error().code) == code_name(code));
}

}  // namespace

TEST_CASE("a batch is read back with its runs where the directory says, and verified with its bodies") {
  for (const uint8_t align_log2 : {uint8_t{10}, uint8_t{11}, uint8_t{12}}) {
    const std::vector<samples::BuiltRun> runs = {samples::write_run(), samples::local_run(),
                                                 samples::write_run()};
    const samples::BuiltBatch built = samples::batch_of(runs, SegmentKind::user, align_log2, 3);
    const Result<BatchView> batch = decode_batch(built.bytes);
    REQUIRE(batch.ok());
    CHECK(batch->header == built.layout.header);
    CHECK(batch->header.batch_bytes == built.bytes.size());
    CHECK(batch->header.segment == 9);
    CHECK(batch->header.offset == 8192);
    CHECK(batch->header.seal == 3);
    REQUIRE(batch->runs.size() == 3);
    for (size_t index = 0; index < runs.size(); ++index) {
      const BatchRun& placed = batch->runs[index];
      CHECK(samples::to_vector(placed.run.bytes()) == runs[index].bytes);
      CHECK(placed.body_offset % (1u << align_log2) == 0);
      const ByteSpan body = ByteSpan(built.bytes).subspan(placed.body_offset, placed.run.header().body_bytes);
      if (placed.body_offset != 0) CHECK(samples::to_vector(body) == runs[index].body);
    }
    CHECK(batch->runs[1].body_offset == 0);
    CHECK(verify_batch_bodies(*batch, built.bytes).ok());
    CHECK(encode_again::batch(*batch) ==
          samples::to_vector(ByteSpan(built.bytes).first(batch->header.header_bytes)));
    CHECK(peek_batch(ByteSpan(built.bytes).first(kBatchHeaderBytes)).value() == built.layout.header);
  }
}

TEST_CASE("a directory kept for more runs than came leaves no trace") {
  const std::vector<samples::BuiltRun> runs = {samples::write_run(), samples::control_run()};
  const samples::BuiltBatch exact = samples::batch_of(runs, SegmentKind::user, 10, 2);
  const samples::BuiltBatch roomy = samples::batch_of(runs, SegmentKind::user, 10, 100);
  CHECK(exact.bytes == roomy.bytes);
}

TEST_CASE("the builder says where runs and bodies went, and how long the batch will be at most") {
  std::vector<uint8_t> out(16384);
  BatchBuilder batch(out, SegmentKind::user, 12, 4);
  const samples::BuiltRun run = samples::write_run();
  const uint64_t expected = batch.batch_bytes_with(run.bytes.size(), run.body.size());
  std::memcpy(batch.room().data(), run.bytes.data(), run.bytes.size());
  batch.add_run(run.header);
  const BatchLayout layout = batch.finish({1, 4096, 1}, 1, 0);
  CHECK(layout.header.batch_bytes == expected);
  CHECK(layout.bodies_offset == 4096);
  CHECK(batch.body_offset(0) == 4096);
  CHECK(samples::to_vector(batch.run_at(0)) == run.bytes);
}

TEST_CASE("every flipped bit of a batch is noticed") {
  for (const samples::BuiltBatch& built : {samples::user_batch(), samples::moved_batch()}) {
    std::vector<uint8_t> bytes = built.bytes;
    const size_t header_bytes = built.layout.header.header_bytes;
    for (size_t bit = 0; bit < bytes.size() * 8; bit += bit < header_bytes * 8 ? 1 : 8 * 61 + 1) {
      // Between header and bodies lies padding, which nobody reads.
      if (bit / 8 >= header_bytes && bit / 8 < built.layout.bodies_offset) continue;
      bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      const Result<BatchView> batch = decode_batch(bytes);
      CHECK_FALSE((batch.ok() && verify_batch_bodies(*batch, bytes).ok()));
      bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    }
  }
}

TEST_CASE("a batch cut off anywhere is not complete") {
  const samples::BuiltBatch built = samples::user_batch();
  for (size_t size = 0; size < built.bytes.size(); size += size < built.layout.header.header_bytes ? 1 : 97) {
    const std::vector<uint8_t> cut(built.bytes.begin(),
                                   built.bytes.begin() + static_cast<std::ptrdiff_t>(size));
    const Result<BatchView> batch = decode_batch(cut);
    if (size < built.layout.header.header_bytes) {
      CHECK_FALSE(batch.ok());
    } else {
      REQUIRE(batch.ok());
      CHECK_FALSE(verify_batch_bodies(*batch, cut).ok());
    }
  }
}

TEST_CASE("fields of a batch outside their range are refused though the checksum holds") {
  const std::vector<uint8_t> bytes = samples::user_batch().bytes;
  CHECK(decode_batch(with(bytes, 8, uint32_t{10})).ok());
  check_refused(with(bytes, 0, uint8_t{'X'}));
  check_refused(with(bytes, 8, uint32_t{0}));
  check_refused(with(bytes, 12, uint32_t{0}));
  check_refused(with(bytes, 12, uint32_t{4608}));
  check_refused(with(bytes, 16, uint64_t{0}));
  check_refused(with(bytes, 24, uint64_t{1300}));
  check_refused(with(bytes, 36, uint16_t{0}));
  check_refused(with(bytes, 38, uint8_t{9}));
  check_refused(with(bytes, 38, uint8_t{13}));
  check_refused(with(bytes, 39, uint8_t{3}));
  check_refused(with(bytes, 39, uint8_t{2}));  // moved, with records
  check_refused(with(samples::moved_batch().bytes, 39, uint8_t{1}));
  check_refused(with(bytes, 40, uint64_t{0}));
  check_refused(with(bytes, 59, uint8_t{1}));
}

TEST_CASE("lengths and places that lie are refused before they are followed") {
  const std::vector<uint8_t> bytes = samples::user_batch().bytes;
  for (const uint32_t length : {0u, 60u, 64u, 72u, 4097u, 0x10000000u, 0xfffffffcu, 0xffffffffu})
    check_refused(with(bytes, 4, length));
  const auto batch_bytes = load<uint32_t>(bytes.data() + 32);
  for (const uint32_t length :
       {0u, 4096u, batch_bytes - 4096, batch_bytes + 4096, batch_bytes + 1, 0xfffff000u})
    check_refused(with(bytes, 32, length));
  for (const uint16_t count : {uint16_t{1}, uint16_t{2}, uint16_t{4}, uint16_t{0xffff}})
    check_refused(with(bytes, 36, count));
  for (size_t run = 0; run < 3; ++run) {
    const size_t entry = 64 + run * 8;
    for (const uint32_t offset : {0u, 64u, 92u, 0xffffffffu}) check_refused(with(bytes, entry, offset));
    for (const uint32_t offset : {1024u, 4097u, 8192u, 0xfffff000u})
      check_refused(with(bytes, entry + 4, offset));
  }
}

TEST_CASE("a broken run inside an intact batch is refused with the run's own code") {
  const std::vector<uint8_t> bytes = samples::user_batch().bytes;
  const auto run_offset = load<uint32_t>(bytes.data() + 64);
  check_refused(with(bytes, run_offset + 200, uint32_t{0}), ErrorCode::record_corrupt);
  std::vector<uint8_t> later = bytes;
  const auto run_bytes = load<uint32_t>(later.data() + run_offset + 4);
  later[run_offset + 1] = 2;
  store(later.data() + run_offset + 124, crc32c_without(ByteSpan(later).subspan(run_offset, run_bytes), 124));
  check_refused(with(later, 8, uint32_t{9}), ErrorCode::record_version);
}

TEST_CASE("a batch holds records without their blocks, as a witness keeps them, beside others with theirs") {
  std::vector<uint8_t> out(16384);
  BatchBuilder batch(out, SegmentKind::user, 12, 2);
  const samples::BuiltRun run = samples::write_run();
  for (const bool with_body : {false, true}) {
    std::memcpy(batch.room().data(), run.bytes.data(), run.bytes.size());
    batch.add_run(run.header, with_body);
  }
  const BatchLayout layout = batch.finish({1, 4096, 1}, 1, 0);
  std::vector<uint8_t> bytes(out.begin(), out.begin() + layout.bodies_offset);
  bytes.insert(bytes.end(), run.body.begin(), run.body.end());
  REQUIRE(layout.header.batch_bytes == bytes.size());
  const Result<BatchView> decoded = decode_batch(bytes);
  REQUIRE(decoded.ok());
  CHECK(decoded->runs[0].body_offset == 0);
  CHECK(decoded->runs[0].body_bytes() == 0);
  CHECK(decoded->runs[0].run.header().body_bytes == run.body.size());
  CHECK(decoded->runs[1].body_offset == layout.bodies_offset);
  CHECK(verify_batch_bodies(*decoded, bytes).ok());
  bytes.back() ^= 1;
  CHECK_FALSE(verify_batch_bodies(*decoded, bytes).ok());
}
