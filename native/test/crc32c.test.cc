#include "core/crc32c.h"

#include <doctest/doctest.h>

#include <string_view>
#include <vector>

using cloudfs::crc32c;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

}  // namespace

TEST_CASE("crc32c gives the published check values") {
  CHECK(crc32c(bytes_of("")) == 0);
  CHECK(crc32c(bytes_of("123456789")) == 0xe3069283u);
  CHECK(crc32c(std::vector<std::byte>(32)) == 0x8a9136aau);  // RFC 3720, B.4: 32 bytes of zeroes
}

TEST_CASE("crc32c of a text is that of its halves, continued") {
  CHECK(crc32c(bytes_of("56789"), crc32c(bytes_of("1234"))) == crc32c(bytes_of("123456789")));
}
