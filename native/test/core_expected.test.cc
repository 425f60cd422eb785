// Writes that expect a version, and what version an answer names.
#include <doctest/doctest.h>

#include <cerrno>

#include "core_driver.h"

using namespace cloudfs;
using namespace cloudfs::test;
using Kind = ClientOp::Kind;

namespace {

ClientOp expecting(const VersionId& version, ClientOp op) {
  op.expected = version;
  return op;
}

struct Story {
  Story() {
    driver.format();
    volume = driver.create(1 << 20, "disk");
    target = driver.open("disk").handle;
  }
  VersionId head() {
    return *parse_id<VersionId>(
        field(driver.must("volumes", R"({"volume":")" + volume + R"("})"), "version"));
  }
  Driver driver;
  std::string volume;
  uint64_t target = 0;
};

}  // namespace

TEST_CASE("a write's answer names the version it made, a read's the one it read") {
  Story story;
  const Reply first = story.driver.call(Driver::write_op(story.target, 0, pattern(4096, 1)));
  CHECK(first.error == 0);
  CHECK(first.version == story.head());
  const Reply second = story.driver.call(Driver::write_op(story.target, 100, pattern(5000, 2), true));
  CHECK(second.version == story.head());
  CHECK(second.version != first.version);
  CHECK(story.driver.call(Driver::range_op(Kind::read, story.target, 0, 8192)).version == second.version);

  story.driver.must("snapshot", R"({"volume":")" + story.volume + R"(","name":"then"})");
  const VersionId then = story.head();
  CHECK(story.driver.write(story.target, 0, pattern(4096, 3)) == 0);
  const uint64_t snapshot = story.driver.open("disk@then").handle;
  CHECK(story.driver.call(Driver::range_op(Kind::read, snapshot, 0, 8192)).version == then);
}

TEST_CASE("of writes that expect the same version exactly one is made, in whatever turn they come") {
  for (const bool aligned : {true, false}) {
    for (const int turns_between : {0, 1, 3}) {
      CAPTURE(aligned);
      CAPTURE(turns_between);
      Story story;
      const VersionId before = story.head();
      const uint64_t offset = aligned ? 0 : 10;
      std::vector<uint64_t> requests;
      for (uint64_t seed = 1; seed <= 4; ++seed) {
        requests.push_back(story.driver.submit(
            expecting(before, Driver::write_op(story.target, offset, pattern(4096, seed)))));
        for (int turn = 0; turn < turns_between; ++turn) story.driver.turn();
      }
      story.driver.run();
      CHECK(story.driver.reply_to(requests[0])->error == 0);
      for (size_t index = 1; index < requests.size(); ++index)
        CHECK(story.driver.reply_to(requests[index])->error == ESTALE);
      CHECK(story.driver.read(story.target, offset, 4096) == pattern(4096, 1));
    }
  }
}

TEST_CASE("a write that expects a version is refused behind one that is made and not committed") {
  Story story;
  const VersionId before = story.head();
  // In one turn, and far from it: versions are the volume's, not a block's.
  const uint64_t plain = story.driver.submit(Driver::write_op(story.target, 65536, pattern(4096, 1)));
  const uint64_t expecting_before =
      story.driver.submit(expecting(before, Driver::write_op(story.target, 0, pattern(4096, 2))));
  story.driver.run();
  CHECK(story.driver.reply_to(plain)->error == 0);
  CHECK(story.driver.reply_to(expecting_before)->error == ESTALE);
  CHECK(story.driver.read(story.target, 0, 4096) == std::vector<uint8_t>(4096));

  const VersionId now = story.head();
  CHECK(story.driver.call(expecting(now, Driver::write_op(story.target, 5, pattern(100, 3)))).error == 0);
  CHECK(story.driver.read(story.target, 5, 100) == pattern(100, 3));
}

TEST_CASE("a write that expects a version is one record, or refused before anything is made") {
  CoreParams params = small_params();
  params.record_body_bytes_max = 4 * 4096;
  Story story;
  story.driver.core.reset();
  story.driver.params = params;
  story.driver.start();
  story.target = story.driver.open("disk").handle;
  const VersionId before = story.head();
  const auto write = [&](uint64_t offset, size_t bytes) {
    return story.driver.call(expecting(before, Driver::write_op(story.target, offset, pattern(bytes, 1))))
        .error;
  };
  CHECK(write(0, 5 * 4096) == EFBIG);
  CHECK(write(1, 4 * 4096) == EFBIG);  // five blocks are touched
  CHECK(story.head() == before);
  CHECK(write(0, 4 * 4096) == 0);
}
