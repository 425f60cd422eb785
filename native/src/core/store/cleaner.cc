#include "core/store/cleaner.h"

#include <algorithm>

#include "core/base/hex.h"
#include "core/store/store.h"

namespace cloudfs {

namespace {

// Moved in one turn: clients' batches queue behind it.
constexpr uint64_t kBytesPerTurn = 256u << 10;
// A segment is looked through in about so many turns, for the checksums of what lives in it are made: 1 MiB of 32 in each.
constexpr uint32_t kPartsLookedAt = 32;
// Room for a segment is given back when nothing has been cleaned for so long.
constexpr uint64_t kSpareNs = 1'000'000'000;
constexpr size_t kBlocksPerRun = kBytesPerTurn / kBlockBytes;

}  // namespace

void Cleaner::clean(uint32_t logical, uint64_t command) {
  Job& job = jobs_.emplace_back();
  job.logical = logical;
  job.command = command;
}

void Cleaner::fail() {
  for (Job& job : std::exchange(jobs_, {}))
    store_.command_failed(job.command, "ERR_STORE_FAILED", "the store stopped");
}

void Cleaner::step() {
  if (spare_ && jobs_.empty() && store_.now_ns() - spare_since_ns_ >= kSpareNs) spare_ = {};
  while (!jobs_.empty()) {
    Job& job = jobs_.front();
    if (!job.reading && !job.read) {
      if (!begin(job)) {
        jobs_.pop_front();
        continue;
      }
      return;
    }
    if (!job.read) return;
    if (!job.collected) {
      if (!collect(job)) {
        --store_.segments.at(job.logical).pins;
        jobs_.pop_front();
        continue;
      }
      if (!job.collected) return;
    }
    if (job.made < job.blocks.size() && !make_runs(job)) return;
    if (job.made < job.blocks.size() || job.runs_open > 0 || job.repairs_open > 0) return;
    finish(job);
    jobs_.pop_front();
  }
}

bool Cleaner::begin(Job& job) {
  Segment* segment = store_.segments.find(job.logical);
  if (segment == nullptr) {
    refuse(job, "ERR_UNKNOWN_SEGMENT", "no segment has this id");
    return false;
  }
  if (segment->kind == SegmentKind::index || segment->state != PlaceState::sealed ||
      segment->last_sequence >= store_.first_unapplied_batch()) {
    refuse(job, "ERR_SEGMENT_BUSY", "the segment is written to, or holds updates that are not applied");
    return false;
  }
  if (segment->live == 0) {
    store_.command_done(job.command, "{\"movedBytes\":0}");
    return false;
  }
  ++segment->pins;  // until the job ends
  job.reading = true;
  job.bytes = room_for_segment();
  // Aside: copied from the page cache in one piece it would hold up a turn for as long as many clients' batches take.
  store_.io.read_aside(*this, 0, segment->physical, 0, segment->used_bytes, job.bytes);
  return true;
}

BufferRef Cleaner::room_for_segment() {
  BufferRef spare = std::exchange(spare_, {});
  return spare.unique() ? spare : BufferRef(store_.segments.segment_bytes());
}

void Cleaner::on_io(uint64_t, int error) {
  if (jobs_.empty()) return;  // the store stopped
  Job& job = jobs_.front();
  job.reading = false;
  if (error != 0) refuse(job, "ERR_STORE_IO", "the segment cannot be read: errno " + std::to_string(error));
  if (error != 0) {
    --store_.segments.at(job.logical).pins;
    jobs_.pop_front();
    return;
  }
  job.read = true;
  job.looked_at = kSegmentHeaderBytes;
}

// --- What is live in the segment ----------------------------------------------------------------------------------

/// The next part. @returns false: the segment was refused
bool Cleaner::collect(Job& job) {
  const Segment& segment = store_.segments.at(job.logical);
  uint32_t& offset = job.looked_at;
  const uint32_t end =
      std::min(segment.used_bytes, offset + store_.segments.segment_bytes() / kPartsLookedAt);
  while (offset < end) {
    const Result<BatchView> batch = decode_batch({job.bytes.data() + offset, segment.used_bytes - offset});
    if (!batch.ok() || batch->header.segment != job.logical || batch->header.offset != offset) {
      store_.event("block-corrupt",
                   "{\"volume\":null,\"block\":null,\"logical\":" + std::to_string(job.logical) +
                       ",\"offset\":" + std::to_string(offset) + "}");
      refuse(job, "ERR_BATCH_CORRUPT", "a batch in the segment is damaged");
      return false;
    }
    for (const BatchRun& run : batch->runs)
      if (run.body_bytes() > 0) collect_run(job, run.run, offset + run.body_offset);
    offset += batch->header.batch_bytes;
  }
  if (offset == segment.used_bytes) on_collected(job);
  return true;
}

void Cleaner::on_collected(Job& job) {
  const Segment& segment = store_.segments.at(job.logical);
  job.collected = true;
  // Some of those looked at first may have died since.
  std::erase_if(job.blocks, [&](const Block& block) { return !segment.is_live(block.moved.from_slot); });
  std::erase_if(job.rotten, [&](const Rotten& one) { return !segment.is_live(one.place.slot); });
  ensure(job.blocks.size() + job.rotten.size() == segment.live,
         "each live block of a segment is a block of one of its batches");
  // Neighbours of a volume lie side by side again.
  std::stable_sort(job.blocks.begin(), job.blocks.end(), [](const Block& a, const Block& b) {
    return std::tie(a.volume, a.epoch, a.moved.block) < std::tie(b.volume, b.epoch, b.moved.block);
  });
  // Asked for only now: of a segment that is refused nobody would be there to hear how it ends.
  for (const Rotten& one : job.rotten) {
    if (store_.repairs.want(one.volume, one.block, one.place, this)) {
      ++job.repairs_open;
    } else {
      job.is_rotten = true;
    }
  }
}

void Cleaner::collect_run(Job& job, const RunView& run, uint32_t body_offset) {
  const Segment& segment = store_.segments.at(job.logical);
  const RunHeader& header = run.header();
  const auto add = [&](uint64_t block, Lsn birth, const BlockSum& sum, uint32_t offset) {
    const auto slot = static_cast<uint16_t>(offset / kSlotBytes);
    if (!segment.is_live(slot)) return;
    if (block_crc(job.bytes.data() + offset) != sum.crc) {
      const Entry place{job.logical, slot, birth, sum.crc};
      store_.note_corrupt(header.volume, block, place);
      job.rotten.push_back({header.volume, block, place});
      return;
    }
    Block& added = job.blocks.emplace_back();
    added.volume = header.volume;
    added.epoch = header.epoch;
    added.moved = {block, birth, job.logical, slot, sum};
    added.offset = offset;
  };
  if (header.type == RunType::moved) {
    for (uint32_t index = 0; index < header.count; ++index) {
      const MovedBlock block = run.moved_block(index);
      add(block.block, block.birth, block.sum, body_offset + index * kBlockBytes);
    }
    return;
  }
  if (header.type != RunType::records) return;
  for (const RecordView record : run.records()) {
    size_t stored = 0;
    for (size_t index = 0; index < record.extent_count(); ++index) {
      const Extent extent = record.extent(index);
      if (extent.kind != ExtentKind::data) continue;
      for (uint32_t block = 0; block < extent.count; ++block, ++stored) {
        const auto offset = static_cast<uint32_t>(body_offset + record.body_offset() + stored * kBlockBytes);
        add(extent.block + block, record.lsn(), record.block_sum(stored), offset);
      }
    }
  }
}

// --- To the moved stream ------------------------------------------------------------------------------------------

bool Cleaner::make_runs(Job& job) {
  constexpr SegmentKind kStream = SegmentKind::moved;
  const Segment& segment = store_.segments.at(job.logical);
  uint64_t turn_bytes = 0;
  while (job.made < job.blocks.size() && turn_bytes < kBytesPerTurn) {
    if (!segment.is_live(job.blocks[job.made].moved.from_slot)) {
      ++job.made;  // it died since
      continue;
    }
    const size_t run_bytes_min = kRunHeaderBytes + kMovedBlockBytes;
    const Room room = store_.appender.reserve(kStream, SpaceClass::internal, run_bytes_min, kBlockBytes);
    if (room == Room::wait) return false;
    if (room == Room::no_space) {
      // What was moved stays moved; the rest keeps its place.
      job.blocks.resize(job.made);
      job.no_space = true;
      return true;
    }
    const Block& first = job.blocks[job.made];
    RunHeader header;
    header.type = RunType::moved;
    header.volume = first.volume;
    header.epoch = first.epoch;
    // Tells a recovery that what is applied was committed.
    if (const Volume* volume = store_.find(first.volume)) header.commit_lsn = volume->committed();
    RunBuilder builder(store_.appender.run_room(kStream), header);
    Run run;
    do {
      const Block& block = job.blocks[job.made];
      ++job.made;
      if (!segment.is_live(block.moved.from_slot)) continue;
      builder.add_moved(block.moved);
      store_.appender.add_body(kStream, {job.bytes, job.bytes.data() + block.offset, kBlockBytes});
      run.blocks.push_back(block);
      turn_bytes += kBlockBytes;
    } while (job.made < job.blocks.size() && run.blocks.size() < kBlocksPerRun &&
             job.blocks[job.made].volume == header.volume && job.blocks[job.made].epoch == header.epoch &&
             store_.appender.fits(kStream, builder.header().run_bytes + kMovedBlockBytes,
                                  builder.header().body_bytes + kBlockBytes));
    builder.finish();
    job.moved_bytes += run.blocks.size() * kBlockBytes;
    ++job.runs_open;
    runs_.push_back(std::move(run));
    store_.appender.add_run(kStream, builder.header(), *this, first_run_ + runs_.size() - 1);
  }
  return true;
}

void Cleaner::on_placed(const PlacedRun& placed, uint64_t cookie) {
  uint32_t slot = placed.body_slot;
  for (Block& block : runs_[cookie - first_run_].blocks) {
    block.to_segment = placed.segment;
    block.to_slot = slot;
    slot += kBlockBytes / kSlotBytes;
  }
}

void Cleaner::on_appended(uint64_t cookie, uint64_t) {
  ensure(cookie == first_run_, "moved runs are appended in order");
  const Run run = std::move(runs_.front());
  runs_.pop_front();
  ++first_run_;
  for (const Block& block : run.blocks)
    store_.move_block(block.volume, block.moved, block.to_segment, block.to_slot);
  if (!jobs_.empty()) --jobs_.front().runs_open;
}

void Cleaner::on_repair_ended(bool is_good) {
  if (jobs_.empty()) return;  // the store stopped
  --jobs_.front().repairs_open;
  jobs_.front().is_rotten |= !is_good;
}

void Cleaner::finish(Job& job) {
  --store_.segments.at(job.logical).pins;
  spare_ = std::move(job.bytes);
  spare_since_ns_ = store_.now_ns();
  if (job.no_space) {
    refuse(job, "ERR_STORE_FULL", "no free segment is left to move blocks to");
  } else if (job.is_rotten) {
    refuse(job, "ERR_BLOCK_CORRUPT", "a live block in the segment is damaged, and nobody has a good copy");
  } else {
    store_.command_done(job.command, "{\"movedBytes\":" + std::to_string(job.moved_bytes) + "}");
  }
}

void Cleaner::refuse(Job& job, const char* code, const std::string& message) {
  store_.command_failed(job.command, code, message);
}

}  // namespace cloudfs
