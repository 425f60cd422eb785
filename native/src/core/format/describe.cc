#include "core/format/describe.h"

#include "core/base/json_writer.h"
#include "core/format/batch.h"
#include "core/format/checkpoint_codec.h"
#include "core/format/payload.h"
#include "core/format/run.h"
#include "core/format/segment_header.h"
#include "core/format/superblock.h"

namespace cloudfs {

namespace {

template <class Enum>
uint64_t number_of(Enum value) {
  return static_cast<uint64_t>(value);
}

void put_entry(JsonWriter& json, std::string_view name, const Entry& entry) {
  json.object(name);
  json.number("segment", entry.segment);
  json.number("slot", entry.slot);
  json.decimal("birth", entry.birth);
  json.number("crc", entry.crc);
  json.end_object();
}

Result<Entry> decode_entry(ByteSpan bytes) {
  if (bytes.size() != kEntryBytes)
    return DecodeError{ErrorCode::entry_corrupt, "an entry has 16 bytes", bytes.size()};
  const Entry entry = load_entry(bytes.data());
  if (!entry_valid(entry))
    return DecodeError{ErrorCode::entry_corrupt, "nothing is stored, yet has a place", 4};
  return entry;
}

void put(JsonWriter& json, const Superblock& superblock) {
  json.object();
  json.number("segmentLog2", superblock.segment_log2);
  json.hex("storeId", superblock.store.bytes);
  json.hex("hostId", superblock.host.bytes);
  json.decimal("generation", superblock.generation);
  json.decimal("sequence", superblock.sequence);
  json.number("segmentLimit", superblock.segment_limit);
  put_entry(json, "checkpoint", superblock.checkpoint);
  json.decimal("checkpointBytes", superblock.checkpoint_bytes);
  json.number("checkpointPhysical", superblock.checkpoint_physical);
  json.number("checkpointHeight", superblock.checkpoint_height);
  json.decimal("starts", superblock.starts);
  json.end_object();
}

void put(JsonWriter& json, const SegmentHeader& header) {
  json.object();
  json.number("logical", header.logical);
  json.hex("storeId", header.store.bytes);
  json.number("physical", header.physical);
  json.decimal("generation", header.generation);
  json.decimal("firstSequence", header.first_sequence);
  json.number("kind", number_of(header.kind));
  json.decimal("start", header.start);
  json.end_object();
}

void put(JsonWriter& json, const RecordView& record) {
  json.object();
  json.number("kind", number_of(record.kind()));
  json.number("flags", record.flags());
  json.decimal("requestSequence", record.request_sequence());
  json.hex("parent", record.parent().bytes);
  if (record.kind() == RecordKind::write) {
    json.array("extents");
    for (size_t index = 0; index < record.extent_count(); ++index) {
      const Extent extent = record.extent(index);
      json.object();
      json.decimal("block", extent.block);
      json.number("kind", number_of(extent.kind));
      json.number("count", extent.count);
      json.end_object();
    }
    json.end_array();
    json.array("blocks");
    for (size_t index = 0; index < record.data_blocks(); ++index) {
      const BlockSum sum = record.block_sum(index);
      json.object();
      json.number("crc", sum.crc);
      json.hex("digest", sum.digest);
      json.end_object();
    }
    json.end_array();
  } else {
    json.hex("payload", record.payload());
  }
  json.end_object();
}

void put(JsonWriter& json, const RunView& run, std::string_view name = {}) {
  const RunHeader& header = run.header();
  json.object(name);
  json.number("type", number_of(header.type));
  json.hex("volume", header.volume.bytes);
  json.hex("epochHost", header.epoch.host.bytes);
  json.decimal("epochCounter", header.epoch.counter);
  json.decimal("firstLsn", header.first_lsn);
  json.decimal("commitLsn", header.commit_lsn);
  json.hex("session", header.session);
  json.hex("lastPublic", header.last_public.bytes);
  if (header.type == RunType::records) {
    json.array("records");
    for (const RecordView record : run.records()) put(json, record);
  } else if (header.type == RunType::moved) {
    json.array("moved");
    for (uint32_t index = 0; index < header.count; ++index) {
      const MovedBlock moved = run.moved_block(index);
      json.object();
      json.decimal("block", moved.block);
      json.decimal("birth", moved.birth);
      json.number("fromSegment", moved.from_segment);
      json.number("fromSlot", moved.from_slot);
      json.number("crc", moved.sum.crc);
      json.hex("digest", moved.sum.digest);
      json.end_object();
    }
  } else {
    json.array("items");
    run.each_local_item([&](const LocalItem& item) {
      json.object();
      json.number("kind", number_of(item.kind));
      json.hex("bytes", item.bytes);
      json.end_object();
    });
  }
  json.end_array();
  json.end_object();
}

void put(JsonWriter& json, const BatchView& batch) {
  json.object();
  json.number("segment", batch.header.segment);
  json.number("offset", batch.header.offset);
  json.decimal("sequence", batch.header.sequence);
  json.decimal("syncedSequence", batch.header.synced_sequence);
  json.number("alignLog2", batch.header.align_log2);
  json.number("kind", number_of(batch.header.kind));
  json.decimal("seal", batch.header.seal);
  json.array("runs");
  for (const BatchRun& placed : batch.runs) {
    json.object();
    json.number("runOffset", placed.run_offset);
    json.number("bodyOffset", placed.body_offset);
    put(json, placed.run, "run");
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

void put(JsonWriter& json, const ViewPayload& view, std::string_view name = {}) {
  json.object(name);
  json.hex("stampHash", view.stamp_hash.bytes);
  json.hex("primary", view.primary.bytes);
  json.number("leaseMs", view.lease_ms);
  json.number("oldStampKnown", view.old_stamp.has_value());
  json.hex("oldStamp", view.old_stamp.value_or(Stamp{}));
  json.array("members");
  for (const ViewMember& member : view.members) {
    json.object();
    json.hex("host", member.host.bytes);
    json.hex("store", member.store.bytes);
    json.number("role", number_of(member.role));
    json.hex("slice", member.slice);
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

void put(JsonWriter& json, const CreatePayload& create) {
  const BranchPoint parent = create.parent.value_or(BranchPoint{});
  json.object();
  json.decimal("sizeBytes", create.size_bytes);
  json.number("mode", number_of(create.mode));
  json.number("hasParent", create.parent.has_value());
  json.hex("nonce", create.nonce);
  json.hex("parentVolume", parent.volume.bytes);
  json.decimal("parentLsn", parent.lsn);
  json.hex("parentPublic", parent.public_id.bytes);
  json.string("name", create.name);
  put(json, create.view, "view");
  json.end_object();
}

void put(JsonWriter& json, const CheckpointStore& store) {
  json.object("store");
  json.number("nextLogical", store.next_logical);
  json.decimal("nextSequence", store.next_sequence);
  json.decimal("replaySequence", store.replay_sequence);
  json.decimal("nextNode", store.next_node);
  json.end_object();
}

void put(JsonWriter& json, const CheckpointSegment& segment) {
  json.object();
  json.number("physical", segment.physical);
  json.number("logical", segment.logical);
  json.number("kind", number_of(segment.kind));
  json.number("state", number_of(segment.state));
  json.number("usedBytes", segment.used_bytes);
  json.decimal("firstSequence", segment.first_sequence);
  json.decimal("lastSequence", segment.last_sequence);
  json.hex("map", segment.live);
  json.array("ranges");
  for (const CheckpointRange& range : segment.ranges) {
    json.object();
    json.hex("volume", range.volume.bytes);
    json.decimal("firstLsn", range.first);
    json.decimal("lastLsn", range.last);
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

void put(JsonWriter& json, const CheckpointNode& node) {
  json.object();
  json.decimal("id", node.id);
  json.decimal("parent", node.parent);
  json.decimal("lsn", node.lsn);
  json.number("flags", node.flags);
  json.number("height", node.height);
  put_entry(json, "root", node.root);
  json.hex("volume", node.volume.bytes);
  json.hex("public", node.public_id.bytes);
  json.decimal("sizeBytes", node.size_bytes);
  json.string("name", node.name);
  json.array("trees");
  for (const CheckpointTree& tree : node.dead_trees) {
    json.object();
    put_entry(json, "entry", tree.entry);
    json.number("level", tree.level);
    json.end_object();
  }
  json.end_array();
  json.array("tail");
  for (const Entry& entry : node.dead_tail) put_entry(json, {}, entry);
  json.end_array();
  json.end_object();
}

void put(JsonWriter& json, const CheckpointVolume& volume) {
  json.object();
  json.hex("id", volume.id.bytes);
  json.decimal("headNode", volume.head_node);
  json.decimal("sizeBytes", volume.size_bytes);
  json.number("mode", number_of(volume.mode));
  json.number("flags", volume.flags);
  json.string("name", volume.name);
  json.decimal("appliedLsn", volume.applied_lsn);
  json.hex("appliedPublic", volume.applied_public.bytes);
  json.hex("appliedLink", volume.applied_link);
  json.array("epochs");
  for (const CheckpointEpoch& epoch : volume.epochs) {
    json.object();
    json.decimal("counter", epoch.epoch.counter);
    json.hex("host", epoch.epoch.host.bytes);
    json.decimal("firstLsn", epoch.first_lsn);
    json.end_object();
  }
  json.end_array();
  json.hex("view", volume.view);
  json.hex("create", volume.create);
  json.hex("attach", volume.attach);
  json.array("sessions");
  for (const CheckpointSession& session : volume.sessions) {
    json.object();
    json.hex("session", session.session);
    json.decimal("lastSequence", session.last_sequence);
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

void put(JsonWriter& json, const CheckpointForwards& forwards) {
  json.object();
  json.number("logical", forwards.logical);
  json.array("entries");
  for (const CheckpointForward& forward : forwards.entries) {
    json.object();
    json.number("fromSlot", forward.from_slot);
    json.number("toSlot", forward.to_slot);
    json.number("toSegment", forward.to_segment);
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

void put(JsonWriter& json, const CheckpointLocal& local) {
  json.object();
  json.hex("volume", local.volume.bytes);
  json.decimal("epochCounter", local.epoch.counter);
  json.hex("epochHost", local.epoch.host.bytes);
  json.number("kind", number_of(local.kind));
  json.hex("bytes", local.bytes);
  json.end_object();
}

template <class Item>
void put_list(JsonWriter& json, std::string_view name, const std::vector<Item>& items) {
  json.array(name);
  for (const Item& item : items) put(json, item);
  json.end_array();
}

void put(JsonWriter& json, const Checkpoint& checkpoint) {
  json.object();
  put(json, checkpoint.store);
  put_list(json, "segments", checkpoint.segments);
  put_list(json, "nodes", checkpoint.nodes);
  put_list(json, "volumes", checkpoint.volumes);
  put_list(json, "forwards", checkpoint.forwards);
  put_list(json, "local", checkpoint.locals);
  json.end_object();
}

/// The text of what was decoded, by put_value(json, value), or the code of the error.
template <class Value, class Put>
std::string text_of(const Result<Value>& decoded, Put put_value) {
  if (!decoded) return std::string(code_name(decoded.error().code));
  JsonWriter json;
  put_value(json, *decoded);
  return json.take();
}

template <class Value>
std::string text_of(const Result<Value>& decoded) {
  return text_of(decoded, [](JsonWriter& json, const Value& value) { put(json, value); });
}

}  // namespace

std::optional<std::string> describe(std::string_view kind, ByteSpan bytes) {
  if (kind == "entry") {
    return text_of(decode_entry(bytes),
                   [](JsonWriter& json, const Entry& entry) { put_entry(json, {}, entry); });
  }
  if (kind == "superblock") return text_of(decode_superblock(bytes));
  if (kind == "segment-header") return text_of(decode_segment_header(bytes));
  if (kind == "batch") return text_of(decode_batch(bytes));
  if (kind == "run") return text_of(decode_run(bytes));
  if (kind == "create") return text_of(decode_create(bytes));
  if (kind == "view") return text_of(decode_view(bytes));
  if (kind == "snapshot") {
    return text_of(decode_snapshot_name(bytes), [](JsonWriter& json, std::string_view name) {
      json.object();
      json.string("name", name);
      json.end_object();
    });
  }
  if (kind == "resize") {
    return text_of(decode_resize(bytes), [](JsonWriter& json, uint64_t size_bytes) {
      json.object();
      json.decimal("sizeBytes", size_bytes);
      json.end_object();
    });
  }
  if (kind == "mode") {
    return text_of(decode_mode(bytes), [](JsonWriter& json, Mode mode) {
      json.object();
      json.number("mode", number_of(mode));
      json.end_object();
    });
  }
  if (kind == "checkpoint") return text_of(decode_checkpoint(bytes));
  return std::nullopt;
}

}  // namespace cloudfs
