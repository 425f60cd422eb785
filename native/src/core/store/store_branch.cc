// New volumes and branches.
//
// A branch of a version that has passed (docs/core.md, Versions shown lately) leaves from a hidden snapshot that no record
// of the parent's tells of. So a checkpoint that has it is published before the creation record is made: whatever recovery
// replays, the version that the branch stands on is there.
#include "core/base/hex.h"
#include "core/store/store.h"

namespace cloudfs {

namespace {

// Blocks that one turn takes back on the way to a version that has passed.
constexpr size_t kRebuildBlocks = 512;

}  // namespace

bool Store::try_create(Creation& creation) {
  const auto done = [&] {
    end_creation(creation);
    return true;
  };
  const auto fail_with = [&](const char* code, const char* message) {
    commands_.on_failed(creation.command, code, message);
    return done();
  };
  CreatePayload& payload = creation.payload;
  const VersionNode* snapshot = nullptr;
  if (Volume* parent = creation.branch_of; parent != nullptr) {
    if (parent->deleted()) return fail_with("ERR_UNKNOWN_VOLUME", "the volume is deleted");
    const char* refusal = nullptr;
    if (creation.version && !try_find_version(creation, refusal)) {
      if (refusal == nullptr) return false;
      return fail_with("ERR_UNKNOWN_VERSION", refusal);
    }
    BranchPoint point;
    point.volume = parent->id();
    if (creation.branch_of_snapshot != 0) {
      snapshot = lineage.find(creation.branch_of_snapshot);
      const bool is_there = snapshot != nullptr && (snapshot->kind == NodeKind::named || creation.shown != 0);
      if (!is_there) return fail_with("ERR_UNKNOWN_SNAPSHOT", "the snapshot is deleted");
      point.lsn = snapshot->lsn;
      point.public_id = snapshot->version;
      payload.size_bytes = snapshot->map.blocks() * kBlockBytes;
    } else {
      // Recovery finds the branch's creation behind all of the parent's records it stands on, and before all others: so
      // nothing of the parent may be under way.
      if (!parent->drained()) return false;
      point.lsn = parent->applied().lsn;
      point.public_id = parent->applied().public_id;
      payload.size_bytes = parent->applied().size_bytes;
    }
    payload.parent = point;
  }
  const size_t create_bytes = kRunHeaderBytes + control_record_bytes(encode_create(payload).size());
  const size_t stamp_bytes = LocalItems::run_bytes(creation.stamp.size());
  const Room room = appender.reserve(SegmentKind::user, SpaceClass::shrink, create_bytes + stamp_bytes, 0);
  if (room == Room::wait) return false;
  if (room == Room::no_space) return fail_with("ERR_STORE_FULL", "no free segment is left for it");

  const VolumeId id = Volume::id_of(payload, creation.epoch, creation.stamp);
  if (find(id) != nullptr) return fail_with("ERR_VOLUME_EXISTS", "this volume was created before");
  NodeId parent_node = creation.branch_of_snapshot;
  if (creation.branch_of != nullptr && parent_node == 0)
    parent_node =
        lineage.branch_point(creation.branch_of->head(), payload.parent->lsn, payload.parent->public_id);
  // The stamp first: a volume of this host's making without its stamp could never be written to again.
  locals.add(id, creation.epoch, LocalKind::stamp, creation.stamp, 0);
  Volume& volume = add_volume();
  volume.create(payload, creation.epoch, creation.stamp, parent_node, creation.command);
  list_volume(volume);
  event("volume-created", "{\"volume\":\"" + to_hex(id) + "\"}");
  return done();
}

/// @returns whether the creation can go on; if not: not yet, or why not
bool Store::try_find_version(Creation& creation, const char*& refusal) {
  Volume& parent = *creation.branch_of;
  const VersionId& version = *creation.version;
  if (creation.shown == 0) {
    const VolumeState& applied = parent.applied();
    if (applied.public_id == version && parent.drained()) {
      // The newest state, which stays so until the branch is made.
      parent.hold(true);
      creation.version.reset();
      return true;
    }
    NodeId node = applied.public_id == version ? lineage.branch_point(parent.head(), applied.lsn, version)
                                               : lineage.find_shown(parent.head(), version);
    if (node == 0) {
      refusal =
          "it is not what the volume is at, nor was it shown in the last 10 s: "
          "`cloudfs branch VOLUME` takes the newest state";
      return false;
    }
    lineage.hold(node);
    creation.shown = node;
    if (lineage.node(node).bare)
      creation.rebuild = lineage.begin_rebuild(parent.head(), node, applied.lsn, applied.public_id);
  }
  if (creation.branch_of_snapshot != 0) return true;
  if (creation.checkpoint == 0) {
    const VersionNode* const node = lineage.find(creation.shown);
    if (node != nullptr && node->bare) {
      if (rebuild_waiter_.pages_missing > 0) return false;
      MissingPages missing;
      bool done = false;
      if (!lineage.rebuild(creation.rebuild, kRebuildBlocks, missing, done)) {
        refusal = "the volume is gone";
        return false;
      }
      if (!missing.empty()) page_reader.fetch(missing, rebuild_waiter_);
      rebuilding_ = true;
      if (!done) return false;
    }
    creation.checkpoint = want_checkpoint();
  }
  if (!checkpointed(creation.checkpoint)) return false;
  creation.branch_of_snapshot = creation.shown;
  return true;
}

void Store::end_creation(Creation& creation) {
  lineage.end_rebuild(creation.rebuild);
  if (creation.shown != 0)
    lineage.release(std::exchange(creation.shown, 0));
  else if (creation.branch_of != nullptr && creation.branch_of_snapshot == 0 && !creation.version)
    creation.branch_of->hold(false);
}

}  // namespace cloudfs
