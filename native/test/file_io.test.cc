#include "shell/file_io.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "shell/fd.h"
#include "temp_dir.h"

using namespace cloudfs::shell;
using cloudfs::test::TempDir;

TEST_CASE("space is written ahead where a file can be opened past the page cache and not written so") {
  const TempDir dir;
  const Fd fd(::open(dir.file("segment").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(fd);
  const uint8_t there = 7;
  REQUIRE(::pwrite(fd.get(), &there, 1, 0) == 1);
  // No file system takes a write past the page cache at such an offset: EINVAL, as some give for any.
  std::atomic<bool> is_direct_refused{false};
  constexpr uint64_t kOffset = 100;
  constexpr uint64_t kBytes = 3 << 20;
  CHECK(write_ahead(fd.get(), kOffset, kBytes, is_direct_refused) == 0);
  struct stat stat {};
  REQUIRE(::fstat(fd.get(), &stat) == 0);
  CHECK(static_cast<uint64_t>(stat.st_size) == kOffset + kBytes);
  std::vector<uint8_t> bytes(kOffset + kBytes, 1);
  CHECK(read_fully(fd.get(), bytes.data(), bytes.size(), 0) == 0);
  CHECK(bytes.front() == there);
  CHECK(std::all_of(bytes.begin() + 1, bytes.end(), [](uint8_t byte) { return byte == 0; }));
  // For good: what was refused once is not tried again.
  const bool was_refused = is_direct_refused;
  CHECK(write_ahead(fd.get(), kOffset + kBytes, 4096, is_direct_refused) == 0);
  CHECK(is_direct_refused == was_refused);
}
