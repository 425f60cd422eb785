// Creation, and the records that change a volume itself.
#include <cerrno>

#include "core/volume/volume.h"

namespace cloudfs {

VolumeId Volume::id_of(const CreatePayload& payload, const Epoch& epoch, const Stamp& stamp) {
  const std::vector<uint8_t> bytes = encode_create(payload);
  RunHeader header;
  header.epoch = epoch;
  header.first_lsn = payload.parent ? payload.parent->lsn + 1 : 1;
  std::vector<uint8_t> scratch(kRunHeaderBytes + control_record_bytes(bytes.size()));
  RunBuilder run(scratch, header);
  const RecordView record = run.add_control(RecordKind::create, 0, {}, 0, bytes);
  return VolumeId{link_record(stamp, run.header(), record).public_id.bytes};
}

void Volume::create(const CreatePayload& payload, const Epoch& epoch, const Stamp& stamp, NodeId parent,
                    uint64_t command) {
  create_ = payload;
  create_bytes_ = encode_create(payload);
  id_ = id_of(payload, epoch, stamp);
  RunHeader header;
  header.volume = id_;
  header.epoch = epoch;
  header.first_lsn = payload.parent ? payload.parent->lsn + 1 : 1;
  RunBuilder run(parts_.appender.run_room(SegmentKind::user), header);
  const RecordView record = run.add_control(RecordKind::create, 0, {}, 0, create_bytes_);
  const ChainLink link = link_record(stamp, run.header(), record);
  run.finish(link.public_id);
  stamp_ = stamp;
  begin_history(record, epoch, link.public_id, parent);
  made_token_ = link.token;
  if (replication_ != nullptr) run_bodies_.push_back({});
  parts_.appender.add_run(SegmentKind::user, run.header(), *this, cookie(made_.lsn));
  parts_.host.on_control_made(*this, command, made_.lsn, made_.public_id);
  wait_durable(made_.lsn, nullptr, command);
}

void Volume::begin_history(const RecordView& record, const Epoch& epoch, const VersionId& version,
                           NodeId parent) {
  // A volume is in force from its creation record on, before that is committed: nobody but its creator knows it yet.
  made_.absorb(record, epoch, {}, version);
  applied_ = made_;
  applied_link_.set(record, epoch, {});
  committed_ = made_.lsn;
  begin_views();
  const uint64_t blocks = create_.size_bytes / kBlockBytes;
  head_ = parent == 0 ? parts_.lineage.create(id_, blocks, made_.lsn) : parts_.lineage.branch(parent, id_);
  parts_.host.on_history_begun(*this);
}

const char* Volume::replay_create(const RunView& run, const PlacedRun& placed, const Stamp* stamp,
                                  NodeId parent) {
  const RecordView record = *run.records().begin();
  const Result<CreatePayload> payload = decode_create(record.payload());
  ensure(payload.ok(), "a record's payload was checked");
  create_ = *payload;
  create_bytes_ = encode_create(*payload);
  is_witness_ = parts_.host.is_witness(create_.view);
  id_ = run.header().volume;
  begin_history(record, run.header().epoch, VersionId{id_.bytes}, parent);
  parts_.segments.at(placed.segment).note_range(id_, record.lsn(), record.lsn());
  if (stamp != nullptr) {
    if (link_record(*stamp, run.header(), record).public_id.bytes != id_.bytes)
      return "a volume's id is not the one its creation makes";
  }
  // Records behind the creation in the same run.
  return run.header().count > 1 ? replay(run, placed, stamp, 0) : nullptr;
}

void Volume::control(RecordKind kind, std::vector<uint8_t> payload, uint64_t command) {
  // At once: here it would wait for records of an earlier primary, which may never be committed.
  if (!made_.deleted && !writable())
    return parts_.host.on_control_failed(command, "ERR_NOT_PRIMARY", "this host is not the volume's primary");
  controls_.push_back({kind, std::move(payload), command});
  parts_.host.make_soon(*this);
}

Room Volume::make_control() {
  const Control& control = controls_.front();
  if (!control_allowed(control)) {
    controls_.pop_front();
    return Room::ok;
  }
  const size_t bytes = kRunHeaderBytes + control_record_bytes(control.payload.size());
  const Room room = parts_.appender.reserve(SegmentKind::user, SpaceClass::shrink, bytes, 0);
  if (room == Room::no_space) {
    parts_.host.on_control_failed(control.command, "ERR_STORE_FULL", "no free segment is left for it");
    controls_.pop_front();
    return Room::ok;
  }
  if (room != Room::ok) return room;

  RunHeader header;
  header.volume = id_;
  header.epoch = made_.epoch();
  header.first_lsn = made_.lsn + 1;
  header.commit_lsn = committed_;
  RunBuilder run(parts_.appender.run_room(SegmentKind::user), header);
  const RecordView record = run.add_control(control.kind, 0, *made_token_, 0, control.payload);
  const ChainLink link = link_record(*stamp_, run.header(), record);
  note_made(record, run.header(), link.public_id);
  made_token_ = link.token;
  run.finish(link.public_id);
  if (replication_ != nullptr) run_bodies_.push_back({});
  parts_.appender.add_run(SegmentKind::user, run.header(), *this, cookie(made_.lsn));
  parts_.host.on_control_made(*this, control.command, made_.lsn, made_.public_id);
  wait_durable(made_.lsn, nullptr, control.command);
  const bool attaches = control.kind == RecordKind::attach;
  controls_.pop_front();
  if (attaches) end_sessions();
  return Room::ok;
}

bool Volume::control_allowed(const Control& control) {
  const auto refuse = [&](const char* code, const char* message) {
    parts_.host.on_control_failed(control.command, code, message);
    return false;
  };
  if (made_.deleted) return refuse("ERR_UNKNOWN_VOLUME", "the volume is deleted");
  if (!writable()) return refuse("ERR_NOT_PRIMARY", "this host is not the volume's primary");
  // Controls are made one at a time, so what is applied is all there is.
  if (control.kind == RecordKind::snapshot || control.kind == RecordKind::snapshot_remove) {
    const Result<std::string_view> name = decode_snapshot_name(control.payload);
    ensure(name.ok(), "a control's payload was checked");
    const bool exists = find_snapshot(*name) != 0;
    if (control.kind == RecordKind::snapshot && exists)
      return refuse("ERR_SNAPSHOT_EXISTS", "the volume has a snapshot of this name");
    if (control.kind == RecordKind::snapshot_remove && !exists)
      return refuse("ERR_UNKNOWN_SNAPSHOT", "the volume has no snapshot of this name");
  }
  if (control.kind == RecordKind::attach) {
    const Result<AttachPayload> wanted = decode_attach(control.payload);
    ensure(wanted.ok(), "a control's payload was checked");
    const Result<AttachPayload> present = decode_attach(applied_.attach);
    if (wanted->revision != (present.ok() ? present->revision : 0) + 1)
      return refuse("ERR_ATTACHMENT_CHANGED", "who has the volume attached has changed meanwhile");
  }
  return true;
}

MissingPages Volume::prepare_control(const RecordView& record) {
  if (record.kind() != RecordKind::resize) return {};
  const Result<uint64_t> bytes = decode_resize(record.payload());
  ensure(bytes.ok(), "a record's payload was checked");
  return parts_.lineage.prepare_resize(head_, *bytes / kBlockBytes);
}

void Volume::apply_control(const PendingRecord& pending) {
  const RecordView& record = pending.record;
  switch (record.kind()) {
    case RecordKind::snapshot: {
      const Result<std::string_view> name = decode_snapshot_name(record.payload());
      ensure(name.ok(), "a record's payload was checked");
      parts_.lineage.snapshot(head_, pending.lsn, pending.public_id, std::string(*name));
      break;
    }
    case RecordKind::snapshot_remove: {
      const Result<std::string_view> name = decode_snapshot_name(record.payload());
      ensure(name.ok(), "a record's payload was checked");
      if (const NodeId node = find_snapshot(*name); node != 0) parts_.lineage.delete_snapshot(node);
      break;
    }
    case RecordKind::resize: {
      const Result<uint64_t> bytes = decode_resize(record.payload());
      ensure(bytes.ok(), "a record's payload was checked");
      parts_.lineage.resize(head_, *bytes / kBlockBytes, pending.lsn);
      break;
    }
    case RecordKind::remove:
      parts_.lineage.delete_volume(id_);
      head_ = 0;
      parts_.host.on_deleted(*this);
      break;
    case RecordKind::attach:
      parts_.host.on_attached(*this);
      break;
    case RecordKind::create:
    case RecordKind::view:
    case RecordKind::mode:
    case RecordKind::write:
      break;  // VolumeState::absorb does what there is to do
  }
}

NodeId Volume::find_snapshot(std::string_view name) const {
  for (const auto& [id, node] : parts_.lineage.nodes())
    if (node.kind == NodeKind::named && node.volume == id_ && node.name == name) return id;
  return 0;
}

}  // namespace cloudfs
