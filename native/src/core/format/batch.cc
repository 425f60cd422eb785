#include "core/format/batch.h"

#include "core/base/checksum.h"

namespace cloudfs {

namespace {

constexpr std::string_view kMagic = "CFB1";
constexpr size_t kCrcOffset = 60;

DecodeError corrupt(const char* message, uint64_t offset) {
  return {ErrorCode::batch_corrupt, message, offset};
}

BatchHeader load_header(const uint8_t* at) {
  BatchHeader header;
  header.header_bytes = load<uint32_t>(at + 4);
  header.segment = load<uint32_t>(at + 8);
  header.offset = load<uint32_t>(at + 12);
  header.sequence = load<uint64_t>(at + 16);
  header.synced_sequence = load<uint64_t>(at + 24);
  header.batch_bytes = load<uint32_t>(at + 32);
  header.run_count = load<uint16_t>(at + 36);
  header.align_log2 = at[38];
  header.kind = static_cast<SegmentKind>(at[39]);
  header.seal = load<uint64_t>(at + 40);
  return header;
}

void store_header(uint8_t* at, const BatchHeader& header) {
  std::memcpy(at, kMagic.data(), kMagic.size());
  store(at + 4, header.header_bytes);
  store(at + 8, header.segment);
  store(at + 12, header.offset);
  store(at + 16, header.sequence);
  store(at + 24, header.synced_sequence);
  store(at + 32, header.batch_bytes);
  store(at + 36, header.run_count);
  at[38] = header.align_log2;
  at[39] = static_cast<uint8_t>(header.kind);
  store(at + 40, header.seal);
  std::memset(at + 48, 0, kBatchHeaderBytes - 48);
}

size_t runs_offset(size_t run_count) {
  return kBatchHeaderBytes + kDirectoryEntryBytes * run_count;
}

}  // namespace

Result<BatchHeader> peek_batch(ByteSpan bytes) {
  if (bytes.size() < kBatchHeaderBytes) return corrupt("the batch header is cut off", bytes.size());
  const uint8_t* at = bytes.data();
  if (as_text(bytes.first(kMagic.size())) != kMagic) return corrupt("this is no batch", 0);
  const BatchHeader header = load_header(at);
  if (header.segment == 0) return corrupt("logical ids count from 1", 8);
  if (header.offset < kSegmentHeaderBytes || header.offset % kSlotBytes != 0)
    return corrupt("the batch's place is out of range", 12);
  if (header.sequence == 0 || header.synced_sequence >= header.sequence)
    return corrupt("the batch's sequence is out of range", 16);
  if (header.align_log2 < kAlignLog2Min || header.align_log2 > kAlignLog2Max)
    return corrupt("the alignment is out of range", 38);
  if (header.kind != SegmentKind::user && header.kind != SegmentKind::moved)
    return corrupt("the batch's kind is unknown", 39);
  if (header.seal == 0) return corrupt("a seal is never 0", 40);
  if (!all_zero(bytes.subspan(48, kCrcOffset - 48))) return corrupt("reserved bytes are not zero", 48);
  if (header.run_count == 0) return corrupt("the batch is empty", 36);
  if (header.header_bytes < runs_offset(header.run_count) + kRunHeaderBytes * header.run_count ||
      header.header_bytes % 4 != 0)
    return corrupt("the header's length does not fit its runs", 4);
  if (header.batch_bytes > kBatchBytesMax || header.batch_bytes % (1u << header.align_log2) != 0 ||
      header.batch_bytes < header.header_bytes)
    return corrupt("the batch's length is out of range", 32);
  return header;
}

Result<BatchView> decode_batch(ByteSpan bytes) {
  const Result<BatchHeader> peeked = peek_batch(bytes);
  if (!peeked) return peeked.error();
  const BatchHeader& header = *peeked;
  if (header.header_bytes > bytes.size()) return corrupt("the header area is cut off", bytes.size());
  const ByteSpan area = bytes.first(header.header_bytes);
  if (load<uint32_t>(area.data() + kCrcOffset) != crc32c_without(area, kCrcOffset))
    return corrupt("the batch fails its checksum", kCrcOffset);

  BatchView view{header, {}};
  view.runs.reserve(header.run_count);  // as many run headers fit the bytes: peek_batch
  size_t run_offset = runs_offset(header.run_count);
  uint64_t body_end = header.padded_header_bytes();
  for (size_t index = 0; index < header.run_count; ++index) {
    const size_t directory_offset = kBatchHeaderBytes + kDirectoryEntryBytes * index;
    const auto body_offset = load<uint32_t>(area.data() + directory_offset + 4);
    if (load<uint32_t>(area.data() + directory_offset) != run_offset)
      return corrupt("a run does not follow the one before it", directory_offset);
    const Result<RunView> run = decode_run(area.subspan(run_offset));
    if (!run) return DecodeError{run.error().code, run.error().message, run_offset + run.error().offset};
    if ((run->header().type == RunType::moved) != (header.kind == SegmentKind::moved))
      return corrupt("a run is of the other stream", run_offset);
    // A witness keeps records without their blocks.
    const bool has_body = body_offset != 0 || run->header().type != RunType::records;
    const uint32_t body_bytes = has_body ? run->header().body_bytes : 0;
    if (body_offset != (body_bytes == 0 ? 0 : body_end))
      return corrupt("a body does not follow the one before it", directory_offset + 4);
    view.runs.push_back({*run, static_cast<uint32_t>(run_offset), body_offset});
    run_offset += run->header().run_bytes;
    body_end += body_bytes;
  }
  if (run_offset != area.size()) return corrupt("the header area does not end with its last run", 4);
  if (body_end != header.batch_bytes) return corrupt("the batch does not end with its last body", 32);
  return view;
}

Result<void> verify_batch_bodies(const BatchView& batch, ByteSpan bytes) {
  for (const BatchRun& placed : batch.runs) {
    if (placed.body_bytes() == 0) continue;
    const uint64_t end = uint64_t{placed.body_offset} + placed.body_bytes();
    if (end > bytes.size()) return DecodeError{ErrorCode::block_corrupt, "a body is cut off", bytes.size()};
    const ByteSpan body = bytes.subspan(placed.body_offset, placed.run.header().body_bytes);
    const Result<void> verified = verify_body_crcs(placed.run, body);
    if (!verified) {
      const DecodeError& error = verified.error();
      return DecodeError{error.code, error.message, placed.body_offset + error.offset};
    }
  }
  return {};
}

BatchBuilder::BatchBuilder(std::span<uint8_t> out, SegmentKind kind, uint8_t align_log2, size_t runs_max)
    : out_(out), kind_(kind), align_log2_(align_log2), runs_max_(runs_max), used_(runs_offset(runs_max)) {
  ensure(kind == SegmentKind::user || kind == SegmentKind::moved, "batches are of one of the two streams");
  ensure(align_log2 >= kAlignLog2Min && align_log2 <= kAlignLog2Max, "the alignment is 1 to 4 KiB");
  ensure(runs_max > 0 && runs_max <= kRunsMax && out.size() >= used_, "there is room for the directory");
  runs_.reserve(runs_max);
}

void BatchBuilder::add_run(const RunHeader& run, bool with_body) {
  ensure(runs_.size() < runs_max_, "there is room in the directory");
  ensure(run.run_bytes >= kRunHeaderBytes && run.run_bytes <= out_.size() - used_,
         "the run was built in room()");
  ensure((run.type == RunType::moved) == (kind_ == SegmentKind::moved), "a run is of the batch's stream");
  ensure(with_body || run.type == RunType::records, "moved blocks are blocks");
  const uint32_t body_bytes = with_body ? run.body_bytes : 0;
  runs_.push_back({static_cast<uint32_t>(used_), run.run_bytes, body_bytes, 0});
  used_ += run.run_bytes;
  body_bytes_ += body_bytes;
}

uint64_t BatchBuilder::batch_bytes_with(size_t run_bytes, uint64_t body_bytes) const {
  // With the whole directory: what finish() saves of it is no promise.
  return align_up(used_ + run_bytes, uint64_t{1} << align_log2_) + body_bytes_ + body_bytes;
}

BatchLayout BatchBuilder::finish(const BatchPlace& place, uint64_t sequence, uint64_t synced_sequence) {
  ensure(!runs_.empty(), "a batch has something in it");
  ensure(place.segment != 0 && place.seal != 0 && place.offset >= kSegmentHeaderBytes &&
             place.offset % kSlotBytes == 0,
         "a batch lies behind a segment's header, on a slot");
  ensure(sequence > synced_sequence, "a batch is not synced before it is written");

  // Close the gap that directory entries kept for runs that did not come.
  const size_t gap = runs_offset(runs_max_) - runs_offset(runs_.size());
  const size_t runs_start = runs_offset(runs_.size());
  if (gap != 0) {
    std::memmove(out_.data() + runs_start, out_.data() + runs_start + gap, used_ - runs_start - gap);
    for (Placed& run : runs_) run.offset -= static_cast<uint32_t>(gap);
    used_ -= gap;
  }

  BatchLayout layout;
  BatchHeader& header = layout.header;
  header.header_bytes = static_cast<uint32_t>(used_);
  header.segment = place.segment;
  header.offset = place.offset;
  header.sequence = sequence;
  header.synced_sequence = synced_sequence;
  header.run_count = static_cast<uint16_t>(runs_.size());
  header.align_log2 = align_log2_;
  header.kind = kind_;
  header.seal = place.seal;
  layout.bodies_offset = header.padded_header_bytes();
  ensure(layout.bodies_offset <= out_.size(), "there is room for the padding");
  ensure(layout.bodies_offset + body_bytes_ <= kBatchBytesMax, "a batch fits a segment");
  header.batch_bytes = static_cast<uint32_t>(layout.bodies_offset + body_bytes_);

  uint32_t body_offset = layout.bodies_offset;
  uint8_t* directory = out_.data() + kBatchHeaderBytes;
  for (Placed& run : runs_) {
    run.body_offset = run.body_bytes == 0 ? 0 : body_offset;
    body_offset += run.body_bytes;
    store(directory, run.offset);
    store(directory + 4, run.body_offset);
    directory += kDirectoryEntryBytes;
  }
  std::memset(out_.data() + used_, 0, layout.bodies_offset - used_);
  store_header(out_.data(), header);
  store(out_.data() + kCrcOffset, crc32c_without(out_.first(used_), kCrcOffset));
  return layout;
}

ByteSpan BatchBuilder::run_at(size_t index) const {
  ensure(index < runs_.size(), "a run is inside its batch");
  return out_.subspan(runs_[index].offset, runs_[index].run_bytes);
}

uint32_t BatchBuilder::body_offset(size_t index) const {
  ensure(index < runs_.size(), "a run is inside its batch");
  return runs_[index].body_offset;
}

}  // namespace cloudfs
