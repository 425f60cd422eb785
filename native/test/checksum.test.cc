#include "core/base/checksum.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/base/hex.h"

using namespace cloudfs;

TEST_CASE("crc32c gives the published check values") {
  CHECK(crc32c(as_bytes("")) == 0);
  CHECK(crc32c(as_bytes("123456789")) == 0xe3069283u);
  CHECK(crc32c(std::vector<uint8_t>(32)) == 0x8a9136aau);  // RFC 3720, B.4: 32 bytes of zeroes
}

TEST_CASE("crc32c of a text is that of its halves, continued") {
  CHECK(crc32c(as_bytes("56789"), crc32c(as_bytes("1234"))) == crc32c(as_bytes("123456789")));
}

TEST_CASE("a header's checksum is that of the header with the field zeroed, wherever the field stands") {
  std::vector<uint8_t> bytes(40);
  for (size_t index = 0; index < bytes.size(); ++index) bytes[index] = static_cast<uint8_t>(index + 1);
  for (size_t field = 0; field + 4 <= bytes.size(); ++field) {
    std::vector<uint8_t> zeroed = bytes;
    std::fill_n(zeroed.begin() + static_cast<std::ptrdiff_t>(field), 4, uint8_t{0});
    CHECK(crc32c_without(bytes, field) == crc32c(zeroed));
  }
}

TEST_CASE("H is SHA-256 cut to 160 bits, a block's digest to 128") {
  // FIPS 180-2, appendix B.1
  CHECK(to_hex(hash160<Token>(as_bytes("abc"))) == "ba7816bf8f01cfea414140de5dae2223b00361a3");
  const std::vector<uint8_t> zeros(kBlockBytes);
  CHECK(to_hex(block_digest(zeros.data())) == "ad7facb2586fc6e966c004d7d1d16b02");
  CHECK(sum_block(zeros.data()) == BlockSum{crc32c(zeros), block_digest(zeros.data())});
}

TEST_CASE("digests made together are those made one by one, however many they are") {
  constexpr size_t kBlocks = 131;
  std::vector<uint8_t> bytes(kBlocks * kBlockBytes);
  for (size_t index = 0; index < bytes.size(); ++index)
    bytes[index] = static_cast<uint8_t>(index * 7 + index / kBlockBytes);
  std::vector<const uint8_t*> blocks;
  std::vector<BlockDigest> alone;
  for (size_t index = 0; index < kBlocks; ++index) {
    blocks.push_back(bytes.data() + index * kBlockBytes);
    alone.push_back(block_digest(blocks.back()));
  }
  for (const size_t count : std::vector<size_t>{0, 1, 2, 3, 4, 15, 64, 65, 129, 131}) {
    std::vector<BlockDigest> together(count);
    block_digests(std::span(blocks).first(count), together);
    CHECK(std::equal(together.begin(), together.end(), alone.begin()));
  }
}

TEST_CASE("a hash is the same whether its input comes whole or in pieces") {
  uint8_t whole[32];
  uint8_t pieces[32];
  Sha256().add(as_bytes("block store")).finish(whole);
  Sha256().add(as_bytes("block")).add({}).add(as_bytes(" store")).finish(pieces);
  CHECK(to_hex(whole) == to_hex(pieces));
  Sha256().add_integer(uint32_t{0x04030201}).finish(whole);
  Sha256().add(as_bytes("\x01\x02\x03\x04")).finish(pieces);
  CHECK(to_hex(whole) == to_hex(pieces));
}

TEST_CASE("a block is zero only if every one of its bytes is") {
  std::vector<uint8_t> block(kBlockBytes);
  CHECK(is_zero_block(block.data()));
  for (size_t index = 0; index < kBlockBytes; ++index) {
    block[index] = 0x10;
    CHECK_FALSE(is_zero_block(block.data()));
    CHECK_FALSE(all_zero(block));
    block[index] = 0;
  }
  CHECK(all_zero(block));
  CHECK(all_zero({}));
}

TEST_CASE("hex is read back in either case, and nothing else is read") {
  const uint8_t bytes[] = {0x00, 0x7f, 0xab, 0xff};
  CHECK(to_hex(ByteSpan(bytes)) == "007fabff");
  uint8_t out[4] = {};
  CHECK(parse_hex("007fAbFF", out));
  CHECK(to_hex(ByteSpan(out)) == "007fabff");
  CHECK_FALSE(parse_hex("007fab", out));
  CHECK_FALSE(parse_hex("007fabfg", out));
  CHECK_FALSE(parse_hex("007fab f", out));
  CHECK_FALSE(parse_hex("abc").has_value());
  CHECK(parse_hex("") == std::vector<uint8_t>{});
  CHECK(parse_id<HostId>(std::string(40, 'a')).has_value());
  CHECK_FALSE(parse_id<HostId>(std::string(38, 'a')).has_value());
}
