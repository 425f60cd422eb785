// The tables of a checkpoint, copied within one turn.
#include <algorithm>

#include "core/store/checkpoint.h"
#include "core/store/store.h"

namespace cloudfs {

Checkpoint CheckpointWriter::freeze_tables() {
  Checkpoint out;
  out.store.next_logical = store_.segments.next_logical();
  out.store.next_sequence = store_.appender.made() + 1;
  out.store.next_node = lineage_.next_node;
  out.store.replay_sequence = store_.first_unapplied_batch();
  freeze_volumes(out);

  store_.forwards.sweep([&](uint32_t logical, uint16_t slot) {
    const Segment* segment = store_.segments.find(logical);
    return segment != nullptr && segment->is_live(slot);
  });
  store_.forwards.each([&](uint32_t logical, const std::vector<Forward>& forwards) {
    CheckpointForwards& stored = out.forwards.emplace_back();
    stored.logical = logical;
    for (const Forward& forward : forwards)
      stored.entries.push_back({forward.from_slot, forward.to_slot, forward.to_segment});
  });
  freeze_segments(out);
  for (const auto& [key, value] : store_.locals.values()) {
    if (is_over(key.first, key.second)) continue;
    out.locals.push_back({key.first, value.epoch, key.second, value.bytes});
  }
  return out;
}

/// Of a volume that never came to be, or is deleted. A promise counts before the volume comes here (E1), and where this store
/// has left it still: it may join again.
bool CheckpointWriter::is_over(const VolumeId& id, LocalKind kind) const {
  if (kind != LocalKind::stamp && kind != LocalKind::promise && kind != LocalKind::recovering) return false;
  const Volume* volume = store_.find(id);
  if (volume == nullptr) return kind != LocalKind::promise;
  return volume->applied().deleted && (kind == LocalKind::stamp || !store_.has_left(id));
}

void CheckpointWriter::freeze_volumes(Checkpoint& out) {
  for (const auto& volume : store_.volumes()) out.volumes.push_back(volume->describe());
}

void CheckpointWriter::freeze_segments(Checkpoint& out) {
  const uint64_t replay = out.store.replay_sequence;
  dead_.clear();
  std::vector<size_t> places(store_.segments.limit());  // of each segment in `out.segments`, plus 1
  for (const Segment& segment : store_.segments.places()) {
    if (segment.kind == SegmentKind::index && !segment.free()) continue;  // add_index_segments()
    if (segment.free() && segment.state != PlaceState::ready) continue;   // never written: told by absence
    CheckpointSegment stored;
    stored.physical = segment.physical;
    const bool dead = !segment.free() && segment.state == PlaceState::sealed && segment.live == 0 &&
                      segment.last_sequence < replay;
    if (dead) dead_.push_back(segment.logical);
    if (segment.free() || dead) {
      stored.kind = SegmentKind::user;  // written once: no need to prepare it again
      stored.state = SegmentState::free;
    } else {
      stored.logical = segment.logical;
      stored.kind = segment.kind;
      stored.state = segment.state == PlaceState::open ? SegmentState::open : SegmentState::sealed;
      stored.used_bytes = segment.used_bytes;
      stored.first_sequence = segment.first_sequence;
      stored.last_sequence = segment.last_sequence;
      stored.live.resize(segment.bits.size() * sizeof(uint64_t));
      std::memcpy(stored.live.data(), segment.bits.data(), stored.live.size());
      for (const LsnRange& range : segment.ranges)
        stored.ranges.push_back({range.volume, range.first, range.last});
      places[segment.physical] = out.segments.size() + 1;
    }
    out.segments.push_back(std::move(stored));
  }
  // Blocks of records that are not applied are live, but recovery makes them so again when it replays the records.
  for (const auto& volume : store_.volumes()) {
    for (size_t index = 0; index < volume->pending().size(); ++index) {
      const PendingRecord& pending = volume->pending()[index];
      if (pending.record.kind() != RecordKind::write) continue;
      const size_t place = places[store_.segments.at(pending.segment).physical];
      ensure(place != 0, "a segment with pending records is neither free nor dead");
      std::vector<uint8_t>& live = out.segments[place - 1].live;
      for (uint32_t block = 0; block < pending.kept_blocks; ++block) {
        const uint32_t bit = pending.slot / 4 + block;
        ensure((live[bit / 8] >> (bit % 8) & 1) != 0, "a pending record's blocks are live");
        live[bit / 8] = static_cast<uint8_t>(live[bit / 8] & ~(1u << (bit % 8)));
      }
    }
  }
}

}  // namespace cloudfs
