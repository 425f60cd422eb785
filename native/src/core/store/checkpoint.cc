#include "core/store/checkpoint.h"

#include <algorithm>

#include "core/store/store.h"

namespace cloudfs {

namespace {

// Entries that a turn's part of the walk looks at: some hundred pages to write at most.
constexpr size_t kWalkEntries = 64 * kPageEntries;
// Page writes in flight; past this the walk waits, so that a checkpoint cannot fill the disk's queue.
constexpr uint32_t kWritesMax = 64;

}  // namespace

CheckpointWriter::CheckpointWriter(Store& store, SuperblockWriter& superblock)
    : slots(store.io, store.segments), store_(store), superblock_(superblock) {}

void CheckpointWriter::begin() {
  ensure(phase_ == Phase::idle, "one checkpoint is made at a time");
  lineage_ = store_.lineage.freeze();
  tables_ = freeze_tables();
  if (store_.params.plant == Plant::freed_before_commit) release_dead();
  made_ = store_.appender.made();
  frozen_log_bytes_ = store_.appender.log_bytes();
  replayed_bytes_ = 0;
  began_ns_ = store_.now_ns();
  bytes_ = 0;
  slots.start_marking();
  walk_ = std::make_unique<CheckpointWalk>(store_.pages, lineage_.roots());
  phase_ = Phase::walk;
  eager_ = true;
}

uint64_t CheckpointWriter::log_bytes_behind() const {
  return replayed_bytes_ + store_.appender.log_bytes() - frozen_log_bytes_;
}

void CheckpointWriter::step() {
  eager_ = false;
  switch (phase_) {
    case Phase::idle:
      return;
    case Phase::walk:
      return walk();
    case Phase::blob:
      if (writes_ == 0) write_blob();
      return;
    case Phase::sync:
      if (writes_ > 0) return;
      if (sync_number_ == 0) {
        for (const uint32_t physical : slots.written()) sync_number_ = store_.appender.want_sync_of(physical);
        store_.appender.want_sync(made_);
      }
      if (store_.appender.syncs_done() < sync_number_ || store_.appender.synced() < made_) return;
      if (superblock_.busy()) return;
      phase_ = Phase::superblock;
      superblock_.write(next_, *this);
      return;
    case Phase::superblock:
      return;
  }
}

// --- Map pages ----------------------------------------------------------------------------------------------------

void CheckpointWriter::walk() {
  if (pages_missing > 0 || writes_ >= kWritesMax) return;
  const CheckpointWalk::Step step = walk_->step(*this, kWalkEntries);
  flush_writes();
  if (!step.missing.empty()) {
    store_.page_reader.fetch(step.missing, *this);
    return;
  }
  if (!step.done) {
    eager_ = !step.blocked;
    return;
  }
  phase_ = Phase::blob;
  eager_ = true;
}

std::optional<Entry> CheckpointWriter::take_slot() {
  return slots.take(*this, 0, writes_);
}

void CheckpointWriter::write_page(const Entry& entry, std::span<const uint8_t> bytes) {
  BufferRef buffer(bytes.size());
  std::memcpy(buffer.data(), bytes.data(), bytes.size());
  unissued_.push_back({entry, {buffer, buffer.data(), bytes.size()}});
}

void CheckpointWriter::page_used(const Entry& entry) {
  slots.mark(entry);
}

void CheckpointWriter::flush_writes() {
  bytes_ += unissued_.size() * kBlockBytes;
  for (size_t index = 0; index < unissued_.size();) {
    const Entry first = unissued_[index].entry;
    std::vector<Slice> slices;
    for (uint32_t slot = first.slot; index < unissued_.size(); ++index, slot += kBlockBytes / kSlotBytes) {
      PageWrite& next = unissued_[index];
      if (next.entry.segment != first.segment || next.entry.slot != slot) break;
      slices.push_back(std::move(next.bytes));
    }
    ++writes_;
    store_.io.write(*this, 0, store_.segments.at(first.segment).physical, uint64_t{first.slot} * kSlotBytes,
                    std::move(slices));
  }
  unissued_.clear();
}

void CheckpointWriter::on_io(uint64_t, int error) {
  --writes_;
  if (error != 0)
    store_.fail("ERR_STORE_IO", "a checkpoint page cannot be written: errno " + std::to_string(error));
}

void CheckpointWriter::on_pages(int error) {
  if (error != 0) store_.fail("ERR_STORE_CORRUPT", "a map page cannot be read for a checkpoint");
  eager_ = true;
}

// --- The blob -----------------------------------------------------------------------------------------------------

void CheckpointWriter::write_blob() {
  // Where the map's pages lie is known now.
  if (tables_.nodes.empty())
    for (const FrozenNode& node : lineage_.nodes) tables_.nodes.push_back(to_checkpoint(node));

  // Taking slots may open segments, which the blob lists: until it fits what was taken.
  std::vector<uint8_t> blob;
  uint32_t height = 0;
  const auto pages_of = [&] {
    uint64_t level = (blob.size() + kBlockBytes - 1) / kBlockBytes;
    uint64_t total = level;
    for (height = 0; level > 1; ++height) {
      level = (level + kPageEntries - 1) / kPageEntries;
      total += level;
    }
    return total;
  };
  for (;;) {
    Checkpoint whole = tables_;
    add_index_segments(whole);
    blob = encode_checkpoint(whole);
    const uint64_t pages = pages_of();
    while (blob_slots_.size() > pages) {
      slots.unmark(blob_slots_.back());
      blob_slots_.pop_back();
    }
    if (blob_slots_.size() == pages) break;
    while (blob_slots_.size() < pages) {
      const std::optional<Entry> slot = take_slot();
      if (!slot) return;  // a segment is being prepared; what was taken stays taken
      blob_slots_.push_back(*slot);
    }
  }
  blob_pages_ = blob_slots_.size();

  size_t next_slot = 0;
  const auto write = [&](const uint8_t* bytes, size_t length) {
    BufferRef page(kBlockBytes);
    std::memset(page.data(), 0, kBlockBytes);
    std::memcpy(page.data(), bytes, length);
    Entry entry = blob_slots_[next_slot++];
    entry.crc = block_crc(page.data());
    unissued_.push_back({entry, {page, page.data(), kBlockBytes}});
    // In this tree `birth` is the physical place: the table of segments is inside the blob.
    entry.birth = store_.segments.at(entry.segment).physical;
    return entry;
  };
  std::vector<Entry> level;
  for (size_t at = 0; at < blob.size(); at += kBlockBytes)
    level.push_back(write(blob.data() + at, std::min<size_t>(kBlockBytes, blob.size() - at)));
  while (level.size() > 1) {
    std::vector<Entry> above;
    for (size_t at = 0; at < level.size(); at += kPageEntries) {
      std::vector<uint8_t> page(kBlockBytes);
      for (size_t index = at; index < std::min(level.size(), at + kPageEntries); ++index)
        store_entry(page.data() + (index - at) * kEntryBytes, level[index]);
      above.push_back(write(page.data(), page.size()));
    }
    level = std::move(above);
  }
  ensure(next_slot == blob_slots_.size(), "the checkpoint's tree takes the pages that were counted");
  flush_writes();
  blob_slots_.clear();

  next_ = superblock_.current();
  next_.checkpoint = level[0];
  next_.checkpoint.birth = 0;
  next_.checkpoint_bytes = blob.size();
  next_.checkpoint_physical = static_cast<uint32_t>(level[0].birth);
  next_.checkpoint_height = height;
  ensure(height == checkpoint_tree_height(blob.size()), "writer and reader agree on the tree's height");
  phase_ = Phase::sync;
  sync_number_ = 0;
}

void CheckpointWriter::add_index_segments(Checkpoint& out) {
  for (const Segment& segment : store_.segments.places()) {
    if (segment.free() || segment.kind != SegmentKind::index || !slots.marked(segment)) continue;
    CheckpointSegment stored;
    stored.physical = segment.physical;
    stored.logical = segment.logical;
    stored.kind = SegmentKind::index;
    stored.state = SegmentState::sealed;
    stored.used_bytes = store_.segments.segment_bytes();
    out.segments.push_back(std::move(stored));
  }
}

// --- Publishing ---------------------------------------------------------------------------------------------------

void CheckpointWriter::on_superblock(int error) {
  if (error != 0) {
    store_.fail("ERR_STORE_IO", "the superblock cannot be written: errno " + std::to_string(error));
    return;
  }
  publish();
}

void CheckpointWriter::release_dead() {
  for (const uint32_t logical : dead_) {
    Segment& segment = store_.segments.at(logical);
    ensure(segment.live == 0, "a dead segment stays dead");
    if (segment.pins == 0) store_.segments.release(segment);  // else the next checkpoint does
  }
  dead_.clear();
}

void CheckpointWriter::publish() {
  store_.lineage.keep_walked();
  walk_.reset();
  lineage_ = {};
  tables_ = {};
  release_dead();
  slots.publish();
  phase_ = Phase::idle;
  ++published_;
  published_bytes_ += bytes_;
  published_ns_ += store_.now_ns() - began_ns_;
  store_.on_checkpointed(superblock_.current().sequence);
}

}  // namespace cloudfs
