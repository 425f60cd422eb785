// Reads live blocks so that rot is found, and repaired, while another replica has a good copy (docs/core.md, Repair). Policy says
// how many at a time and when; here is one step of it.
//
// What is read is what the versions' maps name: each version's own blocks, which its parent does not have. So damage to the log
// around a block does not hide it.
#pragma once

#include <deque>

#include "core/index/block_read.h"
#include "core/index/lineage.h"
#include "core/index/page_reader.h"
#include "core/index/repair_waiter.h"

namespace cloudfs {

class Store;

/// Blocks of one step.
constexpr uint64_t kScrubBlocksMax = 1024;

class Scrubber final : PageWaiter, BlockReadOwner, RepairWaiter {
 public:
  explicit Scrubber(Store& store) : store_(store) {}

  /// Where a pass stands: a version, and a block of it. {0, 0}: at its beginning.
  struct Position {
    NodeId node = 0;
    uint64_t block = 0;
  };
  /// Answered when the blocks found were read, and repaired where they were bad and could be.
  void scrub(const Position& from, uint64_t blocks_max, uint64_t command);
  /// Once a turn.
  void step();
  bool has_work() const { return !jobs_.empty() && !reading_ && pages_missing == 0 && repairs_open_ == 0; }
  /// The store stopped.
  void fail();

 private:
  struct Job {
    Position position;
    uint64_t blocks_max = 0;
    uint64_t command = 0;
    uint64_t blocks = 0;
    uint64_t corrupt = 0;
    uint64_t repaired = 0;
    uint64_t pages_corrupt = 0;
    bool looked = false;  // blocks were found, or the pass is done
    bool done = false;
  };

  void on_pages(int error) override;
  void on_blocks(BlockRead& read, int error) override;
  void on_corrupt_block(uint64_t block, const Entry& entry) override;
  void on_repair_ended(bool is_good) override;

  void look(Job& job);
  void read();
  void answer();
  std::vector<VolumeId> volumes_with(NodeId id) const;

  Store& store_;
  std::deque<Job> jobs_;
  BlockRead read_;
  // Of the blocks being read: volumes that have them, as far as this store knows; in the name of `volume_` they are asked for.
  std::vector<VolumeId> volumes_;
  size_t volume_ = 0;
  uint64_t corrupt_ = 0;  // in this round
  uint64_t failed_ = 0;   // of them
  bool reading_ = false;
  uint32_t repairs_open_ = 0;
};

}  // namespace cloudfs
