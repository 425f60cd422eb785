#include "core/format/chain.h"

#include <doctest/doctest.h>

#include "core/base/hex.h"
#include "samples.h"

using namespace cloudfs;
using samples::id;

namespace {

/// The token by the letter of docs/disk-format.md, field by field.
Token token_by_the_page(const Stamp& stamp, const RunHeader& run, const RecordView& record) {
  std::vector<uint8_t> digests;
  for (size_t index = 0; index < record.data_blocks(); ++index) {
    const BlockDigest digest = record.block_sum(index).digest;
    digests.insert(digests.end(), digest.begin(), digest.end());
  }
  ByteWriter writer;
  writer.bytes(stamp);
  writer.id(record.parent());
  writer.u64(run.epoch.counter);
  writer.id(run.epoch.host);
  writer.u64(record.lsn());
  writer.bytes(run.session);
  writer.u64(record.request_sequence());
  writer.u8(static_cast<uint8_t>(record.kind()));
  writer.u8(record.flags());
  writer.u16(record.extent_count());
  writer.bytes(record.content());
  writer.id(hash160<Token>(digests));
  return hash160<Token>(writer.take());
}

void check_broken(const Result<void>& verified) {
  REQUIRE_FALSE(verified.ok());
  CHECK(verified.error().code == ErrorCode::chain_broken);
}

}  // namespace

TEST_CASE("a token is made of what the format page says, for each kind of record") {
  for (const samples::BuiltRun& built : {samples::write_run(), samples::control_run()}) {
    const Result<RunView> run = decode_run(built.bytes);
    REQUIRE(run.ok());
    for (const RecordView record : run->records()) {
      const ChainLink link = link_record(samples::stamp(), run->header(), record);
      CHECK(link.token == token_by_the_page(samples::stamp(), run->header(), record));
      CHECK(link.public_id == hash160<VersionId>(link.token.bytes));
    }
  }
}

TEST_CASE("tokens have known values") {
  CHECK(to_hex(samples::write_run().last.token) == "e3bc64610e325986a53b4ac7f0cd445f93a0de74");
  CHECK(to_hex(samples::control_run().last.token) == "8dfb42b85faec1b7275dd26c97b7862b8d32d996");
}

TEST_CASE("public ids follow from the parents inside a run, and the last one stands in its header") {
  const samples::BuiltRun built = samples::write_run();
  const Result<RunView> run = decode_run(built.bytes);
  REQUIRE(run.ok());
  std::vector<VersionId> ids;
  public_ids(*run, ids);
  REQUIRE(ids.size() == 3);
  size_t index = 0;
  for (const RecordView record : run->records())
    CHECK(ids[index++] == link_record(samples::stamp(), run->header(), record).public_id);
  CHECK(ids.back() == built.last.public_id);
}

TEST_CASE("a run is linked to the record before it, and to no other") {
  const samples::BuiltRun built = samples::write_run();
  const Result<RunView> run = decode_run(built.bytes);
  REQUIRE(run.ok());
  CHECK_FALSE(starts_volume(*run));
  CHECK(verify_links(*run, public_of(id<Token>(0xc0))).ok());
  check_broken(verify_links(*run, public_of(id<Token>(0xc1))));
  check_broken(verify_links(*run, {}));
}

TEST_CASE("a volume's id is the public id of its first record") {
  const samples::BuiltRun built = samples::control_run();
  const Result<RunView> run = decode_run(built.bytes);
  REQUIRE(run.ok());
  CHECK(starts_volume(*run));
  CHECK(verify_links(*run, {}).ok());
  CHECK(verify_tokens(*run, samples::stamp()).ok());

  std::vector<uint8_t> other = built.bytes;
  other[8] ^= 1;
  store(other.data() + 124, crc32c_without(other, 124));
  check_broken(verify_links(*decode_run(other), {}));
}

TEST_CASE("with the view's stamp, no byte that a token covers can be changed unnoticed") {
  for (const samples::BuiltRun& built : {samples::write_run(), samples::control_run()}) {
    CHECK(verify_tokens(*decode_run(built.bytes), samples::stamp()).ok());
    check_broken(verify_tokens(*decode_run(built.bytes), samples::stamp(0x5b)));
    size_t verified = 0;
    for (size_t offset = 0; offset < built.bytes.size(); ++offset) {
      if (offset >= 124 && offset < 128) continue;  // the checksum, made anew
      std::vector<uint8_t> bytes = built.bytes;
      bytes[offset] ^= 1;
      store(bytes.data() + 124, crc32c_without(bytes, 124));
      const Result<RunView> run = decode_run(bytes);
      if (!run) continue;
      // Not covered: the volume id (it is what the first token hashes to), the commit point, and a block's crc, which
      // the digest stands for.
      const bool volume = offset >= 8 && offset < 28;
      const bool commit = offset >= 72 && offset < 80;
      bool crc = false;
      for (const RecordView record : run->records()) {
        const auto sums =
            static_cast<size_t>(record.content().data() + record.content().size() - run->bytes().data());
        const size_t sums_end = sums + record.data_blocks() * kBlockSumBytes;
        if (offset >= sums && offset < sums_end) crc = (offset - sums) % kBlockSumBytes < 4;
      }
      CHECK(verify_tokens(*run, samples::stamp()).ok() == (volume || commit || crc));
      ++verified;
    }
    CHECK(verified > 100);
  }
}

TEST_CASE("a link gives the record's token to whoever has the stamp") {
  for (const samples::BuiltRun& built : {samples::write_run(), samples::control_run()}) {
    const Result<RunView> run = decode_run(built.bytes);
    REQUIRE(run.ok());
    for (const RecordView record : run->records()) {
      const std::vector<uint8_t> link = link_of(run->header().epoch, run->header().session, record);
      CHECK(link.size() == kLinkBytesMin + record.content().size());
      CHECK(link_lsn(link) == record.lsn());
      CHECK(link_epoch(link) == run->header().epoch);
      CHECK(token_of(samples::stamp(), link) == link_record(samples::stamp(), run->header(), record).token);
    }
  }
}
