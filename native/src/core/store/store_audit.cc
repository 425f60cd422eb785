// Recounts what is live, from the maps of all versions, and holds it against the bitmaps: space accounting is right if each
// block that some version or pending record names is live, and no other. For tests and for an operator's doubts: the maps
// are gone through in one turn, with all their pages in memory.
#include <bit>

#include "core/store/store.h"

namespace cloudfs {

void Store::run_audits() {
  if (audit_waiter_.pages_missing > 0) return;
  MissingPages missing;
  uint64_t live_blocks = 0;
  const std::string wrong = recount(missing, live_blocks);
  if (!missing.empty()) {
    page_reader.fetch(missing, audit_waiter_);
    return;
  }
  for (const uint64_t command : std::exchange(audits_, {})) {
    if (wrong.empty()) {
      commands_.on_result(command, "{\"liveBlocks\":" + std::to_string(live_blocks) + "}");
    } else {
      commands_.on_failed(command, "ERR_AUDIT", wrong);
    }
  }
}

std::string Store::recount(MissingPages& missing, uint64_t& live_blocks) {
  std::vector<std::vector<uint64_t>> expected(segments.limit());
  for (const Segment& segment : segments.places()) expected[segment.physical].resize(segment.bits.size());
  const auto describe = [](const Entry& entry) {
    return "segment " + std::to_string(entry.segment) + " slot " + std::to_string(entry.slot);
  };
  std::vector<MapRun> runs;
  for (const auto& [id, node] : lineage.nodes()) {
    if (node.trail != nullptr) {
      // Versions without a map have what was replaced since.
      for (const Trail::Step& step : node.trail->steps) {
        const Entry entry = step.entry.unpack();
        if (!entry.stored() || entry.birth > node.trail->newest_before(step.lsn())) continue;
        const Entry place = forwards.resolve(entry);
        const Segment* segment = segments.find(place.segment);
        if (segment == nullptr || !segment->holds(place.slot) || !segment->is_live(place.slot))
          return "block " + std::to_string(step.first) + " before " + std::to_string(step.lsn()) + " in " +
                 describe(place) + ": freed, but in a version that is kept";
        const uint32_t bit = place.slot / 4u;
        expected[segment->physical][bit / 64] |= uint64_t{1} << (bit % 64);
      }
    }
    if (node.kind == NodeKind::remains || node.bare) continue;
    ExtentMap map = node.map;
    std::vector<std::vector<uint64_t>> own(segments.limit());
    for (uint64_t position = 0; position < map.blocks();) {
      runs.clear();
      missing = map.scan(position, map.blocks(), 0, 4096, runs);
      if (!missing.empty()) return "";
      for (const MapRun& run : runs) {
        if (!run.entry.stored()) continue;
        const Entry place = forwards.resolve(run.entry);
        const Segment* segment = segments.find(place.segment);
        const std::string where = "block " + std::to_string(run.block) + " of version " + std::to_string(id) +
                                  " in " + describe(run.entry) + " -> " + describe(place);
        if (segment == nullptr || segment->kind == SegmentKind::index || !segment->holds(place.slot))
          return where + ": no such place";
        const uint32_t bit = place.slot / 4u;
        const uint64_t mask = uint64_t{1} << (bit % 64);
        std::vector<uint64_t>& seen = own[segment->physical];
        if (seen.empty()) seen.resize(segment->bits.size());
        if ((seen[bit / 64] & mask) != 0) return where + ": another block of the version has this place";
        seen[bit / 64] |= mask;
        if (!segment->is_live(place.slot)) return where + ": freed, but in use";
        expected[segment->physical][bit / 64] |= mask;
      }
    }
  }
  for (const auto& volume : volumes_) {
    for (size_t index = 0; index < volume->pending().size(); ++index) {
      const PendingRecord& pending = volume->pending()[index];
      if (pending.batch == 0 || pending.record.kind() != RecordKind::write) continue;
      for (uint32_t block = 0; block < pending.kept_blocks; ++block) {
        const auto slot = static_cast<uint16_t>(pending.slot + block * 4);
        const Entry place = forwards.resolve({pending.segment, slot, 0, 0});
        const uint32_t bit = place.slot / 4u;
        expected[segments.at(place.segment).physical][bit / 64] |= uint64_t{1} << (bit % 64);
      }
    }
  }
  for (const Segment& segment : segments.places()) {
    if (segment.free() || segment.kind == SegmentKind::index) continue;
    uint32_t count = 0;
    for (size_t word = 0; word < segment.bits.size(); ++word) {
      const uint64_t leaked = segment.bits[word] & ~expected[segment.physical][word];
      if (leaked != 0)
        return "segment " + std::to_string(segment.logical) + " slot " +
               std::to_string((word * 64 + static_cast<size_t>(std::countr_zero(leaked))) * 4) +
               ": live, but not in use";
      count += static_cast<uint32_t>(std::popcount(segment.bits[word]));
    }
    if (count != segment.live)
      return "segment " + std::to_string(segment.logical) + ": counts another number of live blocks";
    live_blocks += count;
  }
  if (live_blocks != segments.live_blocks()) return "the store counts another number of live blocks";
  return "";
}

}  // namespace cloudfs
