#include "core/format/frame.h"

#include <algorithm>

namespace cloudfs {

namespace {

constexpr size_t kCrcOffset = 36;
constexpr size_t kRunsHeadBytes = 16;
constexpr size_t kBlocksHeadBytes = 8;
constexpr size_t kBlockItemBytes = 24;
constexpr size_t kSnapshotBytesMin = 38;
constexpr size_t kRefuseCodeMax = 63;
constexpr size_t kRefuseMessageMax = 1000;

DecodeError corrupt(const char* message, uint64_t offset = 0) {
  return {ErrorCode::frame_corrupt, message, offset};
}

/// crc of the header before its own field, then of the payload's head.
uint32_t frame_crc(ByteSpan header, ByteSpan head) {
  return crc32c(head, crc32c(header.first(kCrcOffset)));
}

BufferRef finish(const Epoch& epoch, FrameType type, uint8_t flags, ByteWriter& head, uint64_t tail_bytes) {
  const std::vector<uint8_t> payload = head.take();
  const uint64_t total = kFrameHeaderBytes + payload.size() + tail_bytes;
  ensure(total <= kFrameBytesMax, "a frame made here is within the limit");
  BufferRef frame(kFrameHeaderBytes + payload.size());
  uint8_t* at = frame.data();
  store(at, static_cast<uint32_t>(total));
  at[4] = static_cast<uint8_t>(type);
  at[5] = flags;
  store(at + 6, uint16_t{0});
  store(at + 8, epoch.counter);
  store_id(at + 16, epoch.host);
  store(at + kCrcOffset, frame_crc({at, kFrameHeaderBytes}, payload));
  if (!payload.empty()) std::memcpy(at + kFrameHeaderBytes, payload.data(), payload.size());
  return frame;
}

/// Bytes of the payload that the frame's crc covers; nullopt if the payload is too short to tell.
std::optional<size_t> head_bytes(FrameType type, ByteSpan payload) {
  if (type == FrameType::runs) {
    if (payload.size() < kRunsHeadBytes) return std::nullopt;
    return kRunsHeadBytes;
  }
  if (type == FrameType::blocks) {
    if (payload.size() < kBlocksHeadBytes) return std::nullopt;
    const uint64_t bytes = kBlocksHeadBytes + uint64_t{load<uint32_t>(payload.data())} * kBlockItemBytes;
    if (bytes > payload.size()) return std::nullopt;
    return static_cast<size_t>(bytes);
  }
  return payload.size();
}

void put_name(ByteWriter& out, const BlockName& name) {
  out.u64(name.block);
  out.u64(name.birth);
  out.u64(name.birth_epoch.counter);
  out.id(name.birth_epoch.host);
  out.u32(name.crc);
}

BlockName take_name(ByteReader& in) {
  BlockName name;
  name.block = in.u64();
  name.birth = in.u64();
  in.require(name.birth <= kLsnMax);
  name.birth_epoch.counter = in.u64();
  in.require(name.birth_epoch.counter <= kLsnMax);
  name.birth_epoch.host = in.id<HostId>();
  name.crc = in.u32();
  return name;
}

/// Ends a decoder of fixed fields: all read, nothing behind them.
template <class Frame>
Result<Frame> all_read(const ByteReader& reader, const Frame& frame, const char* message) {
  if (!reader.ok() || reader.remaining() != 0) return corrupt(message, kFrameHeaderBytes + reader.offset());
  return frame;
}

}  // namespace

BufferRef encode_hello(const Epoch& epoch, const HelloFrame& frame) {
  ByteWriter out;
  out.u16(frame.protocol_version);
  out.u16(frame.format_version);
  out.u32(0);
  out.id(frame.host);
  out.id(frame.store);
  out.id(frame.volume);
  out.u64(frame.head.lsn);
  out.u64(frame.head.epoch.counter);
  out.id(frame.head.epoch.host);
  out.id(frame.head.version);
  out.u64(frame.commit_lsn);
  out.u64(frame.synced_lsn);
  out.u8(frame.has_volume ? 1 : 0);
  out.zeros(7);
  return finish(epoch, FrameType::hello, 0, out, 0);
}

BufferRef encode_runs(const Epoch& epoch, uint8_t flags, Lsn commit_lsn, uint32_t runs_bytes) {
  ByteWriter out;
  out.u64(commit_lsn);
  out.u32(runs_bytes);
  out.u32(0);
  return finish(epoch, FrameType::runs, flags, out, runs_bytes);
}

BufferRef encode_commit(const Epoch& epoch, const CommitFrame& frame) {
  ByteWriter out;
  out.u64(frame.commit_lsn);
  out.u64(frame.sync_lsn);
  out.u64(frame.shared_lsn);
  return finish(epoch, FrameType::commit, 0, out, 0);
}

BufferRef encode_ack(const Epoch& epoch, const AckFrame& frame, uint8_t flags) {
  ByteWriter out;
  out.u64(frame.appended_lsn);
  out.u64(frame.synced_lsn);
  return finish(epoch, FrameType::ack, flags, out, 0);
}

BufferRef encode_fetch(const Epoch& epoch, const FetchFrame& frame) {
  ByteWriter out;
  out.u64(frame.after_lsn);
  return finish(epoch, FrameType::fetch, 0, out, 0);
}

BufferRef encode_refuse(const Epoch& epoch, const RefuseFrame& frame) {
  ByteWriter out;
  const std::string_view code = std::string_view(frame.code).substr(0, kRefuseCodeMax);
  out.u8(static_cast<uint8_t>(code.size()));
  out.bytes(as_bytes(code));
  out.bytes(as_bytes(std::string_view(frame.message).substr(0, kRefuseMessageMax)));
  return finish(epoch, FrameType::refuse, 0, out, 0);
}

BufferRef encode_compact(const Epoch& epoch, const CompactFrame& frame) {
  ByteWriter out;
  out.u64(frame.from_lsn);
  out.u64(frame.to_lsn);
  out.u64(frame.size_bytes);
  out.u32(static_cast<uint32_t>(frame.volume.size()));
  out.bytes(frame.volume);
  out.u32(static_cast<uint32_t>(frame.snapshots.size()));
  for (const SnapshotItem& snapshot : frame.snapshots) {
    out.u64(snapshot.lsn);
    out.id(snapshot.version);
    out.u64(snapshot.size_bytes);
    out.u8(static_cast<uint8_t>(snapshot.name.size()));
    out.bytes(as_bytes(snapshot.name));
  }
  return finish(epoch, FrameType::compact, 0, out, 0);
}

BufferRef encode_blocks(const Epoch& epoch, std::span<const BlockItem> items) {
  ByteWriter out;
  uint64_t bodies = 0;
  out.u32(static_cast<uint32_t>(items.size()));
  out.u32(0);
  for (const BlockItem& item : items) {
    out.u64(item.block);
    out.u64(item.birth);
    out.u32(item.zeroed_count);
    out.u32(item.crc);
    if (item.zeroed_count == 0) bodies += kBlockBytes;
  }
  return finish(epoch, FrameType::blocks, 0, out, bodies);
}

BufferRef encode_compacted(const Epoch& epoch, const CompactedFrame& frame) {
  ByteWriter out;
  out.u64(frame.to_lsn);
  out.id(frame.version);
  return finish(epoch, FrameType::compacted, 0, out, 0);
}

BufferRef encode_ping(const Epoch& epoch) {
  ByteWriter out;
  return finish(epoch, FrameType::ping, 0, out, 0);
}

BufferRef encode_want_blocks(const Epoch& epoch) {
  ByteWriter out;
  return finish(epoch, FrameType::want_blocks, 0, out, 0);
}

BufferRef encode_lease_ask(const Epoch& epoch, const LeaseAskFrame& frame) {
  ByteWriter out;
  out.u64(frame.asked_ns);
  return finish(epoch, FrameType::lease_ask, 0, out, 0);
}

BufferRef encode_lease_grant(const Epoch& epoch, const LeaseGrantFrame& frame) {
  ByteWriter out;
  out.u64(frame.asked_ns);
  out.u8(frame.is_whole);
  for (const LeaseChange& change : frame.changes) {
    out.id(change.volume);
    out.u64(change.epoch.counter);
    out.id(change.epoch.host);
    out.u8(change.granted);
  }
  return finish(epoch, FrameType::lease_grant, 0, out, 0);
}

BufferRef encode_block_ask(const Epoch& epoch, const BlockAskFrame& frame) {
  ByteWriter out;
  out.u64(frame.ask);
  put_name(out, frame.name);
  return finish(epoch, FrameType::block_ask, 0, out, 0);
}

BufferRef encode_block_answer(const Epoch& epoch, const BlockAnswerFrame& frame) {
  ByteWriter out;
  out.u64(frame.ask);
  out.u8(static_cast<uint8_t>(frame.answer));
  out.zeros(7);
  put_name(out, frame.name);
  out.bytes(frame.digest);
  out.bytes(frame.bytes);
  return finish(epoch, FrameType::block_answer, 0, out, 0);
}

BufferRef encode_hand(const Epoch& epoch, uint8_t flags, const HandFrame& frame) {
  ByteWriter out;
  out.u64(frame.next.counter);
  out.id(frame.next.host);
  out.u64(frame.head.lsn);
  out.u64(frame.head.epoch.counter);
  out.id(frame.head.epoch.host);
  out.id(frame.head.version);
  out.bytes(ByteSpan(frame.masked));
  return finish(epoch, FrameType::hand, flags, out, 0);
}

Result<FrameHeader> peek_frame(ByteSpan bytes) {
  if (bytes.size() < kFrameHeaderBytes) return corrupt("a frame is shorter than its header");
  FrameHeader header;
  header.frame_bytes = load<uint32_t>(bytes.data());
  if (header.frame_bytes < kFrameHeaderBytes || header.frame_bytes > kFrameBytesMax)
    return corrupt("a frame's length is out of bounds");
  const uint8_t type = bytes[4];
  if (type < static_cast<uint8_t>(FrameType::hello) || type > static_cast<uint8_t>(FrameType::hand))
    return corrupt("a frame of unknown type", 4);
  header.type = static_cast<FrameType>(type);
  header.flags = bytes[5];
  const uint8_t known = header.type == FrameType::runs   ? kFrameSync | kFrameUnchecked | kFrameHeaders
                        : header.type == FrameType::ack  ? kFrameRecovering
                        : header.type == FrameType::hand ? kFrameOnDisk
                                                         : 0;
  if ((header.flags & ~known) != 0) return corrupt("unknown frame flags", 5);
  if (load<uint16_t>(bytes.data() + 6) != 0) return corrupt("reserved bytes of a frame are not zero", 6);
  header.epoch.counter = load<uint64_t>(bytes.data() + 8);
  if (header.epoch.counter > kLsnMax) return corrupt("a frame's epoch is out of range", 8);
  header.epoch.host = load_id<HostId>(bytes.data() + 16);
  return header;
}

Result<FrameView> decode_frame(ByteSpan frame) {
  const Result<FrameHeader> header = peek_frame(frame);
  if (!header) return header.error();
  if (frame.size() != header->frame_bytes) return corrupt("a frame's length is not that of its bytes");
  const ByteSpan payload = frame.subspan(kFrameHeaderBytes);
  const std::optional<size_t> head = head_bytes(header->type, payload);
  if (!head) return corrupt("a frame is too short for its type", kFrameHeaderBytes);
  if (load<uint32_t>(frame.data() + kCrcOffset) != frame_crc(frame, payload.first(*head)))
    return corrupt("a frame fails its checksum", kCrcOffset);
  return FrameView{*header, payload};
}

Result<HelloFrame> decode_hello(const FrameView& frame) {
  ByteReader in(frame.payload);
  HelloFrame hello;
  hello.protocol_version = in.u16();
  hello.format_version = in.u16();
  in.zeros(4);
  hello.host = in.id<HostId>();
  hello.store = in.id<StoreId>();
  hello.volume = in.id<VolumeId>();
  hello.head.lsn = in.u64();
  hello.head.epoch.counter = in.u64();
  in.require(hello.head.epoch.counter <= kLsnMax);
  hello.head.epoch.host = in.id<HostId>();
  hello.head.version = in.id<VersionId>();
  hello.commit_lsn = in.u64();
  hello.synced_lsn = in.u64();
  const uint8_t has_volume = in.u8();
  in.require(has_volume <= 1);
  hello.has_volume = has_volume == 1;
  in.zeros(7);
  return all_read(in, hello, "a malformed hello");
}

Result<RunsFrame> decode_runs(const FrameView& frame) {
  ByteReader in(frame.payload);
  RunsFrame runs;
  runs.commit_lsn = in.u64();
  const uint32_t bytes = in.u32();
  in.zeros(4);
  runs.runs = in.bytes(bytes);
  return all_read(in, runs, "malformed runs");
}

Result<CommitFrame> decode_commit(const FrameView& frame) {
  ByteReader in(frame.payload);
  CommitFrame commit;
  commit.commit_lsn = in.u64();
  commit.sync_lsn = in.u64();
  commit.shared_lsn = in.u64();
  return all_read(in, commit, "a malformed commit");
}

Result<AckFrame> decode_ack(const FrameView& frame) {
  ByteReader in(frame.payload);
  AckFrame ack;
  ack.appended_lsn = in.u64();
  ack.synced_lsn = in.u64();
  in.require(ack.synced_lsn <= ack.appended_lsn);
  return all_read(in, ack, "a malformed ack");
}

Result<FetchFrame> decode_fetch(const FrameView& frame) {
  ByteReader in(frame.payload);
  FetchFrame fetch;
  fetch.after_lsn = in.u64();
  return all_read(in, fetch, "a malformed fetch");
}

Result<RefuseFrame> decode_refuse(const FrameView& frame) {
  ByteReader in(frame.payload);
  RefuseFrame refuse;
  const uint8_t code_bytes = in.u8();
  in.require(code_bytes <= kRefuseCodeMax);
  refuse.code = as_text(in.bytes(code_bytes));
  in.require(in.remaining() <= kRefuseMessageMax);
  if (in.ok()) refuse.message = as_text(in.bytes(in.remaining()));
  return all_read(in, refuse, "a malformed refusal");
}

Result<CompactFrame> decode_compact(const FrameView& frame) {
  ByteReader in(frame.payload);
  CompactFrame compact;
  compact.from_lsn = in.u64();
  compact.to_lsn = in.u64();
  compact.size_bytes = in.u64();
  compact.volume = in.bytes(in.u32());
  const uint32_t count = in.u32();
  if (!in.can_hold(count, kSnapshotBytesMin))
    return corrupt("more snapshots than the frame holds", kFrameHeaderBytes);
  compact.snapshots.reserve(count);
  for (uint32_t index = 0; index < count; ++index) {
    SnapshotItem snapshot;
    snapshot.lsn = in.u64();
    snapshot.version = in.id<VersionId>();
    snapshot.size_bytes = in.u64();
    const uint8_t name_bytes = in.u8();
    in.require(name_bytes > 0);
    snapshot.name = as_text(in.bytes(name_bytes));
    compact.snapshots.push_back(std::move(snapshot));
  }
  return all_read(in, compact, "a malformed start of compacted catch-up");
}

Result<BlocksFrame> decode_blocks(const FrameView& frame) {
  ByteReader in(frame.payload);
  BlocksFrame blocks;
  const uint32_t count = in.u32();
  in.zeros(4);
  if (!in.can_hold(count, kBlockItemBytes))
    return corrupt("more blocks than the frame holds", kFrameHeaderBytes);
  blocks.items.reserve(count);
  uint64_t bodies = 0;
  for (uint32_t index = 0; index < count; ++index) {
    BlockItem item;
    item.block = in.u64();
    item.birth = in.u64();
    item.zeroed_count = in.u32();
    item.crc = in.u32();
    if (item.zeroed_count == 0)
      bodies += kBlockBytes;
    else
      in.require(item.crc == 0);
    blocks.items.push_back(item);
  }
  blocks.bodies = in.bytes(bodies);
  return all_read(in, blocks, "malformed blocks");
}

Result<CompactedFrame> decode_compacted(const FrameView& frame) {
  ByteReader in(frame.payload);
  CompactedFrame compacted;
  compacted.to_lsn = in.u64();
  compacted.version = in.id<VersionId>();
  return all_read(in, compacted, "a malformed end of compacted catch-up");
}

Result<LeaseAskFrame> decode_lease_ask(const FrameView& frame) {
  ByteReader in(frame.payload);
  LeaseAskFrame ask;
  ask.asked_ns = in.u64();
  return all_read(in, ask, "a malformed lease question");
}

Result<LeaseGrantFrame> decode_lease_grant(const FrameView& frame) {
  ByteReader in(frame.payload);
  LeaseGrantFrame grant;
  grant.asked_ns = in.u64();
  const uint8_t is_whole = in.u8();
  in.require(is_whole <= 1);
  grant.is_whole = is_whole == 1;
  while (in.ok() && in.remaining() > 0) {
    LeaseChange change;
    change.volume = in.id<VolumeId>();
    change.epoch.counter = in.u64();
    in.require(change.epoch.counter <= kLsnMax);
    change.epoch.host = in.id<HostId>();
    const uint8_t granted = in.u8();
    in.require(granted <= 1);
    change.granted = granted == 1;
    grant.changes.push_back(change);
  }
  return all_read(in, grant, "a malformed lease answer");
}

Result<BlockAskFrame> decode_block_ask(const FrameView& frame) {
  ByteReader in(frame.payload);
  BlockAskFrame ask;
  ask.ask = in.u64();
  ask.name = take_name(in);
  return all_read(in, ask, "a malformed question for a block");
}

Result<BlockAnswerFrame> decode_block_answer(const FrameView& frame) {
  ByteReader in(frame.payload);
  BlockAnswerFrame answer;
  answer.ask = in.u64();
  const uint8_t kind = in.u8();
  in.require(kind <= static_cast<uint8_t>(BlockAnswer::nowhere));
  answer.answer = static_cast<BlockAnswer>(kind);
  in.zeros(7);
  answer.name = take_name(in);
  answer.digest = in.array<16>();
  const bool here = answer.answer == BlockAnswer::here;
  if (!here) in.require(answer.digest == BlockDigest{});
  answer.bytes = in.bytes(here ? kBlockBytes : 0);
  return all_read(in, answer, "a malformed answer about a block");
}

Result<HandFrame> decode_hand(const FrameView& frame) {
  ByteReader in(frame.payload);
  HandFrame hand;
  hand.next.counter = in.u64();
  in.require(hand.next.counter <= kLsnMax);
  hand.next.host = in.id<HostId>();
  hand.head.lsn = in.u64();
  in.require(hand.head.lsn <= kLsnMax);
  hand.head.epoch.counter = in.u64();
  in.require(hand.head.epoch.counter <= kLsnMax);
  hand.head.epoch.host = in.id<HostId>();
  hand.head.version = in.id<VersionId>();
  hand.masked = in.array<32>();
  return all_read(in, hand, "a malformed word of a hand-over");
}

}  // namespace cloudfs
