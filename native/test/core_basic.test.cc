// One core, one disk, one story a test.
#include <doctest/doctest.h>

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
