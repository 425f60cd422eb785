#include "core/replication/compaction.h"

#include <algorithm>
#include <cerrno>

#include "core/volume/volume.h"

namespace cloudfs {

namespace {

// Pieces of one frame: at most a megabyte of blocks.
constexpr size_t kItemsPerFrame = 256;
constexpr uint64_t kZeroedMax = UINT32_MAX;
// Snapshots in a description; of more the oldest are left out, for it has to fit a frame.
constexpr size_t kSnapshotsMax = 16384;
constexpr uint32_t kRepairRoundsMax = 3;

}  // namespace

Compaction::Compaction(Volume& volume, Streams& streams, const Epoch& epoch, StreamId stream,
                       CompactionOwner& owner, Lsn from, bool headers)
    : volume_(volume),
      streams_(streams),
      epoch_(epoch),
      stream_(stream),
      owner_(owner),
      from_(from),
      headers_(headers) {}

Compaction::~Compaction() = default;

void Compaction::cancel() {
  cancelled_ = true;
  drop_forks();
}

void Compaction::drop_forks() {
  Lineage& lineage = volume_.parts().lineage;
  for (const Stage& stage : std::exchange(stages_, {})) {
    const VersionNode* fork = lineage.find(stage.fork);
    if (fork != nullptr && fork->kind == NodeKind::head) lineage.drop_head(stage.fork);
  }
}

void Compaction::fail(const char* code, const char* message) {
  streams_.refuse(stream_, epoch_, code, message);
}

void Compaction::begin() {
  Lineage& lineage = volume_.parts().lineage;
  CheckpointVolume description = volume_.describe();
  description.head_node = 0;
  to_ = description.applied_lsn;
  version_ = description.applied_public;
  CompactFrame frame{from_, to_, description.size_bytes, {}, {}};
  if (volume_.head() != 0) {
    const NodeId hidden = lineage.branch_point(volume_.head(), to_, version_);
    stages_.push_back({lineage.branch(hidden, volume_.id()), from_});
    for (NodeId id = hidden; id != 0; id = lineage.node(id).parent) {
      const VersionNode& node = lineage.node(id);
      if (node.volume != volume_.id() || node.kind != NodeKind::named) continue;
      if (frame.snapshots.size() == kSnapshotsMax) break;
      frame.snapshots.push_back({node.lsn, node.version, node.map.blocks() * kBlockBytes, node.name});
      if (node.lsn > from_ && id != hidden) stages_.push_back({lineage.branch(id, volume_.id()), from_});
    }
    std::reverse(frame.snapshots.begin(), frame.snapshots.end());
    std::reverse(stages_.begin(), stages_.end());
    for (size_t index = 1; index < stages_.size(); ++index)
      stages_[index].born_after = lineage.limit(lineage.node(stages_[index - 1].fork));
  }
  // A witness gets the description alone: the history's end, and what its versions are called.
  if (headers_) drop_forks();
  const std::vector<uint8_t> bytes = encode_checkpoint_volume(description);
  frame.volume = bytes;
  streams_.send(stream_, encode_compact(epoch_, frame));
  begun_ = true;
}

void Compaction::pump() {
  if (cancelled_ || done_) return;
  if (!begun_) begin();
  Lineage& lineage = volume_.parts().lineage;
  while (stage_ < stages_.size()) {
    if (in_flight() || streams_.unsent(stream_) >= kStreamUnsentBytesMax || !owner_.may_send()) return;
    const VersionNode* fork = lineage.find(stages_[stage_].fork);
    if (fork == nullptr || fork->kind != NodeKind::head) {
      // The volume was deleted: that record is what the follower needs.
      return streams_.close(stream_);
    }
    ExtentMap& map = lineage.node(stages_[stage_].fork).map;
    if (position_ == map.blocks()) {
      ++stage_;
      position_ = 0;
      continue;
    }
    read_.clear();
    const MissingPages missing =
        map.scan(position_, map.blocks(), stages_[stage_].born_after, kItemsPerFrame, read_.runs);
    if (!missing.empty()) volume_.parts().page_reader.fetch(missing, *this);
    if (read_.runs.empty()) continue;
    repair_rounds_ = 0;
    read_blocks();
  }
  if (volume_.own().synced < to_) return volume_.want_sync();
  streams_.send(stream_, encode_compacted(epoch_, {to_, version_}));
  done_ = true;
  drop_forks();
}

void Compaction::read_blocks() {
  reading_ = true;
  if (!read_.start(volume_.parts().segments, volume_.parts().forwards, volume_.parts().read_gate, *this))
    return;
  reading_ = false;
  send_blocks();
}

void Compaction::send_blocks() {
  std::vector<BlockItem> items;
  std::vector<Slice> slices(1);  // the frame's head comes first
  for (const BlockRead::Part& part : read_.parts())
    if (part.data != nullptr)
      slices.push_back({part.owner, part.data, static_cast<size_t>(part.count) * kBlockBytes});
  for (const MapRun& run : read_.runs) {
    if (!run.entry.stored() && volume_.parts().plant == Plant::trim_lost_in_catch_up) continue;
    if (!run.entry.stored()) {
      for (uint64_t done = 0; done < run.count; done += kZeroedMax)
        items.push_back({run.block + done, run.entry.birth,
                         static_cast<uint32_t>(std::min(kZeroedMax, run.count - done)), 0});
      continue;
    }
    // What was read has this crc: BlockRead.
    items.push_back({run.block, run.entry.birth, 0, run.entry.crc});
  }
  BufferRef head = encode_blocks(epoch_, items);
  slices[0] = {head, head.data(), head.size()};
  uint64_t bytes = 0;
  for (const Slice& slice : slices) bytes += slice.size;
  streams_.send(stream_, std::move(slices));
  owner_.on_sent(bytes);
  read_.clear();
}

void Compaction::on_pages(int error) {
  if (cancelled_) return;
  if (error != 0) return fail("ERR_STORE_CORRUPT", "a map page of the volume cannot be read");
  owner_.on_compaction_moved();
}

void Compaction::on_blocks(BlockRead&, int error) {
  reading_ = false;
  if (cancelled_ || repairs_open_ > 0) return;
  if (std::exchange(met_rot_, false) && !is_rotten_) {
    // The fork shares them with others, so a forward leads to where they are now.
    ++repair_rounds_;
    return read_blocks();
  }
  if (error != 0) return fail("ERR_BLOCK_CORRUPT", "a block of the volume cannot be read");
  send_blocks();
  owner_.on_compaction_moved();
}

void Compaction::on_corrupt_block(uint64_t block, const Entry& entry) {
  met_rot_ = true;
  if (repair_rounds_ < kRepairRoundsMax &&
      volume_.parts().host.on_corrupt_block(volume_, block, entry, *this)) {
    ++repairs_open_;
  } else {
    is_rotten_ = true;
  }
}

void Compaction::on_repair_ended(bool is_good) {
  is_rotten_ |= !is_good;
  --repairs_open_;
  if (repairs_open_ == 0 && !reading_) on_blocks(read_, EIO);
}

}  // namespace cloudfs
