#include "core/format/checkpoint_codec.h"

#include <bit>
#include <limits>

#include "core/format/chain.h"
#include "core/format/entry.h"

namespace cloudfs {

namespace {

constexpr uint32_t kSectionCount = 6;
constexpr size_t kSectionHeaderBytes = 16;
constexpr size_t kLiveBytesMax = 2048;  // a bit for each block of the largest segment
constexpr size_t kDeadTailMax = kPageEntries - 1;

// Fixed parts of list items: what one of them costs at least, asked before room for a list is allocated.
constexpr size_t kSegmentBytesMin = 36;
constexpr size_t kRangeBytes = kIdBytes + 16;
constexpr size_t kNodeBytesMin = 98;
constexpr size_t kTreeBytes = 20;
constexpr size_t kVolumeBytesMin = 101;
constexpr size_t kEpochBytes = 8 + kIdBytes + 8;
constexpr size_t kSessionBytes = 24;
constexpr size_t kForwardsBytesMin = 8;
constexpr size_t kForwardBytes = 8;
constexpr size_t kLocalBytesMin = 56;

/// Counts and lengths are as wide as the format says; more than that is a bug of whoever froze the tables.
template <class Count>
Count narrow(size_t count) {
  ensure(count <= std::numeric_limits<Count>::max(), "a checkpoint's counts fit their fields");
  return static_cast<Count>(count);
}

/// Reads a list: `count` items of at least `item_bytes_min`, each by read(reader).
template <class Read>
auto read_list(ByteReader& reader, uint64_t count, size_t item_bytes_min, Read read) {
  std::vector<decltype(read(reader))> items;
  if (!reader.can_hold(count, item_bytes_min)) return items;
  items.reserve(static_cast<size_t>(count));
  for (uint64_t index = 0; index < count && reader.ok(); ++index) items.push_back(read(reader));
  return items;
}

std::vector<uint8_t> read_bytes(ByteReader& reader, uint64_t count) {
  const ByteSpan bytes = reader.bytes(count);
  return {bytes.begin(), bytes.end()};
}

std::string read_name(ByteReader& reader, uint64_t count) {
  const ByteSpan bytes = reader.bytes(count);
  reader.require(is_utf8(bytes));
  return std::string(as_text(bytes));
}

Lsn read_lsn(ByteReader& reader) {
  const Lsn lsn = reader.u64();
  reader.require(lsn <= kLsnMax);
  return lsn;
}

Entry read_entry(ByteReader& reader) {
  const ByteSpan bytes = reader.bytes(kEntryBytes);
  if (bytes.empty()) return {};
  const Entry entry = load_entry(bytes.data());
  reader.require(entry_valid(entry));
  return entry;
}

void write_entry(ByteWriter& writer, const Entry& entry) {
  ensure(entry_valid(entry), "a checkpoint's entries are valid");
  uint8_t bytes[kEntryBytes];
  store_entry(bytes, entry);
  writer.bytes(bytes);
}

Epoch read_epoch(ByteReader& reader) {
  Epoch epoch;
  epoch.counter = read_lsn(reader);
  epoch.host = reader.id<HostId>();
  return epoch;
}

void write_epoch(ByteWriter& writer, const Epoch& epoch) {
  writer.u64(epoch.counter);
  writer.id(epoch.host);
}

// Section 1: store.

void write_store(ByteWriter& writer, const CheckpointStore& store) {
  writer.u32(store.next_logical);
  writer.u32(0);
  writer.u64(store.next_sequence);
  writer.u64(store.replay_sequence);
  writer.u64(store.next_node);
}

CheckpointStore read_store(ByteReader& reader) {
  CheckpointStore store;
  store.next_logical = reader.u32();
  reader.zeros(4);
  store.next_sequence = reader.u64();
  store.replay_sequence = reader.u64();
  store.next_node = reader.u64();
  return store;
}

// Section 2: segments.

void write_segment(ByteWriter& writer, const CheckpointSegment& segment) {
  size_t live_bytes = segment.live.size();
  while (live_bytes > 0 && segment.live[live_bytes - 1] == 0) --live_bytes;
  ensure(live_bytes <= kLiveBytesMax, "a bitmap is that of a segment");
  writer.u32(segment.physical);
  writer.u32(segment.logical);
  writer.u8(static_cast<uint8_t>(segment.kind));
  writer.u8(static_cast<uint8_t>(segment.state));
  writer.u16(0);
  writer.u32(segment.used_bytes);
  writer.u64(segment.first_sequence);
  writer.u64(segment.last_sequence);
  writer.u16(narrow<uint16_t>(live_bytes));
  writer.bytes(ByteSpan(segment.live).first(live_bytes));
  writer.u16(narrow<uint16_t>(segment.ranges.size()));
  for (const CheckpointRange& range : segment.ranges) {
    writer.id(range.volume);
    writer.u64(range.first);
    writer.u64(range.last);
  }
}

CheckpointSegment read_segment(ByteReader& reader) {
  CheckpointSegment segment;
  segment.physical = reader.u32();
  segment.logical = reader.u32();
  const uint8_t kind = reader.u8();
  const uint8_t state = reader.u8();
  reader.require(state >= 1 && state <= 3);
  segment.kind = static_cast<SegmentKind>(kind);
  segment.state = static_cast<SegmentState>(state);
  reader.require(kind <= 3 && (kind != 0 || segment.state == SegmentState::free));
  reader.zeros(2);
  segment.used_bytes = reader.u32();
  segment.first_sequence = reader.u64();
  segment.last_sequence = reader.u64();
  segment.live = read_bytes(reader, reader.u16());
  reader.require(segment.live.size() <= kLiveBytesMax && (segment.live.empty() || segment.live.back() != 0));
  segment.ranges = read_list(reader, reader.u16(), kRangeBytes, [](ByteReader& in) {
    CheckpointRange range;
    range.volume = in.id<VolumeId>();
    range.first = read_lsn(in);
    range.last = read_lsn(in);
    return range;
  });
  return segment;
}

// Section 3: nodes.

void write_node(ByteWriter& writer, const CheckpointNode& node) {
  ensure(node.dead_tail.size() <= kDeadTailMax, "a full dead-list page is stored before the checkpoint");
  writer.u64(node.id);
  writer.u64(node.parent);
  writer.u64(node.lsn);
  writer.u8(node.flags);
  writer.u8(node.height);
  writer.u8(narrow<uint8_t>(node.name.size()));
  writer.u8(0);
  write_entry(writer, node.root);
  writer.id(node.volume);
  writer.id(node.public_id);
  writer.u64(node.size_bytes);
  writer.bytes(as_bytes(node.name));
  writer.u32(narrow<uint32_t>(node.dead_trees.size()));
  for (const CheckpointTree& tree : node.dead_trees) {
    write_entry(writer, tree.entry);
    writer.u8(tree.level);
    writer.zeros(3);
  }
  writer.u16(narrow<uint16_t>(node.dead_tail.size()));
  for (const Entry& dead : node.dead_tail) write_entry(writer, dead);
}

CheckpointNode read_node(ByteReader& reader) {
  CheckpointNode node;
  node.id = reader.u64();
  node.parent = reader.u64();
  node.lsn = read_lsn(reader);
  node.flags = reader.u8();
  reader.require(std::has_single_bit(node.flags) && node.flags <= kNodeRemains);
  node.height = reader.u8();
  reader.require(node.height <= kMapHeightMax);
  const uint8_t name_bytes = reader.u8();
  reader.zeros(1);
  node.root = read_entry(reader);
  node.volume = reader.id<VolumeId>();
  node.public_id = reader.id<VersionId>();
  node.size_bytes = reader.u64();
  reader.require(volume_bytes_valid(node.size_bytes));
  node.name = read_name(reader, name_bytes);
  node.dead_trees = read_list(reader, reader.u32(), kTreeBytes, [](ByteReader& in) {
    CheckpointTree tree;
    tree.entry = read_entry(in);
    tree.level = in.u8();
    in.require(tree.level < kMapHeightMax);
    in.zeros(3);
    return tree;
  });
  const uint16_t tail_count = reader.u16();
  reader.require(tail_count <= kDeadTailMax);
  node.dead_tail = read_list(reader, tail_count, kEntryBytes, read_entry);
  return node;
}

// Section 4: volumes.

void write_volume(ByteWriter& writer, const CheckpointVolume& volume) {
  writer.id(volume.id);
  writer.u64(volume.head_node);
  writer.u64(volume.size_bytes);
  writer.u8(static_cast<uint8_t>(volume.mode));
  writer.u8(volume.flags);
  writer.u8(narrow<uint8_t>(volume.name.size()));
  writer.u8(0);
  writer.bytes(as_bytes(volume.name));
  writer.u64(volume.applied_lsn);
  writer.id(volume.applied_public);
  writer.u32(narrow<uint32_t>(volume.applied_link.size()));
  writer.bytes(volume.applied_link);
  writer.u16(narrow<uint16_t>(volume.epochs.size()));
  for (const CheckpointEpoch& epoch : volume.epochs) {
    write_epoch(writer, epoch.epoch);
    writer.u64(epoch.first_lsn);
  }
  writer.u32(narrow<uint32_t>(volume.view.size()));
  writer.bytes(volume.view);
  writer.u32(narrow<uint32_t>(volume.create.size()));
  writer.bytes(volume.create);
  writer.u32(narrow<uint32_t>(volume.attach.size()));
  writer.bytes(volume.attach);
  writer.u16(narrow<uint16_t>(volume.sessions.size()));
  for (const CheckpointSession& session : volume.sessions) {
    writer.bytes(session.session);
    writer.u64(session.last_sequence);
  }
}

CheckpointVolume read_volume(ByteReader& reader) {
  CheckpointVolume volume;
  volume.id = reader.id<VolumeId>();
  volume.head_node = reader.u64();
  volume.size_bytes = reader.u64();
  reader.require(volume_bytes_valid(volume.size_bytes));
  const uint8_t mode = reader.u8();
  reader.require(mode >= 1 && mode <= 3);
  volume.mode = static_cast<Mode>(mode);
  volume.flags = reader.u8();
  reader.require((volume.flags & ~kVolumeDeleted) == 0);
  const uint8_t name_bytes = reader.u8();
  reader.zeros(1);
  volume.name = read_name(reader, name_bytes);
  volume.applied_lsn = read_lsn(reader);
  volume.applied_public = reader.id<VersionId>();
  volume.applied_link = read_bytes(reader, reader.u32());
  reader.require(volume.applied_link.size() >= kLinkBytesMin &&
                 link_lsn(volume.applied_link) == volume.applied_lsn);
  volume.epochs = read_list(reader, reader.u16(), kEpochBytes, [](ByteReader& in) {
    CheckpointEpoch epoch;
    epoch.epoch = read_epoch(in);
    epoch.first_lsn = read_lsn(in);
    return epoch;
  });
  volume.view = read_bytes(reader, reader.u32());
  volume.create = read_bytes(reader, reader.u32());
  volume.attach = read_bytes(reader, reader.u32());
  volume.sessions = read_list(reader, reader.u16(), kSessionBytes, [](ByteReader& in) {
    CheckpointSession session;
    session.session = in.array<16>();
    session.last_sequence = in.u64();
    return session;
  });
  return volume;
}

// Section 5: forwards.

void write_forwards(ByteWriter& writer, const CheckpointForwards& forwards) {
  writer.u32(forwards.logical);
  writer.u32(narrow<uint32_t>(forwards.entries.size()));
  for (const CheckpointForward& forward : forwards.entries) {
    writer.u16(forward.from_slot);
    writer.u16(forward.to_slot);
    writer.u32(forward.to_segment);
  }
}

CheckpointForwards read_forwards(ByteReader& reader) {
  CheckpointForwards forwards;
  forwards.logical = reader.u32();
  int last_slot = -1;
  forwards.entries = read_list(reader, reader.u32(), kForwardBytes, [&last_slot](ByteReader& in) {
    CheckpointForward forward;
    forward.from_slot = in.u16();
    forward.to_slot = in.u16();
    forward.to_segment = in.u32();
    in.require(forward.from_slot > last_slot);
    last_slot = forward.from_slot;
    return forward;
  });
  return forwards;
}

// Section 6: local items.

void write_local(ByteWriter& writer, const CheckpointLocal& local) {
  ensure(local_item_valid(local.kind, local.bytes), "a local item has the length of its kind");
  writer.id(local.volume);
  write_epoch(writer, local.epoch);
  writer.u16(static_cast<uint16_t>(local.kind));
  writer.u16(0);
  writer.u32(narrow<uint32_t>(local.bytes.size()));
  writer.bytes(local.bytes);
}

CheckpointLocal read_local(ByteReader& reader) {
  CheckpointLocal local;
  local.volume = reader.id<VolumeId>();
  local.epoch = read_epoch(reader);
  local.kind = static_cast<LocalKind>(reader.u16());
  reader.zeros(2);
  local.bytes = read_bytes(reader, reader.u32());
  reader.require(reader.ok() && local_item_valid(local.kind, local.bytes));
  return local;
}

template <class Item, class Write>
void write_items(ByteWriter& writer, const std::vector<Item>& items, Write write) {
  writer.u32(narrow<uint32_t>(items.size()));
  for (const Item& item : items) write(writer, item);
}

/// Section header, then what write(writer) appends.
template <class Write>
void write_section(ByteWriter& writer, uint32_t type, Write write) {
  writer.u32(type);
  writer.u32(0);
  const size_t length_at = writer.size();
  writer.u64(0);
  write(writer);
  store(writer.at(length_at), uint64_t{writer.size() - length_at - 8});
}

void read_section(ByteReader& reader, uint32_t type, Checkpoint& checkpoint) {
  switch (type) {
    case 1:
      checkpoint.store = read_store(reader);
      break;
    case 2:
      checkpoint.segments = read_list(reader, reader.u32(), kSegmentBytesMin, read_segment);
      break;
    case 3:
      checkpoint.nodes = read_list(reader, reader.u32(), kNodeBytesMin, read_node);
      break;
    case 4:
      checkpoint.volumes = read_list(reader, reader.u32(), kVolumeBytesMin, read_volume);
      break;
    case 5:
      checkpoint.forwards = read_list(reader, reader.u32(), kForwardsBytesMin, read_forwards);
      break;
    default:
      checkpoint.locals = read_list(reader, reader.u32(), kLocalBytesMin, read_local);
      break;
  }
}

}  // namespace

std::vector<uint8_t> encode_checkpoint(const Checkpoint& checkpoint) {
  ByteWriter writer;
  write_section(writer, 1, [&](ByteWriter& out) { write_store(out, checkpoint.store); });
  write_section(writer, 2, [&](ByteWriter& out) { write_items(out, checkpoint.segments, write_segment); });
  write_section(writer, 3, [&](ByteWriter& out) { write_items(out, checkpoint.nodes, write_node); });
  write_section(writer, 4, [&](ByteWriter& out) { write_items(out, checkpoint.volumes, write_volume); });
  write_section(writer, 5, [&](ByteWriter& out) { write_items(out, checkpoint.forwards, write_forwards); });
  write_section(writer, 6, [&](ByteWriter& out) { write_items(out, checkpoint.locals, write_local); });
  return writer.take();
}

Result<Checkpoint> decode_checkpoint(ByteSpan bytes) {
  Checkpoint checkpoint;
  ByteReader reader(bytes);
  for (uint32_t type = 1; type <= kSectionCount; ++type) {
    const size_t header_at = reader.offset();
    reader.require(reader.u32() == type);
    reader.zeros(4);
    const ByteSpan section = reader.bytes(reader.u64());
    if (!reader.ok())
      return DecodeError{ErrorCode::checkpoint_corrupt, "a section is missing or cut off", header_at};
    ByteReader section_reader(section);
    read_section(section_reader, type, checkpoint);
    section_reader.require(section_reader.remaining() == 0);
    if (!section_reader.ok())
      return DecodeError{ErrorCode::checkpoint_corrupt, "a section is not valid",
                         header_at + kSectionHeaderBytes + section_reader.offset()};
  }
  if (reader.remaining() != 0)
    return DecodeError{ErrorCode::checkpoint_corrupt, "bytes follow the last section", reader.offset()};
  return checkpoint;
}

std::vector<uint8_t> encode_checkpoint_volume(const CheckpointVolume& volume) {
  ByteWriter writer;
  write_volume(writer, volume);
  return writer.take();
}

Result<CheckpointVolume> decode_checkpoint_volume(ByteSpan bytes) {
  ByteReader reader(bytes);
  CheckpointVolume volume = read_volume(reader);
  if (!reader.ok() || reader.remaining() != 0)
    return DecodeError{ErrorCode::checkpoint_corrupt, "a malformed description of a volume", reader.offset()};
  return volume;
}

}  // namespace cloudfs
