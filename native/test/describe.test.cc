#include "core/format/describe.h"

#include <doctest/doctest.h>

#include "core/base/json_writer.h"
#include "samples.h"

using namespace cloudfs;

TEST_CASE("every structure is described, and refused with its code alone") {
  std::vector<uint8_t> superblock(4096);
  encode_superblock(samples::superblock(), superblock);
  std::vector<uint8_t> segment(4096);
  encode_segment_header(samples::segment_header(), segment);
  uint8_t entry[kEntryBytes];
  store_entry(entry, {0, 0, 7, 0});
  const struct {
    const char* kind;
    std::vector<uint8_t> bytes;
    const char* code;
  } cases[] = {
      {"entry", samples::to_vector(entry), "ERR_ENTRY_CORRUPT"},
      {"superblock", superblock, "ERR_SUPERBLOCK_CORRUPT"},
      {"segment-header", segment, "ERR_SEGMENT_CORRUPT"},
      {"batch", samples::user_batch().bytes, "ERR_BATCH_CORRUPT"},
      {"batch", samples::moved_batch().bytes, "ERR_BATCH_CORRUPT"},
      {"run", samples::write_run().bytes, "ERR_RECORD_CORRUPT"},
      {"run", samples::local_run().bytes, "ERR_RECORD_CORRUPT"},
      {"create", encode_create(samples::create_payload()), "ERR_PAYLOAD_INVALID"},
      {"view", encode_view(samples::view_payload()), "ERR_PAYLOAD_INVALID"},
      {"snapshot", encode_snapshot_name("s"), "ERR_PAYLOAD_INVALID"},
      {"resize", encode_resize(4096), "ERR_PAYLOAD_INVALID"},
      {"mode", encode_mode(Mode::local), "ERR_PAYLOAD_INVALID"},
      {"checkpoint", encode_checkpoint(samples::checkpoint()), "ERR_CHECKPOINT_CORRUPT"},
  };
  for (const auto& one : cases) {
    CHECK(describe(one.kind, one.bytes).value().front() == '{');
    CHECK(describe(one.kind, ByteSpan(one.bytes).first(0)).value() == one.code);
  }
  CHECK_FALSE(describe("record", superblock).has_value());
}

TEST_CASE("values are described in the order of their table, wide ones as strings") {
  uint8_t entry[kEntryBytes];
  store_entry(entry, {1, 2, kLsnMax, 4});
  CHECK(describe("entry", entry).value() == R"({"segment":1,"slot":2,"birth":"281474976710655","crc":4})");
  CHECK(describe("snapshot", encode_snapshot_name("a\"\n\x01\xc3\xa9")).value() ==
        "{\"name\":\"a\\\"\\n\\u0001\xc3\xa9\"}");

  std::vector<uint8_t> out(1024);
  RunBuilder run(out, samples::run_header(RunType::records, 7));
  const Extent extents[] = {{3, 2, ExtentKind::trimmed}};
  run.add_extents(samples::id<Token>(0xc0), 5, extents);
  CHECK(
      describe("run", run.finish()).value() ==
      R"({"type":1,"volume":"909192939495969798999a9b9c9d9e9fa0a1a2a3",)"
      R"("epochHost":"303132333435363738393a3b3c3d3e3f40414243","epochCounter":"4","firstLsn":"7","commitLsn":"6",)"
      R"("session":"99999999999999999999999999999999","lastPublic":"0000000000000000000000000000000000000000",)"
      R"("records":[{"kind":1,"flags":0,"requestSequence":"5","parent":"c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3",)"
      R"("extents":[{"block":"3","kind":3,"count":2}],"blocks":[]}]})");
}

TEST_CASE("JSON has commas between, and none before the first or after the last") {
  JsonWriter json;
  json.object();
  json.array("empty");
  json.end_array();
  json.array("numbers");
  json.number({}, 1);
  json.number({}, 2);
  json.object();
  json.end_object();
  json.end_array();
  json.string("text", "\b\f\r\t\\");
  json.end_object();
  CHECK(json.take() == R"({"empty":[],"numbers":[1,2,{}],"text":"\b\f\r\t\\"})");
}
