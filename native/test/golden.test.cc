// Golden files: bytes of format version 1 that every later codec reads and writes alike, with the text that describes
// them. They also seed the fuzzers. After a wanted change of the format: CLOUDFS_WRITE_GOLDEN=1 make test.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "core/format/describe.h"
#include "samples.h"

using namespace cloudfs;

namespace {

// `make` runs the tests in native/.
const std::filesystem::path kGolden = "../test/golden/format-1";
const std::filesystem::path kCorpus = "fuzz/corpus";

struct Golden {
  std::string name;
  std::string kind;
  std::vector<uint8_t> bytes;
  std::string fuzzer;
};

std::vector<Golden> goldens() {
  std::vector<uint8_t> superblock(kSuperblockBytes);
  encode_superblock(samples::superblock(), superblock);
  std::vector<uint8_t> segment(kSegmentHeaderBytes);
  encode_segment_header(samples::segment_header(), segment);
  std::vector<uint8_t> entry(kEntryBytes);
  store_entry(entry.data(), {0x01020304, 0x0506, 0x0708090a0b0c, 0x0d0e0f10});
  const auto header_area = [](const samples::BuiltBatch& batch) {
    return samples::to_vector(ByteSpan(batch.bytes).first(batch.layout.bodies_offset));
  };
  CreatePayload branch = samples::create_payload();
  branch.parent = BranchPoint{samples::id<VolumeId>(0x90), 41, samples::id<VersionId>(0xa0)};
  ViewPayload view = samples::view_payload();
  view.old_stamp = samples::stamp(0x11);
  return {
      {"entry", "entry", entry, ""},
      {"superblock", "superblock", superblock, "store_headers"},
      {"segment-header", "segment-header", segment, "store_headers"},
      {"batch-user", "batch", header_area(samples::user_batch()), "batch"},
      {"batch-moved", "batch", header_area(samples::moved_batch()), "batch"},
      {"run-write", "run", samples::write_run().bytes, "run"},
      {"run-control", "run", samples::control_run().bytes, "run"},
      {"run-moved", "run", samples::moved_run().bytes, "run"},
      {"run-local", "run", samples::local_run().bytes, "run"},
      {"create", "create", encode_create(samples::create_payload()), ""},
      {"create-branch", "create", encode_create(branch), ""},
      {"view", "view", encode_view(view), ""},
      {"snapshot", "snapshot", encode_snapshot_name("before upgrade"), ""},
      {"resize", "resize", encode_resize(uint64_t{16} << 30), ""},
      {"mode", "mode", encode_mode(Mode::quorum), ""},
      {"checkpoint", "checkpoint", encode_checkpoint(samples::checkpoint()), "checkpoint"},
  };
}

std::vector<uint8_t> read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), "cannot read " << path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::filesystem::path& path, ByteSpan bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << as_text(bytes);
}

}  // namespace

TEST_CASE("format version 1 is written and read as its golden files have it") {
  for (const Golden& golden : goldens()) {
    CAPTURE(golden.name);
    const std::string text = describe(golden.kind, golden.bytes).value() + "\n";
    const std::filesystem::path bytes_path = kGolden / (golden.name + ".bin");
    const std::filesystem::path text_path = kGolden / (golden.name + ".txt");
    if (std::getenv("CLOUDFS_WRITE_GOLDEN") != nullptr) {
      write_file(bytes_path, golden.bytes);
      write_file(text_path, as_bytes(text));
      if (!golden.fuzzer.empty()) write_file(kCorpus / golden.fuzzer / golden.name, golden.bytes);
    }
    CHECK(read_file(bytes_path) == golden.bytes);
    CHECK(std::string(as_text(read_file(text_path))) == text);
  }
}
