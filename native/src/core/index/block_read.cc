#include "core/index/block_read.h"

#include <cerrno>

#include "core/base/checksum.h"

namespace cloudfs {

namespace {

// Bytes between two wanted blocks that are read along rather than skipped: a header area between the batches of a
// sequential write. Blocks are still checked and given out one by one.
constexpr uint32_t kGapBytesMax = 8192;
constexpr uint32_t kReadBytesMax = 4u << 20;

}  // namespace

void ReadGate::submit(IoOwner& owner, uint64_t cookie, uint32_t physical, uint64_t offset, uint32_t bytes,
                      BufferRef target) {
  if (reads_ < reads_max_ && waiting_.empty()) {
    ++reads_;
    io_.read(owner, cookie, physical, offset, bytes, std::move(target));
  } else {
    waiting_.push_back({&owner, cookie, physical, offset, bytes, std::move(target)});
  }
}

void ReadGate::done() {
  ensure(reads_ > 0, "a read that completes was in flight");
  --reads_;
  if (waiting_.empty()) return;
  ++reads_;
  Waiting next = std::move(waiting_.front());
  waiting_.pop_front();
  io_.read(*next.owner, next.cookie, next.physical, next.offset, next.bytes, std::move(next.target));
}

bool BlockRead::start(Segments& segments, const Forwards& forwards, ReadGate& gate, BlockReadOwner& owner) {
  ensure(missing_ == 0, "blocks are read once at a time");
  segments_ = &segments;
  gate_ = &gate;
  owner_ = &owner;
  extents_.clear();
  blocks_.clear();
  parts_.clear();
  error_ = 0;
  for (const MapRun& run : runs) {
    if (!run.entry.stored()) continue;
    const Entry entry = forwards.resolve(run.entry);
    const uint32_t offset = entry.slot * kSlotBytes;
    blocks_.push_back({run.block, entry});
    if (!extents_.empty()) {
      Extent& last = extents_.back();
      const uint32_t end = last.offset + last.bytes;
      if (last.logical == entry.segment && offset >= end && offset - end <= kGapBytesMax &&
          offset + kBlockBytes - last.offset <= kReadBytesMax) {
        last.bytes = offset + kBlockBytes - last.offset;
        ++last.count;
        continue;
      }
    }
    Extent& extent = extents_.emplace_back();
    extent.logical = entry.segment;
    extent.segment = &segments.at(entry.segment);
    extent.offset = offset;
    extent.bytes = kBlockBytes;
    extent.first = static_cast<uint32_t>(blocks_.size() - 1);
    extent.count = 1;
  }
  // All pins before the first read: a segment must not go while its read waits at the gate.
  for (Extent& extent : extents_) {
    ++extent.segment->pins;
    extent.buffer = BufferRef(extent.bytes);
  }
  missing_ = static_cast<uint32_t>(extents_.size());
  if (missing_ == 0) {
    assemble();
    return true;
  }
  for (size_t index = 0; index < extents_.size(); ++index) {
    const Extent& extent = extents_[index];
    gate.submit(*this, index, extent.segment->physical, extent.offset, extent.bytes, extent.buffer);
  }
  return false;
}

void BlockRead::on_io(uint64_t cookie, int error) {
  const Extent& extent = extents_[cookie];
  --extent.segment->pins;
  gate_->done();
  if (error != 0) {
    error_ = error;
  } else {
    for (uint32_t index = extent.first; index < extent.first + extent.count; ++index) {
      const Block& block = blocks_[index];
      const uint8_t* data = extent.buffer.data() + (block.entry.slot * kSlotBytes - extent.offset);
      if (block_crc(data) == block.entry.crc) continue;
      error_ = EIO;
      owner_->on_corrupt_block(block.block, block.entry);
    }
  }
  if (--missing_ > 0) return;
  if (error_ == 0) assemble();
  owner_->on_blocks(*this, error_);
}

void BlockRead::assemble() {
  size_t extent_index = 0;
  size_t block_index = 0;
  for (const MapRun& run : runs) {
    if (!run.entry.stored()) {
      if (!parts_.empty() && parts_.back().data == nullptr &&
          parts_.back().block + parts_.back().count == run.block) {
        parts_.back().count += run.count;
      } else {
        parts_.push_back({run.block, run.count, nullptr, {}});
      }
      continue;
    }
    while (block_index >= extents_[extent_index].first + extents_[extent_index].count) ++extent_index;
    const Extent& extent = extents_[extent_index];
    const uint8_t* data =
        extent.buffer.data() + (blocks_[block_index].entry.slot * kSlotBytes - extent.offset);
    ++block_index;
    if (!parts_.empty() && parts_.back().data != nullptr && parts_.back().owner == extent.buffer &&
        parts_.back().data + parts_.back().count * kBlockBytes == data &&
        parts_.back().block + parts_.back().count == run.block) {
      ++parts_.back().count;
    } else {
      parts_.push_back({run.block, 1, data, extent.buffer});
    }
  }
}

void BlockRead::clear() {
  ensure(missing_ == 0, "nothing is in flight for what is cleared");
  runs.clear();
  extents_.clear();
  blocks_.clear();
  parts_.clear();
}

}  // namespace cloudfs
