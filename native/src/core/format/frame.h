// Frames of the update streams between engines (docs/wire-protocol.md): small fixed fields around the log's own runs.
// Decoders check every length before they use it; the bytes come from another host.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/checksum.h"
#include "core/base/effects.h"
#include "core/base/error.h"
#include "core/base/ids.h"
#include "core/format/superblock.h"

namespace cloudfs {

constexpr uint16_t kStreamVersion = 1;
constexpr size_t kFrameHeaderBytes = 40;
/// Longest frame; a batch's worth of runs and more. A longer one ends the connection before anything is allocated.
constexpr uint32_t kFrameBytesMax = (16u << 20) + (64u << 10);

enum class FrameType : uint8_t {
  hello = 1,
  runs = 2,
  commit = 3,
  ack = 4,
  fetch = 5,
  refuse = 6,
  compact = 7,
  blocks = 8,
  compacted = 9,
  ping = 10,
  want_blocks = 11,
  lease_ask = 12,
  lease_grant = 13,
  block_ask = 14,
  block_answer = 15,
  hand = 16,
};

/// Flag of `runs`: the sender wants them acknowledged as synced soon.
constexpr uint8_t kFrameSync = 1;
/// Of runs from the log, whose digests the sender has not checked.
constexpr uint8_t kFrameUnchecked = 2;
/// Flag of `runs`: without their bodies, to a witness or of one.
constexpr uint8_t kFrameHeaders = 4;
/// Flag of `ack`: its sender is recovering; it holds this, and it counts for nothing.
constexpr uint8_t kFrameRecovering = 1;
/// Flag of `hand`: its sender has promised what it names, on disk.
constexpr uint8_t kFrameOnDisk = 1;

struct FrameHeader {
  uint32_t frame_bytes = 0;
  FrameType type = FrameType::ping;
  uint8_t flags = 0;
  Epoch epoch;
};

/// Where somebody stands in a volume's history: nothing at all if `has_volume` is false.
struct Position {
  Lsn lsn = 0;
  Epoch epoch;  // of the record at `lsn`
  VersionId version;
  bool operator==(const Position&) const = default;
};

struct HelloFrame {
  uint16_t protocol_version = kStreamVersion;
  uint16_t format_version = static_cast<uint16_t>(kFormatVersion);
  HostId host;
  StoreId store;
  VolumeId volume;
  Position head;
  Lsn commit_lsn = 0;
  Lsn synced_lsn = 0;
  bool has_volume = false;
  bool operator==(const HelloFrame&) const = default;
};

/// Of `runs` only what stands before the runs.
struct RunsFrame {
  Lsn commit_lsn = 0;
  ByteSpan runs;  // run, its bodies, run, its bodies, …
};
struct CommitFrame {
  Lsn commit_lsn = 0;
  Lsn sync_lsn = 0;    // 0 = no wish
  Lsn shared_lsn = 0;  // what the receiver holds up to here is the sender's history
};
struct AckFrame {
  Lsn appended_lsn = 0;
  Lsn synced_lsn = 0;
};
struct FetchFrame {
  Lsn after_lsn = 0;
};
struct RefuseFrame {
  std::string code;
  std::string message;
};
/// A named snapshot, as a volume's description lists it.
struct SnapshotItem {
  Lsn lsn = 0;
  VersionId version;
  uint64_t size_bytes = 0;
  std::string name;
  bool operator==(const SnapshotItem&) const = default;
};
struct CompactFrame {
  Lsn from_lsn = 0;
  Lsn to_lsn = 0;
  uint64_t size_bytes = 0;
  ByteSpan volume;                      // as a checkpoint has it
  std::vector<SnapshotItem> snapshots;  // all it has, by lsn
};
/// A data block, or with `zeroed_count` > 0 that many blocks zeroed by the update `birth`. Whoever gets a data block makes its
/// digest of the bytes that have the crc, as its sender would have to.
struct BlockItem {
  uint64_t block = 0;
  Lsn birth = 0;
  uint32_t zeroed_count = 0;
  uint32_t crc = 0;
  bool operator==(const BlockItem&) const = default;
};
struct BlocksFrame {
  std::vector<BlockItem> items;
  ByteSpan bodies;  // of the data blocks, in order
};
struct CompactedFrame {
  Lsn to_lsn = 0;
  VersionId version;
};

struct LeaseAskFrame {
  uint64_t asked_ns = 0;  // by the asker's clock; the answer repeats it
};
/// A volume whose lease the answerer gives, or gives no more, from this answer on.
struct LeaseChange {
  VolumeId volume;
  Epoch epoch;
  bool granted = false;
  bool operator==(const LeaseChange&) const = default;
};
struct LeaseGrantFrame {
  uint64_t asked_ns = 0;
  bool is_whole = false;  // what is not named is not granted
  std::vector<LeaseChange> changes;
};

/// Names a block so that nobody takes another version of it for it: (birth_epoch, birth) is the update that wrote it.
struct BlockName {
  uint64_t block = 0;
  Lsn birth = 0;
  Epoch birth_epoch;  // zero: born before the volume began, in what it was branched from
  uint32_t crc = 0;
  bool operator==(const BlockName&) const = default;
};
/// The sender's copy of a block is bad.
struct BlockAskFrame {
  uint64_t ask = 0;  // chosen by the asker; the answer repeats it
  BlockName name;
};
enum class BlockAnswer : uint8_t {
  here = 0,
  later = 1,    // it may come here, or be repaired here: ask again
  nowhere = 2,  // this host has no good copy
};
struct BlockAnswerFrame {
  uint64_t ask = 0;
  BlockAnswer answer = BlockAnswer::nowhere;
  BlockName name;
  BlockDigest digest{};  // made anew of the bytes; zero where there are none
  ByteSpan bytes;        // the block, or nothing
};

/// The primary has resigned in favour of the host of `next`: from now on it makes, confirms and reads nothing in its epoch.
struct HandFrame {
  Epoch next;
  Position head;   // it is drained: who has this has everything
  Stamp masked{};  // of the head's view; hidden by bytes that the two hosts alone know
};

// Encoders give everything up to the bodies; for `runs` and `blocks` the caller sends those behind it.
BufferRef encode_hello(const Epoch& epoch, const HelloFrame& frame);
BufferRef encode_runs(const Epoch& epoch, uint8_t flags, Lsn commit_lsn, uint32_t runs_bytes);
BufferRef encode_commit(const Epoch& epoch, const CommitFrame& frame);
BufferRef encode_ack(const Epoch& epoch, const AckFrame& frame, uint8_t flags = 0);
BufferRef encode_fetch(const Epoch& epoch, const FetchFrame& frame);
/// Code and message are cut to 63 and 1000 bytes.
BufferRef encode_refuse(const Epoch& epoch, const RefuseFrame& frame);
BufferRef encode_compact(const Epoch& epoch, const CompactFrame& frame);
BufferRef encode_blocks(const Epoch& epoch, std::span<const BlockItem> items);
BufferRef encode_compacted(const Epoch& epoch, const CompactedFrame& frame);
BufferRef encode_ping(const Epoch& epoch);
BufferRef encode_want_blocks(const Epoch& epoch);
BufferRef encode_lease_ask(const Epoch& epoch, const LeaseAskFrame& frame);
BufferRef encode_lease_grant(const Epoch& epoch, const LeaseGrantFrame& frame);
BufferRef encode_block_ask(const Epoch& epoch, const BlockAskFrame& frame);
BufferRef encode_block_answer(const Epoch& epoch, const BlockAnswerFrame& frame);
BufferRef encode_hand(const Epoch& epoch, uint8_t flags, const HandFrame& frame);

/// The header alone (kFrameHeaderBytes), its bounds checked but not its crc: how much to receive.
Result<FrameHeader> peek_frame(ByteSpan header);

/// A whole frame, checked: its header, and its payload for the decoders below. ERR_FRAME_CORRUPT.
struct FrameView {
  FrameHeader header;
  ByteSpan payload;
};
Result<FrameView> decode_frame(ByteSpan frame);

// Each expects a frame of its type. ERR_FRAME_CORRUPT.
Result<HelloFrame> decode_hello(const FrameView& frame);
Result<RunsFrame> decode_runs(const FrameView& frame);
Result<CommitFrame> decode_commit(const FrameView& frame);
Result<AckFrame> decode_ack(const FrameView& frame);
Result<FetchFrame> decode_fetch(const FrameView& frame);
Result<RefuseFrame> decode_refuse(const FrameView& frame);
Result<CompactFrame> decode_compact(const FrameView& frame);
Result<BlocksFrame> decode_blocks(const FrameView& frame);
Result<CompactedFrame> decode_compacted(const FrameView& frame);
Result<LeaseAskFrame> decode_lease_ask(const FrameView& frame);
Result<LeaseGrantFrame> decode_lease_grant(const FrameView& frame);
Result<BlockAskFrame> decode_block_ask(const FrameView& frame);
Result<BlockAnswerFrame> decode_block_answer(const FrameView& frame);
Result<HandFrame> decode_hand(const FrameView& frame);

}  // namespace cloudfs
