// Recovery's first half: the checkpoint's tree and tables, the pages it reaches, the headers of the log's segments.
#include <algorithm>

#include "core/store/recovery.h"
#include "core/store/store.h"

namespace cloudfs {

namespace {

constexpr size_t kReadsMax = 64;
constexpr size_t kMarkEntries = 256 * kPageEntries;
constexpr uint64_t kCookieKind = uint64_t{1} << 32;

}  // namespace

void Recovery::begin() {
  const Superblock& block = superblock_.current();
  eager_ = true;
  if (!block.checkpoint.stored()) {
    checkpoint_.store.next_logical = 1;
    checkpoint_.store.next_sequence = 1;
    checkpoint_.store.replay_sequence = 1;
    phase_ = Phase::mark;
    restore_tables();
    return;
  }
  phase_ = Phase::tree;
  tree_level_ = block.checkpoint_height;
  tree_.push_back({block.checkpoint_physical, block.checkpoint, {}});
}

// --- The tree -----------------------------------------------------------------------------------------------------

void Recovery::read_tree() {
  while (tree_issued_ < tree_.size() && tree_issued_ - tree_read_ < kReadsMax) {
    TreePage& page = tree_[tree_issued_];
    if (page.physical >= store_.segments.limit()) return corrupt("a checkpoint page lies outside the store");
    page.bytes = BufferRef(kBlockBytes);
    store_.io.read(*this, kCookieTree * kCookieKind + tree_issued_, page.physical,
                   uint64_t{page.entry.slot} * kSlotBytes, kBlockBytes, page.bytes);
    ++tree_issued_;
  }
}

void Recovery::tree_page_read(uint64_t index, int error) {
  const TreePage& page = tree_[index];
  const std::string place = "checkpoint page in segment " + std::to_string(page.entry.segment) + " at " +
                            std::to_string(page.entry.slot * kSlotBytes);
  if (error != 0) return fail("ERR_STORE_IO", place + " cannot be read: errno " + std::to_string(error));
  if (block_crc(page.bytes.data()) != page.entry.crc) return corrupt(place + " fails its checksum");
  if (++tree_read_ < tree_.size()) return;

  for (const TreePage& one : tree_) tree_pages_.push_back(one.entry);
  if (tree_level_ > 0) {
    // The level below: every entry that is stored. The blob's length says how many there have to be.
    std::vector<TreePage> below;
    for (const TreePage& one : tree_) {
      for (uint32_t at = 0; at < kPageEntries; ++at) {
        const Entry entry = load_entry(one.bytes.data() + at * kEntryBytes);
        if (entry.stored()) below.push_back({static_cast<uint32_t>(entry.birth), entry, {}});
      }
    }
    if (below.empty()) return corrupt("the checkpoint's tree is empty");
    tree_ = std::move(below);
    --tree_level_;
    tree_issued_ = tree_read_ = 0;
    return;
  }
  const uint64_t blob_bytes = superblock_.current().checkpoint_bytes;
  if ((blob_bytes + kBlockBytes - 1) / kBlockBytes != tree_.size())
    return corrupt("the checkpoint's tree has another size");
  std::vector<uint8_t> blob(tree_.size() * kBlockBytes);
  for (size_t at = 0; at < tree_.size(); ++at)
    std::memcpy(blob.data() + at * kBlockBytes, tree_[at].bytes.data(), kBlockBytes);
  blob.resize(blob_bytes);
  tree_.clear();
  Result<Checkpoint> decoded = decode_checkpoint(blob);
  if (!decoded.ok())
    return corrupt(std::string("the checkpoint cannot be decoded: ") + decoded.error().message);
  checkpoint_ = std::move(*decoded);
  phase_ = Phase::mark;
  restore_tables();
}

// --- The tables ---------------------------------------------------------------------------------------------------

void Recovery::restore_tables() {
  Segments& segments = store_.segments;
  next_logical_ = std::max(1u, checkpoint_.store.next_logical);
  for (const CheckpointSegment& stored : checkpoint_.segments) {
    if (stored.physical >= segments.limit())
      return corrupt("the checkpoint names a segment outside the store");
    if (stored.state == SegmentState::free) {
      segments.note_ready(stored.physical);
      continue;
    }
    if (!segments.place(stored.physical).free() || segments.find(stored.logical) != nullptr ||
        stored.logical == 0)
      return corrupt("the checkpoint names a segment twice");
    // What was open is scanned to its end and closed.
    Segment& segment = segments.adopt(stored.physical, stored.logical, stored.kind, PlaceState::sealed);
    segment.used_bytes = stored.used_bytes;
    segment.first_sequence = stored.first_sequence;
    segment.last_sequence = stored.last_sequence;
    next_logical_ = std::max(next_logical_, stored.logical + 1);
    if (stored.live.size() > segment.bits.size() * sizeof(uint64_t))
      return corrupt("a live bitmap is too long");
    for (uint32_t bit = 0; bit < stored.live.size() * 8; ++bit)
      if ((stored.live[bit / 8] >> (bit % 8) & 1) != 0)
        segments.set_live(segment, bit * (kBlockBytes / kSlotBytes), 1);
    for (const CheckpointRange& range : stored.ranges)
      segment.ranges.push_back({range.volume, range.first, range.last});
  }
  for (const CheckpointForwards& stored : checkpoint_.forwards)
    for (const CheckpointForward& forward : stored.entries)
      store_.forwards.add(stored.logical, {forward.from_slot, forward.to_slot, forward.to_segment});

  FrozenLineage frozen;
  frozen.next_node = std::max<NodeId>(1, checkpoint_.store.next_node);
  for (const CheckpointNode& node : checkpoint_.nodes) frozen.nodes.push_back(from_checkpoint(node));
  if (const char* why = store_.lineage.restore(frozen); why != nullptr)
    return corrupt(std::string("the checkpoint's versions: ") + why);
  for (CheckpointVolume& stored : checkpoint_.volumes) {
    VolumeState state;
    state.lsn = stored.applied_lsn;
    state.public_id = stored.applied_public;
    state.size_bytes = stored.size_bytes;
    state.mode = stored.mode;
    state.deleted = (stored.flags & kVolumeDeleted) != 0;
    state.epochs = std::move(stored.epochs);
    state.view = std::move(stored.view);
    state.attach = std::move(stored.attach);
    state.sessions = std::move(stored.sessions);
    const VersionNode* head = store_.lineage.find(stored.head_node);
    const bool has_head = head != nullptr && head->kind == NodeKind::head && head->volume == stored.id;
    if (state.epochs.empty() || has_head == state.deleted || store_.find(stored.id) != nullptr ||
        link_epoch(stored.applied_link) != state.epochs.back().epoch || !decode_create(stored.create).ok() ||
        !decode_view(state.view).ok())
      return corrupt("the checkpoint's volumes do not fit its versions");
    Volume& volume = store_.add_volume();
    volume.restore(stored.id, state, std::move(stored.applied_link), stored.head_node,
                   std::move(stored.create));
    store_.list_volume(volume);
  }
  for (CheckpointLocal& stored : checkpoint_.locals)
    store_.locals.restore(stored.volume, stored.kind, {stored.epoch, std::move(stored.bytes)});

  // The freeze's batches were synced before it was published.
  synced_ = checkpoint_.store.next_sequence - 1;
  next_scanned_ = checkpoint_.store.replay_sequence;
  last_sequence_ = next_scanned_ - 1;
  walk_ = std::make_unique<CheckpointWalk>(store_.pages, frozen.roots());
  store_.checkpoint.slots.start_marking();
  for (const Entry& entry : tree_pages_) page_used(entry);
}

// --- Which index pages are in use ---------------------------------------------------------------------------------

void Recovery::mark() {
  if (failed_ || pages_missing > 0) return;
  const CheckpointWalk::Step step = walk_->step(*this, kMarkEntries);
  if (!step.missing.empty()) {
    for (const MissingPage& page : step.missing)
      if (!index_page(page.entry)) return corrupt("a map page lies in no index segment");
    store_.page_reader.fetch(step.missing, *this);
    return;
  }
  eager_ = true;
  if (!step.done) return;
  store_.lineage.keep_walked();
  walk_.reset();
  store_.checkpoint.slots.publish();
  phase_ = Phase::headers;
  for (uint32_t physical = 0; physical < store_.segments.limit(); ++physical) {
    const Segment& segment = store_.segments.place(physical);
    const bool index = !segment.free() && segment.kind == SegmentKind::index;
    if (segment.free() || (!index && segment.last_sequence + 1 > checkpoint_.store.replay_sequence) ||
        (!index && was_open(physical)))
      to_probe_.push_back(physical);
  }
  probe_pages_.resize(to_probe_.size());
}

void Recovery::on_pages(int error) {
  eager_ = true;
  if (error != 0) corrupt("a map page cannot be read: errno " + std::to_string(error));
}

std::optional<Entry> Recovery::take_slot() {
  ensure(false, "a restored map has no dirty pages");
  return std::nullopt;
}

void Recovery::write_page(const Entry&, std::span<const uint8_t>) {
  ensure(false, "a restored map has no dirty pages");
}

bool Recovery::index_page(const Entry& entry) {
  const Segment* segment = store_.segments.find(entry.segment);
  return segment != nullptr && segment->kind == SegmentKind::index &&
         entry.slot % (kBlockBytes / kSlotBytes) == 0 && entry.slot >= kBlockBytes / kSlotBytes &&
         uint64_t{entry.slot} * kSlotBytes < store_.segments.segment_bytes();
}

void Recovery::page_used(const Entry& entry) {
  if (failed_) return;
  if (!index_page(entry)) return corrupt("a page of the checkpoint lies in no index segment");
  store_.checkpoint.slots.mark(entry);
}

bool Recovery::was_open(uint32_t physical) const {
  for (const CheckpointSegment& stored : checkpoint_.segments)
    if (stored.physical == physical) return stored.state == SegmentState::open;
  return false;
}

// --- Segment headers ----------------------------------------------------------------------------------------------

void Recovery::read_headers() {
  while (probes_issued_ < to_probe_.size() && probes_issued_ - probes_read_ < kReadsMax) {
    probe_pages_[probes_issued_] = BufferRef(kSegmentHeaderBytes);
    store_.io.read(*this, kCookieHeader * kCookieKind + probes_issued_, to_probe_[probes_issued_], 0,
                   kSegmentHeaderBytes, probe_pages_[probes_issued_]);
    ++probes_issued_;
  }
  if (probes_read_ == to_probe_.size()) headers_done();
}

void Recovery::header_read(uint64_t index, int error) {
  ++probes_read_;
  const uint32_t physical = to_probe_[index];
  const BufferRef page = std::move(probe_pages_[index]);
  if (error != 0)
    return fail("ERR_STORE_IO", "the header of segment place " + std::to_string(physical) +
                                    " cannot be read: errno " + std::to_string(error));
  Segment& segment = store_.segments.place(physical);
  const Superblock& block = superblock_.current();
  const Result<SegmentHeader> header = decode_segment_header({page.data(), kSegmentHeaderBytes});
  if (!header.ok() && header.error().code == ErrorCode::store_version)
    return fail("ERR_STORE_VERSION", "a segment is of a later format version");
  const bool ours = header.ok() && header->store == block.store && header->generation == block.generation &&
                    header->physical == physical;
  if (!segment.free()) {
    if (ours && header->logical == segment.logical && header->kind == segment.kind) {
      sources_.push_back({physical, *header});
    } else if (segment.last_sequence != 0) {
      corrupt("the header of segment " + std::to_string(segment.logical) + " is damaged");
    }
    // Else it was opened for a batch that never came.
    return;
  }
  if (!ours) return;
  store_.segments.note_ready(physical);
  next_logical_ = std::max(next_logical_, header->logical + 1);
  // Index segments that the checkpoint does not reach hold nothing; log segments below are from before its freeze.
  if (header->kind == SegmentKind::index || header->logical < checkpoint_.store.next_logical) return;
  if (store_.segments.find(header->logical) != nullptr)
    return corrupt("two segments have the logical id " + std::to_string(header->logical));
  Segment& found = store_.segments.adopt(physical, header->logical, header->kind, PlaceState::sealed);
  found.used_bytes = kSegmentHeaderBytes;
  found.first_sequence = header->first_sequence;
  sources_.push_back({physical, *header});
}

void Recovery::headers_done() {
  store_.segments.set_next_logical(next_logical_);
  LogScanListener& listener = *this;
  scan_ =
      std::make_unique<LogScan>(store_.io, store_.segments.segment_bytes(), std::move(sources_), listener);
  phase_ = Phase::replay;
  eager_ = true;
}

}  // namespace cloudfs
