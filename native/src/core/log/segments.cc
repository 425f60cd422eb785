#include "core/log/segments.h"

#include <algorithm>
#include <limits>

#include "core/base/assert.h"

namespace cloudfs {

void Segment::note_range(const VolumeId& volume, Lsn first, Lsn last) {
  for (LsnRange& range : ranges) {
    if (range.volume != volume) continue;
    range.first = std::min(range.first, first);
    range.last = std::max(range.last, last);
    return;
  }
  ranges.push_back({volume, first, last});
}

Segments::Segments(uint32_t segment_log2, uint32_t limit) : segment_log2_(segment_log2), places_(limit) {
  free_count_ = limit;
  absent_.reserve(limit);
  for (uint32_t physical = 0; physical < limit; ++physical) {
    places_[physical].physical = physical;
    absent_.push_back(limit - 1 - physical);
  }
}

Segment& Segments::at(uint32_t logical) {
  Segment* segment = find(logical);
  ensure(segment != nullptr, "a segment that is named is there");
  return *segment;
}

Segment* Segments::open(SegmentKind kind, uint64_t first_sequence) {
  if (ready_.empty() || next_logical_ == std::numeric_limits<uint32_t>::max()) return nullptr;
  const uint32_t physical = ready_.front();
  ready_.erase(ready_.begin());
  Segment& segment = places_[physical];
  ensure(segment.free() && segment.state == PlaceState::ready && segment.live == 0 && segment.pins == 0,
         "a segment is opened in a free place");
  segment.logical = next_logical_++;
  segment.kind = kind;
  segment.state = PlaceState::open;
  segment.used_bytes = kSegmentHeaderBytes;
  segment.first_sequence = first_sequence;
  segment.last_sequence = 0;
  segment.bits.assign(segment_bytes() / kBlockBytes / 64 + (segment_bytes() / kBlockBytes % 64 != 0), 0);
  by_logical_.insert(segment.logical, physical);
  --free_count_;
  return &segment;
}

void Segments::seal(Segment& segment) {
  ensure(segment.state == PlaceState::open, "an open segment is sealed");
  segment.state = PlaceState::sealed;
}

void Segments::release(Segment& segment) {
  ensure(!segment.free() && segment.state == PlaceState::sealed, "a sealed segment is released");
  ensure(segment.live == 0 && segment.pins == 0, "nobody needs a segment that is released");
  by_logical_.erase(segment.logical);
  const uint32_t physical = segment.physical;
  segment = Segment{};
  segment.physical = physical;
  segment.state = PlaceState::ready;
  ready_.push_back(physical);
  ++free_count_;
}

std::optional<uint32_t> Segments::next_to_prepare(uint32_t ahead) {
  if (ready_.size() + preparing_ >= ahead || absent_.empty()) return std::nullopt;
  const uint32_t physical = absent_.back();
  absent_.pop_back();
  places_[physical].state = PlaceState::preparing;
  ++preparing_;
  return physical;
}

void Segments::prepared(uint32_t physical, bool done) {
  Segment& segment = places_[physical];
  ensure(segment.state == PlaceState::preparing, "a place that was asked for is prepared");
  --preparing_;
  prepare_failed_ = !done;
  if (done) {
    segment.state = PlaceState::ready;
    ready_.push_back(physical);
  } else {
    segment.state = PlaceState::absent;
    absent_.push_back(physical);
    std::rotate(absent_.begin(), absent_.end() - 1, absent_.end());  // another one next time
  }
}

void Segments::set_live(Segment& segment, uint32_t slot, uint32_t blocks) {
  for (uint32_t bit = slot / 4, end = bit + blocks; bit < end; ++bit) {
    uint64_t& word = segment.bits[bit / 64];
    ensure((word >> (bit % 64) & 1) == 0, "a block becomes live once");
    word |= uint64_t{1} << (bit % 64);
  }
  segment.live += blocks;
  live_blocks_ += blocks;
}

void Segments::clear_live(Segment& segment, uint32_t slot) {
  const uint32_t bit = slot / 4;
  ensure(bit / 64 < segment.bits.size(), "a slot lies in its segment");
  uint64_t& word = segment.bits[bit / 64];
  ensure((word >> (bit % 64) & 1) != 0, "a block is freed once, and only while it is live");
  word &= ~(uint64_t{1} << (bit % 64));
  --segment.live;
  --live_blocks_;
}

void Segments::forget_ranges(const VolumeId& volume) {
  for (Segment& segment : places_)
    std::erase_if(segment.ranges, [&](const LsnRange& range) { return range.volume == volume; });
}

Segment& Segments::adopt(uint32_t physical, uint32_t logical, SegmentKind kind, PlaceState state) {
  Segment& segment = places_[physical];
  ensure(segment.free(), "a place is adopted once");
  segment.logical = logical;
  segment.kind = kind;
  segment.state = state;
  segment.bits.assign(segment_bytes() / kBlockBytes / 64 + (segment_bytes() / kBlockBytes % 64 != 0), 0);
  by_logical_.insert(logical, physical);
  --free_count_;
  return segment;
}

void Segments::note_ready(uint32_t physical) {
  if (places_[physical].state == PlaceState::absent) places_[physical].state = PlaceState::ready;
}

void Segments::list_free() {
  ready_.clear();
  absent_.clear();
  for (uint32_t physical = limit(); physical-- > 0;) {
    if (places_[physical].state == PlaceState::ready) ready_.push_back(physical);
    if (places_[physical].state == PlaceState::absent) absent_.push_back(physical);
  }
  std::reverse(ready_.begin(), ready_.end());
}

}  // namespace cloudfs
