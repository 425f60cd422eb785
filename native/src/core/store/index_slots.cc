#include "core/store/index_slots.h"

#include <algorithm>
#include <bit>

namespace cloudfs {

namespace {

bool test(const std::vector<uint64_t>& bits, uint32_t index) {
  return (bits[index / 64] >> (index % 64) & 1) != 0;
}
void set(std::vector<uint64_t>& bits, uint32_t index) {
  bits[index / 64] |= uint64_t{1} << (index % 64);
}
uint32_t count(const std::vector<uint64_t>& bits) {
  uint32_t total = 0;
  for (const uint64_t word : bits) total += static_cast<uint32_t>(std::popcount(word));
  return total;
}

}  // namespace

void IndexSlots::begin(const StoreIdentity& identity, uint64_t start) {
  identity_ = identity;
  start_ = start;
  recount();
}

void IndexSlots::start_marking() {
  marks_.clear();
  written_.clear();
  physical_ = 0;
  page_ = 1;
}

IndexSlots::Bits& IndexSlots::marks_of(const Segment& segment) {
  Bits& bits = marks_[segment.logical];
  if (bits.empty()) bits.resize(segment.bits.size());
  return bits;
}

void IndexSlots::note_written(uint32_t physical) {
  if (written_.empty() || written_.back() != physical) {
    if (std::find(written_.begin(), written_.end(), physical) == written_.end()) written_.push_back(physical);
  }
}

std::optional<Entry> IndexSlots::take(IoOwner& owner, uint64_t cookie, uint32_t& headers_written) {
  const uint32_t pages = segments_.segment_bytes() / kBlockBytes;
  for (; physical_ < segments_.limit(); ++physical_, page_ = 1) {
    const Segment& segment = segments_.place(physical_);
    if (segment.free() || segment.kind != SegmentKind::index) continue;
    if (segment.live + 1 == pages && !marked(segment)) continue;
    Bits& marks = marks_of(segment);
    for (; page_ < pages; ++page_) {
      if (test(segment.bits, page_) || test(marks, page_)) continue;
      set(marks, page_);
      note_written(physical_);
      --free_pages_;
      return Entry{segment.logical, static_cast<uint16_t>(page_ * (kBlockBytes / kSlotBytes)), 0, 0};
    }
  }
  Segment* opened = segments_.open(SegmentKind::index, 0);
  if (opened == nullptr) return std::nullopt;
  free_pages_ += pages_per_segment();
  segments_.seal(*opened);  // its pages are found by entries alone: nothing is appended
  SegmentHeader header;
  header.logical = opened->logical;
  header.store = identity_.store;
  header.physical = opened->physical;
  header.generation = identity_.generation;
  header.start = start_;
  header.kind = SegmentKind::index;
  BufferRef page(kSegmentHeaderBytes);
  encode_segment_header(header, {page.data(), kSegmentHeaderBytes});
  std::vector<Slice> slices{{page, page.data(), kSegmentHeaderBytes}};
  io_.write(owner, cookie, opened->physical, 0, std::move(slices));
  ++headers_written;
  physical_ = opened->physical;
  page_ = 1;
  return take(owner, cookie, headers_written);
}

bool IndexSlots::mark(const Entry& entry) {
  Bits& marks = marks_of(segments_.at(entry.segment));
  const uint32_t page = entry.slot / (kBlockBytes / kSlotBytes);
  if (test(marks, page)) return false;
  set(marks, page);
  return true;
}

void IndexSlots::unmark(const Entry& entry) {
  Bits& marks = marks_of(segments_.at(entry.segment));
  const uint32_t page = entry.slot / (kBlockBytes / kSlotBytes);
  ensure(test(marks, page), "a page that was taken is given back");
  marks[page / 64] &= ~(uint64_t{1} << (page % 64));
  ++free_pages_;
}

void IndexSlots::publish() {
  for (uint32_t physical = 0; physical < segments_.limit(); ++physical) {
    Segment& segment = segments_.place(physical);
    if (segment.free() || segment.kind != SegmentKind::index) continue;
    const auto marks = marks_.find(segment.logical);
    Bits bits = marks == marks_.end() ? Bits(segment.bits.size()) : marks->second;
    if (segment.pins > 0)
      for (size_t word = 0; word < bits.size(); ++word) bits[word] |= segment.bits[word];
    segment.bits = std::move(bits);
    segment.live = count(segment.bits);
    if (segment.live == 0) segments_.release(segment);
  }
  marks_.clear();
  written_.clear();
  recount();
}

void IndexSlots::recount() {
  free_pages_ = 0;
  for (const Segment& segment : segments_.places())
    if (!segment.free() && segment.kind == SegmentKind::index)
      free_pages_ += pages_per_segment() - segment.live;
}

}  // namespace cloudfs
