// Reads blocks of one version: where they lie is known already (MapRuns of a look-up); neighbours become one read, their
// segments are pinned until it completes, and each block's crc is checked. Pooled inside operations, so that a read in
// steady state allocates its buffers alone.
#pragma once

#include <vector>

#include "core/base/io_queue.h"
#include "core/base/ring.h"
#include "core/index/extent_map.h"
#include "core/index/forwards.h"
#include "core/log/segments.h"

namespace cloudfs {

class BlockRead;

/// Told when all blocks of a BlockRead are there, or could not be read.
class BlockReadOwner {
 public:
  virtual void on_blocks(BlockRead& read, int error) = 0;
  /// Wrong bytes lie at (segment, slot); they are never given out.
  virtual void on_corrupt_block(uint64_t block, const Entry& entry) = 0;

 protected:
  ~BlockReadOwner() = default;
};

/// Bounds the reads in flight over all operations; what exceeds it waits, first come, first served.
class ReadGate {
 public:
  ReadGate(IoQueue& io, uint32_t reads_max) : io_(io), reads_max_(reads_max) {}
  void submit(IoOwner& owner, uint64_t cookie, uint32_t physical, uint64_t offset, uint32_t bytes,
              BufferRef target);
  /// A read that was submitted is complete.
  void done();

 private:
  struct Waiting {
    IoOwner* owner = nullptr;
    uint64_t cookie = 0;
    uint32_t physical = 0;
    uint64_t offset = 0;
    uint32_t bytes = 0;
    BufferRef target;
  };
  IoQueue& io_;
  const uint32_t reads_max_;
  uint32_t reads_ = 0;
  Ring<Waiting> waiting_;
};

class BlockRead final : IoOwner {
 public:
  /// Blocks that lie side by side in what was read, or side by side holes.
  struct Part {
    uint64_t block = 0;
    uint64_t count = 0;
    const uint8_t* data = nullptr;  // nullptr: reads as zeros
    BufferRef owner;
  };

  /// Filled by look-ups before start(); ascending.
  std::vector<MapRun> runs;

  /// @returns true if nothing has to be read: parts() are there already and the owner is not called
  bool start(Segments& segments, const Forwards& forwards, ReadGate& gate, BlockReadOwner& owner);
  const std::vector<Part>& parts() const { return parts_; }
  void clear();

 private:
  /// One read of one segment; its blocks are blocks_[first, first + count).
  struct Extent {
    Segment* segment = nullptr;
    uint32_t logical = 0;
    uint32_t offset = 0;
    uint32_t bytes = 0;
    uint32_t first = 0;
    uint32_t count = 0;
    BufferRef buffer;
  };
  struct Block {
    uint64_t block = 0;
    Entry entry;  // resolved
  };
  void on_io(uint64_t cookie, int error) override;
  void assemble();

  Segments* segments_ = nullptr;
  ReadGate* gate_ = nullptr;
  BlockReadOwner* owner_ = nullptr;
  std::vector<Extent> extents_;
  std::vector<Block> blocks_;
  std::vector<Part> parts_;
  uint32_t missing_ = 0;
  int error_ = 0;
};

}  // namespace cloudfs
