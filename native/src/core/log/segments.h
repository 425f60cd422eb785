// The store's segments: which physical place holds which logical id, which blocks of it are live, who may use what is
// free (docs/core.md, "Versions, dead lists, liveness"). Tables only: whoever opens a segment writes it.
//
// Invariants
// - A logical id is given once, ids count up, and at most one place has it.
// - A live bit is set once and cleared once: a block is never freed twice and never revived.
// - `Segment::live` is the number of bits set.
// - A place is released only with no live bit, no pin, and not while open.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/base/flat_map.h"
#include "core/base/ids.h"
#include "core/format/segment_header.h"

namespace cloudfs {

enum class PlaceState : uint8_t {
  absent,     // free; perhaps not at its full size yet
  preparing,  // free; on its way to full size
  ready,      // free, at full size
  open,
  sealed,
};

/// Lsns of a volume whose records a segment holds.
struct LsnRange {
  VolumeId volume;
  Lsn first = 0;
  Lsn last = 0;
};

struct Segment {
  uint32_t physical = 0;
  uint32_t logical = 0;  // 0 = free
  SegmentKind kind = SegmentKind::user;
  PlaceState state = PlaceState::absent;
  uint32_t used_bytes = 0;
  uint64_t first_sequence = 0;
  uint64_t last_sequence = 0;  // of a user or moved segment: its newest batch
  uint32_t live = 0;           // bits set
  uint32_t pins = 0;           // reads that need its bytes to stay
  std::vector<uint64_t> bits;  // bit i: the block (index segments: page) whose slot / 4 is i is live
  std::vector<LsnRange> ranges;

  bool free() const { return logical == 0; }
  /// There is a bit for this slot.
  bool holds(uint32_t slot) const { return slot / 4 / 64 < bits.size(); }
  bool is_live(uint16_t slot) const {
    const uint32_t bit = slot / 4u;
    return (bits[bit / 64] >> (bit % 64) & 1) != 0;
  }
  void note_range(const VolumeId& volume, Lsn first, Lsn last);
};

class Segments {
 public:
  Segments(uint32_t segment_log2, uint32_t limit);

  uint32_t segment_bytes() const { return 1u << segment_log2_; }
  uint32_t limit() const { return static_cast<uint32_t>(places_.size()); }

  /// nullptr: no place has this id (any more).
  Segment* find(uint32_t logical) {
    const uint32_t* physical = by_logical_.find(logical);
    return physical == nullptr ? nullptr : &places_[*physical];
  }
  /// Must be there: what a map or a batch names is kept.
  Segment& at(uint32_t logical);
  Segment& place(uint32_t physical) { return places_[physical]; }
  const std::vector<Segment>& places() const { return places_; }

  /// Free places that can be opened, now or once they are prepared.
  uint32_t free_count() const { return prepare_failed_ ? static_cast<uint32_t>(ready_.size()) : free_count_; }
  uint32_t ready_count() const { return static_cast<uint32_t>(ready_.size()); }

  /// Gives a ready place the next id. nullptr: none is ready.
  Segment* open(SegmentKind kind, uint64_t first_sequence);
  void seal(Segment& segment);
  /// The place is free from now on.
  void release(Segment& segment);

  /// A place to prepare, if fewer than `ahead` are ready or on their way.
  std::optional<uint32_t> next_to_prepare(uint32_t ahead);
  /// If that failed, only ready places count as free until another one succeeds.
  void prepared(uint32_t physical, bool done);
  bool prepare_failed() const { return prepare_failed_; }

  void set_live(Segment& segment, uint32_t slot, uint32_t blocks);
  void clear_live(Segment& segment, uint32_t slot);

  /// The log holds no records of this volume that anybody may be given.
  void forget_ranges(const VolumeId& volume);

  uint32_t next_logical() const { return next_logical_; }

  // Recovery. Until list_free() nothing can be opened or prepared.
  void set_next_logical(uint32_t logical) { next_logical_ = logical; }
  /// A place in use, as a checkpoint or a header found says. Must be free.
  Segment& adopt(uint32_t physical, uint32_t logical, SegmentKind kind, PlaceState state);
  /// The place was written before: no need to prepare it.
  void note_ready(uint32_t physical);
  void list_free();

  /// Live blocks of all user and moved segments.
  uint64_t live_blocks() const { return live_blocks_; }

 private:
  const uint32_t segment_log2_;
  uint32_t next_logical_ = 1;
  uint32_t free_count_ = 0;
  uint64_t live_blocks_ = 0;
  std::vector<Segment> places_;  // by physical place
  FlatMap<uint32_t, uint32_t> by_logical_;
  std::vector<uint32_t> ready_;
  std::vector<uint32_t> absent_;  // last one first
  uint32_t preparing_ = 0;
  bool prepare_failed_ = false;
};

}  // namespace cloudfs
