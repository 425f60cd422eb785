// What recovery found, run by run.
#include "core/store/store.h"

namespace cloudfs {

NodeId Store::branch_node(const BranchPoint& point) {
  const Volume* parent = find(point.volume);
  if (parent == nullptr || parent->head() == 0) return 0;
  for (NodeId id = lineage.node(parent->head()).parent; id != 0; id = lineage.node(id).parent) {
    const VersionNode& node = lineage.node(id);
    if (node.bare) continue;
    if (node.lsn == point.lsn) return node.version == point.public_id ? id : 0;
    if (node.lsn < point.lsn) break;
  }
  if (parent->applied().lsn != point.lsn || parent->applied().public_id != point.public_id) return 0;
  return lineage.branch_point(parent->head(), point.lsn, point.public_id);
}

const char* Store::replay_records(const RunView& run, const PlacedRun& placed, uint64_t frozen) {
  const RunHeader& header = run.header();
  const std::optional<Stamp> stamp = locals.stamp(header.volume, header.epoch);
  const Stamp* known = stamp ? &*stamp : nullptr;
  Volume* volume = find(header.volume);
  const char* why = nullptr;
  if (volume != nullptr) {
    why = volume->replay(run, placed, known, frozen);
  } else {
    if (!starts_volume(run)) return "a record of a volume that was never created";
    const Result<CreatePayload> payload = decode_create((*run.records().begin()).payload());
    ensure(payload.ok(), "a record's payload was checked");
    if (payload->size_bytes == 0) return "a volume without a block";
    NodeId parent = 0;
    if (payload->parent && !is_witness(payload->view)) {
      parent = branch_node(*payload->parent);
      if (parent == 0) return "a branch of a version that is not there";
    }
    volume = &add_volume();
    why = volume->replay_create(run, placed, known, parent);
    list_volume(*volume);
  }
  volume->replayed(header.commit_lsn);
  return why;
}

const char* Store::replay_moved(const RunView& run, const PlacedRun& placed) {
  for (uint32_t index = 0; index < run.header().count; ++index) {
    const MovedBlock block = run.moved_block(index);
    // Blocks received from another host count from the checkpoint on that holds the version they were staged in.
    if (block.from_segment == kFromElsewhere) continue;
    move_block(run.header().volume, block, placed.segment,
               placed.body_slot + index * (kBlockBytes / kSlotBytes));
  }
  if (Volume* volume = find(run.header().volume)) volume->replayed(run.header().commit_lsn);
  return nullptr;
}

}  // namespace cloudfs
