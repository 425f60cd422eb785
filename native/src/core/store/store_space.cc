// Who may open a segment, when writes are refused, when a checkpoint is due for space (docs/core.md, ENOSPC).
//
// What must never happen is a store that can no longer write the checkpoint which would free it. So segments for the index
// pages that the next checkpoint needs are kept from everybody else; the reserve of the parameters comes on top.
#include <algorithm>

#include "core/store/store.h"

namespace cloudfs {

uint64_t Store::index_pages_needed() const {
  // What is dirty now, what pending records and one more segment of data can make dirty, and the blob.
  const uint64_t segment_blocks = segments.segment_bytes() / kBlockBytes;
  const uint64_t to_come = std::min(map_pages_max_, (pending_blocks_ + segment_blocks) * 2 + 16);
  const uint64_t table_bytes = uint64_t{segments.limit()} * (48 + segment_blocks / 8) +
                               lineage.nodes().size() * 256 + forwards.count() * 8 + volumes_.size() * 1024 +
                               kBlockBytes;
  const uint64_t blob_pages =
      std::max(checkpoint.blob_pages(), table_bytes / kBlockBytes + 1) * 257 / 256 + 2;
  return pages.dirty_count() + lineage.kept_pages() + to_come + blob_pages;
}

uint32_t Store::segments_kept(SpaceClass space) {
  const uint64_t needed = index_pages_needed();
  const uint64_t free_pages = checkpoint.slots.free_pages();
  const uint64_t per_segment = checkpoint.slots.pages_per_segment();
  const uint64_t index = needed <= free_pages ? 0 : (needed - free_pages + per_segment - 1) / per_segment;
  const auto kept = static_cast<uint32_t>(std::min<uint64_t>(index, segments.limit()));
  switch (space) {
    case SpaceClass::data:
      return params.reserved_segments + kept;
    case SpaceClass::shrink:
      // A checkpoint that opens one more segment for its pages leaves the cleaner another.
      return params.reserved_segments - params.reserved_segments / 4 + kept;
    case SpaceClass::internal:
      return params.reserved_segments / 4 + kept;
    case SpaceClass::vital:
      return kept;
  }
  return kept;
}

bool Store::checkpoint_helps() const {
  const bool is_as_frozen = checkpoint.frozen_log_bytes() == appender.log_bytes() && !freed_since_freeze_;
  if (is_as_frozen && checkpoint.published() > 0) return false;
  const uint64_t first = first_unapplied_batch();
  for (const Segment& segment : segments.places())
    if (!segment.free() && segment.kind != SegmentKind::index && segment.state == PlaceState::sealed &&
        segment.live == 0 && segment.pins == 0 && segment.last_sequence < first)
      return true;
  // Dirty pages that are written need no more room to be kept for them.
  return pages.dirty_count() > checkpoint.slots.pages_per_segment();
}

void Store::mind_space() {
  map_pages_max_ = 0;
  for (const auto& volume : volumes_)
    if (!volume->deleted()) map_pages_max_ += volume->made().size_bytes / kBlockBytes / 255 + 8;

  const uint32_t kept = segments_kept(SpaceClass::data);
  const uint32_t margin = std::max(2u, segments.limit() / 16);
  if (segments.free_count() > kept + margin) {
    space_low_told_ = false;
    return;
  }
  if (!checkpoint.running() && checkpoint_helps()) checkpoint_wanted_ = true;
  if (!space_low_told_) {
    space_low_told_ = true;
    event("space-low", "{\"free\":" + std::to_string(segments.free_count()) + "}");
  }
}

bool Store::may_wait_for_space(const Operation&) {
  if (checkpoint.running() || checkpoint_wanted_ || cleaner.busy() || checkpoint_helps()) {
    space_short_ = true;
    return true;
  }
  // What is kept for branches that nobody may ask for is not worth a refused write.
  if (lineage.forget_half()) {
    lineage_idle_ = false;
    space_short_ = true;
    return true;
  }
  // Policy was told; cleaning that goes on gives it this long from one step to the next.
  if (!full_ && now_ns_ - space_progress_ns_ < kSpaceGraceNs) {
    space_short_ = true;
    return true;
  }
  full_ = true;
  return false;
}

}  // namespace cloudfs
