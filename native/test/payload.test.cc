#include "core/format/payload.h"

#include <doctest/doctest.h>

#include "samples.h"

using namespace cloudfs;
using samples::id;

namespace {

CreatePayload branch() {
  CreatePayload create = samples::create_payload();
  create.parent = BranchPoint{id<VolumeId>(0x90), 41, id<VersionId>(0xa0)};
  create.view.old_stamp = samples::stamp(0x11);
  return create;
}

template <class T>
std::vector<uint8_t> with(std::vector<uint8_t> bytes, size_t offset, T value) {
  store(bytes.data() + offset, value);
  return bytes;
}

bool create_refused(const std::vector<uint8_t>& bytes) {
  const Result<CreatePayload> create = decode_create(bytes);
  if (!create.ok()) CHECK(create.error().code == ErrorCode::payload_invalid);
  return !create.ok();
}

/// A decoder takes a payload with up to three zeros behind it, refuses it cut off, with more, or with other bytes.
template <class Decode>
void check_ends(const std::vector<uint8_t>& bytes, Decode decode) {
  std::vector<uint8_t> padded = bytes;
  for (int padding = 0; padding < 3; ++padding) {
    padded.push_back(0);
    CHECK(decode(padded).ok());
    padded.back() = 1;
    CHECK_FALSE(decode(padded).ok());
    padded.back() = 0;
  }
  padded.push_back(0);
  CHECK_FALSE(decode(padded).ok());
  for (size_t size = 0; size < bytes.size(); ++size)
    CHECK_FALSE(
        decode(std::vector<uint8_t>(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size))).ok());
}

}  // namespace

TEST_CASE("a create is read back as it was, with and without a parent, without a name and with the longest") {
  for (CreatePayload create : {samples::create_payload(), branch()}) {
    CHECK(decode_create(encode_create(create)).value() == create);
    create.name.clear();
    CHECK(decode_create(encode_create(create)).value() == create);
    create.name.assign(255, 'n');
    CHECK(decode_create(encode_create(create)).value() == create);
  }
}

TEST_CASE("payloads end where they end") {
  check_ends(encode_create(branch()), decode_create);
  check_ends(encode_view(branch().view), decode_view);
  check_ends(encode_snapshot_name("a name"), decode_snapshot_name);
  check_ends(encode_resize(8192), decode_resize);
  check_ends(encode_mode(Mode::local), decode_mode);
}

TEST_CASE("fields of a create outside their range are refused") {
  const std::vector<uint8_t> plain = encode_create(samples::create_payload());
  const std::vector<uint8_t> branched = encode_create(branch());
  CHECK_FALSE(create_refused(plain));
  CHECK(create_refused(with(plain, 0, uint64_t{4095})));
  CHECK(create_refused(with(plain, 0, kVolumeBytesMax + 4096)));
  CHECK_FALSE(create_refused(with(plain, 0, kVolumeBytesMax)));
  CHECK(create_refused(with(plain, 8, uint8_t{0})));
  CHECK(create_refused(with(plain, 8, uint8_t{4})));
  CHECK(create_refused(with(plain, 9, uint8_t{255})));
  CHECK(create_refused(with(plain, 10, uint8_t{1})));  // a parent without lsn
  CHECK(create_refused(with(plain, 11, uint8_t{1})));
  CHECK(create_refused(with(plain, 28, uint8_t{1})));
  CHECK(create_refused(with(plain, 48, uint64_t{1})));
  CHECK(create_refused(with(plain, 56, uint8_t{1})));
  CHECK(create_refused(with(plain, 76, uint8_t{0x80})));  // the name
  CHECK(create_refused(with(branched, 10, uint8_t{0})));
  CHECK(create_refused(with(branched, 10, uint8_t{2})));
  CHECK(create_refused(with(branched, 48, uint64_t{0})));
  CHECK(create_refused(with(branched, 48, uint64_t{1} << 48)));
}

TEST_CASE("fields of a view outside their range are refused") {
  ViewPayload view = samples::view_payload();
  const std::vector<uint8_t> bytes = encode_view(view);
  CHECK(decode_view(bytes).value() == view);
  CHECK_FALSE(decode_view(with(bytes, 44, uint8_t{0})).ok());
  CHECK_FALSE(decode_view(with(bytes, 44, uint8_t{1})).ok());
  CHECK_FALSE(decode_view(with(bytes, 44, uint8_t{255})).ok());
  CHECK_FALSE(decode_view(with(bytes, 45, uint8_t{2})).ok());
  CHECK_FALSE(decode_view(with(bytes, 46, uint8_t{1})).ok());
  CHECK_FALSE(decode_view(with(bytes, 77, uint8_t{1})).ok());
  CHECK_FALSE(decode_view(with(bytes, 78 + 40, uint8_t{0})).ok());
  CHECK_FALSE(decode_view(with(bytes, 78 + 40, uint8_t{4})).ok());
  CHECK_FALSE(decode_view(with(bytes, 78 + 41, uint16_t{0xffff})).ok());
  view.members.assign(255, view.members[0]);
  view.members[254].slice.assign(65535, 0x7f);
  CHECK(decode_view(encode_view(view)).value() == view);
}

TEST_CASE("a snapshot has a name, a size is whole blocks, a mode is one of three") {
  CHECK(decode_snapshot_name(encode_snapshot_name("a")).value() == "a");
  CHECK(decode_snapshot_name(encode_snapshot_name(std::string(255, 'x'))).value() == std::string(255, 'x'));
  CHECK_FALSE(decode_snapshot_name(std::vector<uint8_t>{0}).ok());
  CHECK_FALSE(decode_snapshot_name(std::vector<uint8_t>{1, 0xff}).ok());
  CHECK(decode_resize(encode_resize(0)).value() == 0);
  CHECK(decode_resize(encode_resize(kVolumeBytesMax)).value() == kVolumeBytesMax);
  CHECK_FALSE(decode_resize(with(std::vector<uint8_t>(8), 0, uint64_t{1})).ok());
  for (const Mode mode : {Mode::durable, Mode::quorum, Mode::local})
    CHECK(decode_mode(encode_mode(mode)).value() == mode);
  CHECK_FALSE(decode_mode(std::vector<uint8_t>{0}).ok());
  CHECK_FALSE(decode_mode(std::vector<uint8_t>{4}).ok());
}

TEST_CASE("UTF-8 is taken without overlong forms, surrogates and numbers past the last character") {
  for (const char* good : {"", "abc", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xef\xbb\xbf"})
    CHECK(is_utf8(as_bytes(good)));
  for (const char* bad : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x9f\xbf",
                          "\xe0\xa0", "\xe1\x80\x41", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
                          "\xf0\x90\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "a\xfe"})
    CHECK_FALSE(is_utf8(as_bytes(bad)));
}
