#include "shell/drop_behind.h"

#include <doctest/doctest.h>

using namespace cloudfs::shell;

namespace {

constexpr uint64_t kMiB = 1ull << 20;

uint64_t total(const std::vector<DropBehind::Range>& ranges) {
  uint64_t bytes = 0;
  for (const DropBehind::Range& range : ranges) bytes += range.bytes;
  return bytes;
}

}  // namespace

TEST_CASE("what is written last stays in the page cache, a window's worth; all before it is dropped, once") {
  const auto file = std::make_shared<StoreFile>(Fd());
  DropBehind behind(16 * kMiB);
  for (uint64_t at = 0; at < 16 * kMiB; at += 4096) behind.wrote(file, at, 4096);
  CHECK(behind.take().empty());
  for (uint64_t at = 16 * kMiB; at < 32 * kMiB; at += 4096) behind.wrote(file, at, 4096);
  const std::vector<DropBehind::Range> dropped = behind.take();
  CHECK(total(dropped) == 16 * kMiB);
  CHECK(dropped.front().offset == 0);
  CHECK(dropped.size() <= 4);
  CHECK(behind.take().empty());
}

TEST_CASE("appends that take turns between segments make few ranges") {
  const auto user = std::make_shared<StoreFile>(Fd());
  const auto moved = std::make_shared<StoreFile>(Fd());
  DropBehind behind(0);
  for (uint64_t at = 0; at < 4 * kMiB; at += 4096) {
    behind.wrote(user, at, 4096);
    behind.wrote(moved, at, 4096);
  }
  const std::vector<DropBehind::Range> dropped = behind.take();
  REQUIRE(dropped.size() == 2);
  CHECK(dropped[0].file == user);
  CHECK(dropped[1].file == moved);
  CHECK(total(dropped) == 8 * kMiB);
}
