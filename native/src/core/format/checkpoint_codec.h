// The checkpoint's sections <-> bytes (docs/disk-format.md, Checkpoint). Plain values; what they mean is in
// docs/core.md. Decoding allocates no more than the bytes it was given account for.
#pragma once

#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/base/ids.h"
#include "core/format/payload.h"
#include "core/format/run.h"
#include "core/format/segment_header.h"

namespace cloudfs {

enum class SegmentState : uint8_t { open = 1, sealed = 2, free = 3 };

constexpr uint8_t kNodeHead = 1;
constexpr uint8_t kNodeNamed = 2;
constexpr uint8_t kNodeHidden = 4;
constexpr uint8_t kNodeRemains = 8;
constexpr uint8_t kVolumeDeleted = 1;
constexpr uint8_t kMapHeightMax = 7;  // levels 0 to 6: 256^7 blocks, more than the largest volume has

struct CheckpointStore {
  uint32_t next_logical = 0;
  uint64_t next_sequence = 0;
  uint64_t replay_sequence = 0;
  uint64_t next_node = 0;
  bool operator==(const CheckpointStore&) const = default;
};

struct CheckpointRange {
  VolumeId volume;
  Lsn first = 0;
  Lsn last = 0;
  bool operator==(const CheckpointRange&) const = default;
};

struct CheckpointSegment {
  uint32_t physical = 0;
  uint32_t logical = 0;
  SegmentKind kind{};  // of a free segment: as it was, 0 if it was never open
  SegmentState state = SegmentState::free;
  uint32_t used_bytes = 0;
  uint64_t first_sequence = 0;
  uint64_t last_sequence = 0;
  std::vector<uint8_t> live;  // bitmap; the encoder leaves trailing zero bytes out
  std::vector<CheckpointRange> ranges;
  bool operator==(const CheckpointSegment&) const = default;
};

/// A subtree that a version dropped whole, or a dead-list page (level 0).
struct CheckpointTree {
  Entry entry;
  uint8_t level = 0;
  bool operator==(const CheckpointTree&) const = default;
};

struct CheckpointNode {
  uint64_t id = 0;
  uint64_t parent = 0;
  Lsn lsn = 0;
  uint8_t flags = 0;
  uint8_t height = 0;
  Entry root;
  VolumeId volume;
  VersionId public_id;
  uint64_t size_bytes = 0;
  std::string name;
  std::vector<CheckpointTree> dead_trees;
  std::vector<Entry> dead_tail;  // fewer than 256
  bool operator==(const CheckpointNode&) const = default;
};

struct CheckpointEpoch {
  Epoch epoch;
  Lsn first_lsn = 0;
  bool operator==(const CheckpointEpoch&) const = default;
};

struct CheckpointSession {
  SessionId session{};
  uint64_t last_sequence = 0;
  bool operator==(const CheckpointSession&) const = default;
};

struct CheckpointVolume {
  VolumeId id;
  uint64_t head_node = 0;
  uint64_t size_bytes = 0;
  Mode mode = Mode::quorum;
  uint8_t flags = 0;
  std::string name;
  Lsn applied_lsn = 0;
  VersionId applied_public;
  std::vector<uint8_t> applied_link;  // of the applied record (chain.h): with the stamp it gives the token
  std::vector<CheckpointEpoch> epochs;
  std::vector<uint8_t> view;  // payloads as stored
  std::vector<uint8_t> create;
  std::vector<uint8_t> attach;  // of the newest attach record, empty without one
  std::vector<CheckpointSession> sessions;
  bool operator==(const CheckpointVolume&) const = default;
};

struct CheckpointForward {
  uint16_t from_slot = 0;
  uint16_t to_slot = 0;
  uint32_t to_segment = 0;
  bool operator==(const CheckpointForward&) const = default;
};

struct CheckpointForwards {
  uint32_t logical = 0;
  std::vector<CheckpointForward> entries;  // by from_slot, ascending
  bool operator==(const CheckpointForwards&) const = default;
};

struct CheckpointLocal {
  VolumeId volume;
  Epoch epoch;
  LocalKind kind{};
  std::vector<uint8_t> bytes;
  bool operator==(const CheckpointLocal&) const = default;
};

struct Checkpoint {
  CheckpointStore store;
  std::vector<CheckpointSegment> segments;
  std::vector<CheckpointNode> nodes;
  std::vector<CheckpointVolume> volumes;
  std::vector<CheckpointForwards> forwards;
  std::vector<CheckpointLocal> locals;
  bool operator==(const Checkpoint&) const = default;
};

/// One volume's item of section 4: how a volume is described to a replica that gets its blocks instead of its records.
std::vector<uint8_t> encode_checkpoint_volume(const CheckpointVolume& volume);
Result<CheckpointVolume> decode_checkpoint_volume(ByteSpan bytes);

/// The blob: all six sections in the order of their types.
std::vector<uint8_t> encode_checkpoint(const Checkpoint& checkpoint);

/// `bytes` is the blob without the padding of its last page. Fails with ERR_CHECKPOINT_CORRUPT.
Result<Checkpoint> decode_checkpoint(ByteSpan bytes);

}  // namespace cloudfs
