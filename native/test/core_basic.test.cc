// One core, one disk, one story a test.
#include <doctest/doctest.h>

#include <map>

#include "core/format/chain.h"
#include "core_driver.h"

using namespace cloudfs;
using namespace cloudfs::test;
using Kind = ClientOp::Kind;

TEST_CASE("a formatted store creates a volume and gives back what is written") {
  Driver driver;
  driver.format();
  const std::string volume = driver.create(1 << 20, "disk");
  CHECK(volume.size() == 40);
  const Export target = driver.open("disk");
  CHECK(target.size_bytes == 1 << 20);
  CHECK_FALSE(target.read_only);

  const auto bytes = pattern(3 * 4096, 1);
  CHECK(driver.write(target.handle, 8192, bytes) == 0);
  CHECK(driver.read(target.handle, 8192, bytes.size()) == bytes);
  std::vector<uint8_t> around(4096);
  around.insert(around.end(), bytes.begin(), bytes.end());
  around.resize(around.size() + 4096);
  CHECK(driver.read(target.handle, 4096, around.size()) == around);
  CHECK(driver.read(target.handle, 0, 1 << 20).size() == 1 << 20);
  CHECK(driver.call(Driver::range_op(Kind::flush, target.handle, 0, 0)).error == 0);
}

TEST_CASE("writes of any offset and length change their bytes and no other") {
  CoreParams params = small_params();
  params.segment_limit = 1024;  // nothing is cleaned here
  Driver driver(params);
  driver.format();
  driver.create(1 << 20, "disk");
  const uint64_t target = driver.open("disk").handle;
  std::vector<uint8_t> model(1 << 20);
  Random random(7);
  for (int count = 0; count < 300; ++count) {
    const uint64_t offset = below(random, model.size());
    const uint64_t length =
        1 + below(random, std::min<uint64_t>(model.size() - offset, chance(random, 20) ? 200000 : 9000));
    const uint64_t what = below(random, 6);
    if (what < 4) {
      const auto bytes = pattern(length, random());
      CHECK(driver.write(target, offset, bytes) == 0);
      std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
    } else if (what == 4) {
      CHECK(driver.call(Driver::range_op(Kind::write_zeroes, target, offset, length)).error == 0);
      std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(offset), length, 0);
    } else {
      CHECK(driver.call(Driver::range_op(Kind::trim, target, offset, length)).error == 0);
      const uint64_t start = (offset + 4095) / 4096 * 4096;
      const uint64_t end = (offset + length) / 4096 * 4096;
      if (start < end) std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(start), end - start, 0);
    }
    const uint64_t from = below(random, model.size());
    const uint64_t bytes = 1 + below(random, std::min<uint64_t>(model.size() - from, 30000));
    const auto got = driver.read(target, from, bytes);
    CHECK(std::equal(got.begin(), got.end(), model.begin() + static_cast<std::ptrdiff_t>(from)));
  }
  CHECK(driver.read(target, 0, model.size()) == model);
}

TEST_CASE("block status tells stored from zero, piece by piece") {
  Driver driver;
  driver.format();
  driver.create(1 << 20, "disk");
  const uint64_t target = driver.open("disk").handle;
  CHECK(driver.write(target, 8192, pattern(8192, 1)) == 0);
  CHECK(driver.write(target, 32768, std::vector<uint8_t>(4096)) == 0);  // zeros are not stored
  const Reply reply = driver.call(Driver::range_op(Kind::block_status, target, 512, 65536));
  REQUIRE(reply.error == 0);
  std::vector<std::pair<uint64_t, bool>> pieces;
  for (const Piece& piece : reply.pieces) pieces.emplace_back(piece.bytes, piece.hole);
  CHECK(pieces == std::vector<std::pair<uint64_t, bool>>{{7680, true}, {8192, false}, {49664, true}});
}

TEST_CASE("requests outside a volume, to a snapshot, or to nothing are refused, each with its code") {
  Driver driver;
  driver.format();
  driver.create(1 << 20, "disk");
  driver.must("snapshot", "{\"volume\":\"disk\",\"name\":\"s\"}");
  const uint64_t target = driver.open("disk").handle;
  const Export snapshot = driver.open("disk@s");
  CHECK(snapshot.read_only);
  CHECK(driver.call(Driver::range_op(Kind::read, target, 1 << 20, 1)).error == EINVAL);
  CHECK(driver.call(Driver::range_op(Kind::read, target, UINT64_MAX, 2)).error == EINVAL);
  CHECK(driver.call(Driver::range_op(Kind::write_zeroes, target, 4096, UINT64_MAX)).error == ENOSPC);
  CHECK(driver.write(target, (1 << 20) - 1, pattern(2, 1)) == ENOSPC);
  CHECK(driver.write(snapshot.handle, 0, pattern(4096, 1)) == EPERM);
  CHECK(driver.call(Driver::range_op(Kind::read, 12345, 0, 1)).error == EINVAL);
  CHECK_FALSE(driver.core->open_export("nobody").has_value());
  CHECK(driver.core->open_refusal("nobody") == "unknown");
  CHECK(driver.core->open_refusal("disk@nobody") == "unknown");
  driver.create(1 << 20, "disk", 2);
  CHECK(driver.core->open_refusal("disk") == "ambiguous");
  CHECK(driver.command("snapshot", "{\"volume\":\"disk\",\"name\":\"s\"}").error_code ==
        "ERR_AMBIGUOUS_NAME");
  CHECK(driver.command("fly", "{}").error_code == "ERR_UNKNOWN_VERB");
  CHECK(driver.command("resize", "[1]").error_code == "ERR_ARGUMENT");
  CHECK(driver.command("resize", "{\"volume\":\"nobody\",\"sizeBytes\":4096}").error_code ==
        "ERR_UNKNOWN_VOLUME");
}

TEST_CASE("snapshots and branches keep their bytes whatever is written after, and names count once") {
  Driver driver;
  driver.format();
  const std::string id = driver.create(1 << 20, "disk");
  const uint64_t target = driver.open("disk").handle;
  const auto old_bytes = pattern(65536, 1);
  const auto new_bytes = pattern(65536, 2);
  CHECK(driver.write(target, 0, old_bytes) == 0);
  // Asked for in one turn: they are made one after the other.
  driver.core->command({1001, "snapshot", "{\"volume\":\"disk\",\"name\":\"s\"}", {}});
  driver.core->command({1002, "snapshot", "{\"volume\":\"disk\",\"name\":\"s\"}", {}});
  driver.run();
  std::map<uint64_t, std::string> codes;
  for (const CommandReply& reply : driver.command_replies) codes[reply.id] = reply.error_code;
  CHECK(codes == std::map<uint64_t, std::string>{{1001, ""}, {1002, "ERR_SNAPSHOT_EXISTS"}});
  driver.command_replies.clear();

  const std::string branch =
      field(driver.must("branch", create_arguments(sample_create(4096, "branch", 3), 3, "disk")), "volume");
  CHECK(driver.write(target, 0, new_bytes) == 0);
  const uint64_t branched = driver.open("branch").handle;
  CHECK(driver.read(branched, 0, 65536) == old_bytes);
  CHECK(driver.write(branched, 4096, pattern(4096, 5)) == 0);
  CHECK(driver.read(driver.open("disk@s").handle, 0, 65536) == old_bytes);
  CHECK(driver.read(target, 0, 65536) == new_bytes);
  driver.must("branch", create_arguments(sample_create(4096, "second", 4), 4, "disk@s"));
  CHECK(driver.read(driver.open("second").handle, 0, 65536) == old_bytes);
  driver.must("delete-snapshot", "{\"volume\":\"disk\",\"name\":\"s\"}");
  CHECK(driver.command("delete-snapshot", "{\"volume\":\"disk\",\"name\":\"s\"}").error_code ==
        "ERR_UNKNOWN_SNAPSHOT");
  CHECK(driver.read(driver.open("second").handle, 0, 65536) == old_bytes);
  CHECK(driver.command("delete", "{\"volume\":\"disk\"}").error_code == "ERR_VOLUME_BUSY");
  driver.core->close_export(target);
  driver.run();
  driver.must("audit", "{}");
}

TEST_CASE("a volume grows and shrinks; what lay beyond the new end is zero when it grows again") {
  Driver driver;
  driver.format();
  driver.create(1 << 20, "disk");
  const auto bytes = pattern(1 << 20, 1);
  CHECK(driver.write(driver.open("disk").handle, 0, bytes) == 0);
  driver.must("resize", "{\"volume\":\"disk\",\"sizeBytes\":524288}");
  const Export smaller = driver.open("disk");
  CHECK(smaller.size_bytes == 524288);
  CHECK(driver.call(Driver::range_op(Kind::read, smaller.handle, 524288, 1)).error == EINVAL);
  driver.must("resize", "{\"volume\":\"disk\",\"sizeBytes\":2097152}");
  const uint64_t target = driver.open("disk").handle;
  auto expected = bytes;
  std::fill(expected.begin() + 524288, expected.end(), 0);
  CHECK(driver.read(target, 0, 1 << 20) == expected);
  Random random(1);
  driver.must("audit", "{}");
  driver.restart_after_kill(random);
  CHECK(driver.read(driver.open("disk").handle, 0, 1 << 20) == expected);
}

TEST_CASE("records gives the committed runs from any lsn on, and they link to each other") {
  Driver driver;
  driver.format();
  const std::string id = driver.create(1 << 20, "disk");
  const uint64_t target = driver.open("disk").handle;
  for (uint64_t count = 0; count < 40; ++count)
    CHECK(driver.write(target, count * 8192, pattern(8192, count)) == 0);
  const std::string head = field(driver.must("volumes", "{}"), "version");

  VersionId previous;
  uint64_t records = 0;
  std::string next = "1";
  while (next != "42") {
    driver.core->command({7, "records", "{\"volume\":\"disk\",\"lsn\":" + next + ",\"bytesMax\":50000}", {}});
    driver.run();
    REQUIRE(driver.command_replies.size() == 1);
    const CommandReply reply = std::exchange(driver.command_replies, {})[0];
    REQUIRE(reply.error_code == "");
    ByteSpan bytes(reply.payload.data, reply.payload.size);
    while (!bytes.empty()) {
      const Result<RunView> run = decode_run(bytes);
      REQUIRE(run.ok());
      CHECK(verify_links(*run, previous).ok());
      CHECK(verify_tokens(*run, sample_stamp(1)).ok());
      const ByteSpan body = bytes.subspan(run->bytes().size(), run->header().body_bytes);
      CHECK(verify_body_digests(*run, body).ok());
      previous = run->header().last_public;
      records += run->header().count;
      bytes = bytes.subspan(run->bytes().size() + run->header().body_bytes);
    }
    next = field(reply.result, "nextLsn");
  }
  CHECK(records == 41);
  CHECK(to_hex(previous) == head);
  CHECK(field(driver.must("records", "{\"volume\":\"disk\",\"lsn\":42,\"bytesMax\":1}"), "nextLsn") == "42");
}
