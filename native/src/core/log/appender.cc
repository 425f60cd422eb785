#include "core/log/appender.h"

#include <algorithm>

#include "core/base/assert.h"

namespace cloudfs {

namespace {

// Memory for one header area. A batch whose headers outgrow it is closed; 2,000 single-block writes fit.
constexpr uint32_t kHeaderAreaBytes = 128u << 10;
// Room kept for the directory. More volumes than this writing in one turn make more batches. One run more than was
// reserved fits: a creation brings its stamp along.
constexpr size_t kRunsPerBatch = 16;
constexpr uint64_t kSyncCookie = 0;  // writes have the batch's sequence, which is never 0

}  // namespace

Appender::Appender(const CoreParams& params, IoQueue& io, Segments& segments, AppenderHost& host)
    : params_(params), io_(io), segments_(segments), host_(host) {
  streams_[1].kind = SegmentKind::moved;
  const uint64_t batch_bytes_max = segments.segment_bytes() - kSegmentHeaderBytes;
  const uint64_t align = uint64_t{1} << params.align_log2;
  // Whole pages: the last one is padded in the same memory.
  header_bytes_max_ =
      static_cast<uint32_t>(std::min<uint64_t>(kHeaderAreaBytes, batch_bytes_max / 2) / align * align);
  // A record has to fit a batch of its own in an empty segment, wherever zeros lie in it.
  const auto record_fits = [&](uint64_t blocks) {
    const uint64_t header = align_up(kBatchHeaderBytes + kDirectoryEntryBytes * kRunsPerBatch +
                                         kRunHeaderBytes + write_record_bytes_max(blocks),
                                     align);
    return header <= header_bytes_max_ && header + blocks * kBlockBytes <= batch_bytes_max &&
           blocks * kBlockBytes <=
               std::min<uint64_t>(params.record_body_bytes_max, params.batch_body_bytes_max);
  };
  while (record_fits(record_blocks_max_ + 1)) ++record_blocks_max_;
  ensure(record_blocks_max_ > 0, "parameters let a record of one block fit a segment");
}

void Appender::begin(const StoreIdentity& identity, uint64_t start, uint64_t last_sequence) {
  identity_ = identity;
  start_ = start;
  made_ = appended_ = synced_ = last_sequence;
}

// --- Making batches -----------------------------------------------------------------------------------------------

bool Appender::fits_batch(const Stream& stream, size_t run_bytes, uint64_t body_bytes) const {
  const BatchBuilder& batch = *stream.batch;
  return run_bytes <= batch.room().size() && batch.run_count() + 1 < kRunsPerBatch &&
         (stream.body_bytes == 0 || stream.body_bytes + body_bytes <= params_.batch_body_bytes_max) &&
         batch.batch_bytes_with(run_bytes, body_bytes) <=
             segments_.segment_bytes() - stream.segment->used_bytes;
}

bool Appender::fits(SegmentKind kind, size_t run_bytes, uint64_t body_bytes) const {
  return fits_batch(stream_of(kind), run_bytes, body_bytes);
}

Room Appender::reserve(SegmentKind kind, SpaceClass space, size_t run_bytes, uint64_t body_bytes) {
  Stream& stream = stream_of(kind);
  // Data does not go on in a segment that was opened from the reserve.
  if (space == SpaceClass::data && segments_.free_count() < host_.segments_kept(space)) return Room::no_space;
  if (stream.batch && fits_batch(stream, run_bytes, body_bytes)) return Room::ok;
  if (stream.batch && stream.batch->run_count() > 0) close_batch(stream);
  if (stream.segment != nullptr) {
    begin_batch(stream);
    if (fits_batch(stream, run_bytes, body_bytes)) return Room::ok;
  }
  if (const Room room = open_segment_for(stream, space); room != Room::ok) return room;
  begin_batch(stream);
  ensure(fits_batch(stream, run_bytes, body_bytes), "what is appended fits an empty segment");
  return Room::ok;
}

Room Appender::open_segment_for(Stream& stream, SpaceClass space) {
  if (segments_.free_count() <= host_.segments_kept(space)) return Room::no_space;
  Segment* next = segments_.open(stream.kind, 0);
  if (next == nullptr) return Room::wait;
  stream.batch.reset();
  if (stream.segment != nullptr) {
    segments_.seal(*stream.segment);
    host_.on_sealed(*stream.segment);
  }
  stream.segment = next;
  return Room::ok;
}

void Appender::begin_batch(Stream& stream) {
  if (stream.batch) return;
  stream.header = BufferRef(header_bytes_max_);
  stream.batch.emplace(std::span<uint8_t>(stream.header.data(), header_bytes_max_), stream.kind,
                       params_.align_log2, kRunsPerBatch);
  stream.body_bytes = 0;
}

std::span<uint8_t> Appender::run_room(SegmentKind kind) {
  return stream_of(kind).batch->room();
}

void Appender::add_body(SegmentKind kind, Slice bytes) {
  std::vector<Slice>& bodies = stream_of(kind).bodies;
  // Neighbours in one buffer become one slice: a run of small writes in one receive buffer, or blocks of one payload.
  if (!bodies.empty() && bodies.back().data + bodies.back().size == bytes.data &&
      bodies.back().owner == bytes.owner) {
    bodies.back().size += bytes.size;
    return;
  }
  bodies.push_back(std::move(bytes));
}

void Appender::add_run(SegmentKind kind, const RunHeader& run, BatchMember& member, uint64_t cookie,
                       bool with_body) {
  Stream& stream = stream_of(kind);
  stream.batch->add_run(run, with_body);
  if (with_body) stream.body_bytes += run.body_bytes;
  stream.members.push_back({&member, cookie});
}

SegmentHeader Appender::header_of(const Segment& segment) const {
  SegmentHeader header;
  header.logical = segment.logical;
  header.store = identity_.store;
  header.physical = segment.physical;
  header.generation = identity_.generation;
  header.start = start_;
  header.first_sequence = segment.first_sequence;
  header.kind = segment.kind;
  return header;
}

void Appender::close_batches() {
  for (Stream& stream : streams_)
    if (stream.batch && stream.batch->run_count() > 0) close_batch(stream);
}

void Appender::close_batch(Stream& stream) {
  Segment& segment = *stream.segment;
  const uint64_t sequence = ++made_;
  const uint32_t offset = segment.used_bytes;
  const bool first = offset == kSegmentHeaderBytes;
  if (first) {
    segment.first_sequence = sequence;
    stream.seal = batch_seal(header_of(segment));
  }
  const BatchLayout layout = stream.batch->finish({segment.logical, offset, stream.seal}, sequence, synced_);
  const uint32_t bytes = layout.header.batch_bytes;
  ensure(bytes <= segments_.segment_bytes() - offset, "a batch lies in its segment");

  std::vector<Slice> slices;
  slices.reserve(stream.bodies.size() + 2);
  if (first) {
    BufferRef page(kSegmentHeaderBytes);
    encode_segment_header(header_of(segment), {page.data(), kSegmentHeaderBytes});
    slices.push_back({page, page.data(), kSegmentHeaderBytes});
  }
  slices.push_back({stream.header, stream.header.data(), layout.bodies_offset});
  uint64_t body_bytes = 0;
  for (Slice& body : stream.bodies) {
    body_bytes += body.size;
    slices.push_back(std::move(body));
  }
  stream.bodies.clear();
  ensure(layout.bodies_offset + body_bytes == bytes, "the bodies added are those the runs tell of");

  segment.used_bytes += bytes;
  segment.last_sequence = sequence;
  if (made_ - synced_ == 1 || unsynced_bytes_ == 0) unsynced_since_ns_ = now_ns_;
  log_bytes_ += bytes;

  const auto dirty = std::find_if(dirty_.begin(), dirty_.end(),
                                  [&](const Dirty& one) { return one.physical == segment.physical; });
  if (dirty == dirty_.end()) {
    dirty_.push_back({segment.physical, sequence, 0});
  } else {
    dirty->batch = sequence;
  }

  Batch& batch = in_flight_.push_back({});
  batch.sequence = sequence;
  batch.bytes = bytes;
  batch.members = std::move(stream.members);
  stream.members.clear();
  const BatchBuilder builder = std::move(*stream.batch);
  const BufferRef header = std::move(stream.header);
  stream.batch.reset();
  stream.header = {};
  io_.write(*this, sequence, segment.physical, first ? 0 : offset, std::move(slices));

  for (size_t index = 0; index < batch.members.size(); ++index) {
    const ByteSpan run = builder.run_at(index);
    const uint32_t body_offset = builder.body_offset(index);
    PlacedRun placed;
    placed.bytes = {header, run.data(), run.size()};
    placed.segment = segment.logical;
    placed.body_slot = body_offset == 0 ? 0 : (offset + body_offset) / kSlotBytes;
    placed.sequence = sequence;
    batch.members[index].member->on_placed(placed, batch.members[index].cookie);
  }
}

// --- Completions and syncs ----------------------------------------------------------------------------------------

void Appender::on_io(uint64_t cookie, int error) {
  if (failed_) return;
  if (error != 0) {
    failed_ = true;
    host_.on_append_failed(cookie == kSyncCookie ? "sync" : "append", error);
  } else if (cookie == kSyncCookie) {
    sync_done();
  } else {
    written(cookie);
  }
}

void Appender::written(uint64_t sequence) {
  ensure(sequence > appended_ && sequence - appended_ <= in_flight_.size(), "a batch in flight is written");
  in_flight_[static_cast<size_t>(sequence - appended_ - 1)].written = true;
  bool any = false;
  while (!in_flight_.empty() && in_flight_.front().written) {
    Batch batch = std::move(in_flight_.front());
    in_flight_.pop_front();
    appended_ = batch.sequence;
    unsynced_bytes_ += batch.bytes;
    any = true;
    for (const Member& member : batch.members) {
      unsynced_.push_back({batch.sequence, member});
      member.member->on_appended(member.cookie, batch.sequence);
    }
  }
  if (any) host_.on_progress();
}

void Appender::want_sync(uint64_t sequence) {
  ensure(sequence <= made_, "a sync is wanted of what was made");
  sync_wanted_ = std::max(sync_wanted_, sequence);
}

uint64_t Appender::want_next_sync() {
  syncs_wanted_ = syncs_issued_ + 1;
  return syncs_wanted_;
}

uint64_t Appender::want_sync_of(uint32_t physical) {
  const uint64_t number = want_next_sync();
  const auto dirty =
      std::find_if(dirty_.begin(), dirty_.end(), [&](const Dirty& one) { return one.physical == physical; });
  if (dirty == dirty_.end()) {
    dirty_.push_back({physical, 0, number});
  } else {
    dirty->sync = number;
  }
  return number;
}

void Appender::turn(uint64_t now_ns) {
  now_ns_ = now_ns;
  if (syncing_ || failed_) return;
  const bool behind = appended_ > synced_;
  const bool due = behind && (unsynced_bytes_ >= params_.sync_bytes_max ||
                              now_ns - unsynced_since_ns_ >= params_.sync_interval_ns);
  if ((sync_wanted_ > synced_ && behind) || syncs_wanted_ > syncs_issued_ || due) issue_sync();
}

void Appender::issue_sync() {
  std::vector<uint32_t> physicals;
  physicals.reserve(dirty_.size());
  for (const Dirty& dirty : dirty_) physicals.push_back(dirty.physical);
  syncing_ = true;
  sync_covers_ = appended_;
  ++syncs_issued_;
  unsynced_bytes_ = 0;
  unsynced_since_ns_ = now_ns_;
  io_.sync(*this, kSyncCookie, std::move(physicals));
}

void Appender::sync_done() {
  syncing_ = false;
  synced_ = sync_covers_;
  syncs_done_ = syncs_issued_;
  // What was written since the sync was issued stays: its newest batch, or the sync it waits for, lies ahead.
  std::erase_if(dirty_,
                [&](const Dirty& dirty) { return dirty.batch <= synced_ && dirty.sync <= syncs_done_; });
  while (!unsynced_.empty() && unsynced_.front().sequence <= synced_) {
    const Mark mark = unsynced_.front();
    unsynced_.pop_front();
    mark.member.member->on_synced(mark.member.cookie, mark.sequence);
  }
  host_.on_progress();
}

std::optional<uint64_t> Appender::next_deadline_ns() const {
  if (syncing_ || failed_ || appended_ == synced_) return std::nullopt;
  return unsynced_since_ns_ + params_.sync_interval_ns;
}

}  // namespace cloudfs
