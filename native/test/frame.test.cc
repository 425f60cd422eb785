// Frames between engines: what is sent is what is read, and nothing else is ever accepted.
#include "core/format/frame.h"

#include <doctest/doctest.h>

#include <random>

#include "core/replication/frame_channel.h"

using namespace cloudfs;

namespace {

template <class Id>
Id id_of(uint8_t seed) {
  Id id;
  for (size_t index = 0; index < id.bytes.size(); ++index)
    id.bytes[index] = static_cast<uint8_t>(seed + index);
  return id;
}

const Epoch kEpoch{7, id_of<HostId>(9)};

std::vector<uint8_t> bytes_of(const BufferRef& frame, ByteSpan tail = {}) {
  std::vector<uint8_t> bytes(frame.data(), frame.data() + frame.size());
  bytes.insert(bytes.end(), tail.begin(), tail.end());
  return bytes;
}

HelloFrame sample_hello() {
  HelloFrame hello;
  hello.host = id_of<HostId>(1);
  hello.store = id_of<StoreId>(2);
  hello.volume = id_of<VolumeId>(3);
  hello.head = {41, {6, id_of<HostId>(4)}, id_of<VersionId>(5)};
  hello.commit_lsn = 40;
  hello.synced_lsn = 39;
  hello.has_volume = true;
  return hello;
}

std::vector<uint8_t> sample_blocks() {
  std::vector<uint8_t> body(kBlockBytes, 0x5a);
  const std::vector<BlockItem> items{{12, 30, 0, block_crc(body.data())}, {100, 31, 77, 0}};
  return bytes_of(encode_blocks(kEpoch, items), body);
}

const BlockName kName{12, 30, {6, id_of<HostId>(4)}, 0xdeadbeef};

std::vector<std::vector<uint8_t>> samples() {
  const std::vector<uint8_t> runs(300, 0xee);
  const std::vector<uint8_t> block(kBlockBytes, 0x5a);
  return {
      bytes_of(encode_hello(kEpoch, sample_hello())),
      bytes_of(encode_runs(kEpoch, kFrameSync, 12, 300), runs),
      bytes_of(encode_commit(kEpoch, {5, 4, 5})),
      bytes_of(encode_ack(kEpoch, {5, 4})),
      bytes_of(encode_fetch(kEpoch, {5})),
      bytes_of(encode_refuse(kEpoch, {"ERR_EPOCH_STALE", "another host leads"})),
      bytes_of(encode_compact(kEpoch, {5, 50, 1 << 20, as_bytes("volume"), {}})),
      bytes_of(encode_compact(
          kEpoch,
          {5, 50, 1 << 20, as_bytes("volume"), {{7, id_of<VersionId>(6), 4096, "a"}, {9, {}, 0, "bb"}}})),
      sample_blocks(),
      bytes_of(encode_compacted(kEpoch, {50, id_of<VersionId>(8)})),
      bytes_of(encode_ping(kEpoch)),
      bytes_of(encode_want_blocks(kEpoch)),
      bytes_of(encode_ack(kEpoch, {5, 4}, kFrameRecovering)),
      bytes_of(encode_lease_ask(kEpoch, {77})),
      bytes_of(encode_lease_grant(kEpoch, {77, true, {}})),
      bytes_of(encode_lease_grant(
          kEpoch, {78, false, {{id_of<VolumeId>(3), kEpoch, true}, {id_of<VolumeId>(4), kEpoch, false}}})),
      bytes_of(encode_block_ask(kEpoch, {9, kName})),
      bytes_of(encode_block_answer(kEpoch, {9, BlockAnswer::later, kName, {}, {}})),
      bytes_of(
          encode_block_answer(kEpoch, {9, BlockAnswer::here, kName, sum_block(block.data()).digest, block})),
      bytes_of(encode_hand(kEpoch, kFrameOnDisk, {kEpoch, {50, kEpoch, id_of<VersionId>(8)}, {7}})),
  };
}

/// True if the frame, its type's decoder included, is accepted.
bool accepted(ByteSpan bytes) {
  const Result<FrameView> frame = decode_frame(bytes);
  if (!frame) return false;
  switch (frame->header.type) {
    case FrameType::hello:
      return decode_hello(*frame).ok();
    case FrameType::runs:
      return decode_runs(*frame).ok();
    case FrameType::commit:
      return decode_commit(*frame).ok();
    case FrameType::ack:
      return decode_ack(*frame).ok();
    case FrameType::fetch:
      return decode_fetch(*frame).ok();
    case FrameType::refuse:
      return decode_refuse(*frame).ok();
    case FrameType::compact:
      return decode_compact(*frame).ok();
    case FrameType::blocks:
      return decode_blocks(*frame).ok();
    case FrameType::compacted:
      return decode_compacted(*frame).ok();
    case FrameType::lease_ask:
      return decode_lease_ask(*frame).ok();
    case FrameType::lease_grant:
      return decode_lease_grant(*frame).ok();
    case FrameType::block_ask:
      return decode_block_ask(*frame).ok();
    case FrameType::block_answer:
      return decode_block_answer(*frame).ok();
    case FrameType::hand:
      return decode_hand(*frame).ok();
    case FrameType::ping:
    case FrameType::want_blocks:
      return frame->payload.empty();
  }
  return false;
}

}  // namespace

TEST_CASE("every frame that is sent is accepted, with its epoch") {
  for (const std::vector<uint8_t>& sample : samples()) {
    CAPTURE(static_cast<int>(sample[4]));
    CHECK(accepted(sample));
    CHECK(decode_frame(sample)->header.epoch == kEpoch);
  }
}

TEST_CASE("fields of frames survive the wire") {
  const std::vector<uint8_t> hello = bytes_of(encode_hello(kEpoch, sample_hello()));
  CHECK(decode_hello(*decode_frame(hello)).value() == sample_hello());

  const std::vector<uint8_t> runs = bytes_of(encode_runs(kEpoch, kFrameSync, 12, 3), as_bytes("abc"));
  const Result<FrameView> view = decode_frame(runs);
  CHECK(view->header.flags == kFrameSync);
  CHECK(decode_runs(*view)->commit_lsn == 12);
  CHECK(as_text(decode_runs(*view)->runs) == "abc");

  const std::vector<uint8_t> refuse = bytes_of(encode_refuse(kEpoch, {"ERR_X", std::string(5000, 'm')}));
  CHECK(decode_refuse(*decode_frame(refuse))->code == "ERR_X");
  CHECK(decode_refuse(*decode_frame(refuse))->message.size() == 1000);

  const std::vector<uint8_t> blocks = sample_blocks();
  const Result<BlocksFrame> decoded = decode_blocks(*decode_frame(blocks));
  CHECK(decoded->items.size() == 2);
  CHECK(decoded->items[1].zeroed_count == 77);
  CHECK(block_crc(decoded->bodies.data()) == decoded->items[0].crc);
}

TEST_CASE("a flipped bit in anything but bodies is refused") {
  for (const std::vector<uint8_t>& sample : samples()) {
    const bool has_bodies = sample[4] == static_cast<uint8_t>(FrameType::runs) ||
                            sample[4] == static_cast<uint8_t>(FrameType::blocks);
    const size_t covered = has_bodies ? kFrameHeaderBytes + 8 : sample.size();
    for (size_t index = 0; index < covered; ++index) {
      std::vector<uint8_t> bad = sample;
      bad[index] ^= 0x10;
      CAPTURE(static_cast<int>(sample[4]));
      CAPTURE(index);
      CHECK_FALSE(accepted(bad));
    }
  }
}

TEST_CASE("a frame cut short, or with bytes behind it, is refused") {
  for (const std::vector<uint8_t>& sample : samples()) {
    for (size_t size = 0; size < sample.size(); ++size) CHECK_FALSE(accepted(ByteSpan(sample).first(size)));
    std::vector<uint8_t> longer = sample;
    longer.push_back(0);
    CHECK_FALSE(accepted(longer));
  }
}

TEST_CASE("a length out of bounds is refused before anything is allocated") {
  std::vector<uint8_t> frame = bytes_of(encode_ping(kEpoch));
  for (const uint32_t length : {0u, 39u, kFrameBytesMax + 1, 0xffffffffu}) {
    store(frame.data(), length);
    FrameChannel channel;
    const FrameChannel::Window window = channel.receive_target();
    std::memcpy(window.data, frame.data(), frame.size());
    channel.received(frame.size());
    CHECK_FALSE(channel.next().ok());
    CHECK(channel.receive_target().bytes == 0);
  }
}

TEST_CASE("an epoch that no log can hold is refused, in the header and in what a frame says") {
  Epoch beyond = kEpoch;
  beyond.counter = uint64_t{1} << 48;
  CHECK_FALSE(accepted(bytes_of(encode_ping(beyond))));
  HelloFrame hello = sample_hello();
  hello.head.epoch = beyond;
  CHECK_FALSE(accepted(bytes_of(encode_hello(kEpoch, hello))));
}

TEST_CASE("a channel gives the same frames however the bytes are cut") {
  std::vector<uint8_t> all;
  std::vector<std::vector<uint8_t>> sent = samples();
  sent.push_back(bytes_of(encode_runs(kEpoch, 0, 1, 700'000), std::vector<uint8_t>(700'000, 3)));
  sent.push_back(bytes_of(encode_ping(kEpoch)));
  for (const std::vector<uint8_t>& frame : sent) all.insert(all.end(), frame.begin(), frame.end());
  for (unsigned seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    FrameChannel channel;
    std::vector<FrameChannel::Frame> received;
    size_t at = 0;
    while (at < all.size()) {
      const FrameChannel::Window window = channel.receive_target();
      REQUIRE(window.bytes > 0);
      const size_t most = seed % 2 == 0 ? 97 : 300'000;
      const size_t count = std::min({window.bytes, all.size() - at, 1 + random() % most});
      std::memcpy(window.data, all.data() + at, count);
      channel.received(count);
      at += count;
      for (;;) {
        Result<std::optional<FrameChannel::Frame>> frame = channel.next();
        REQUIRE(frame.ok());
        if (!frame->has_value()) break;
        received.push_back(std::move(**frame));
      }
    }
    REQUIRE(received.size() == sent.size());
    for (size_t index = 0; index < sent.size(); ++index)
      CHECK(std::equal(sent[index].begin(), sent[index].end(), received[index].bytes.data,
                       received[index].bytes.data + received[index].bytes.size));
  }
}
