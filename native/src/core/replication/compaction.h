// Compacted catch-up at the primary: sends one follower the volume's committed state, as blocks born after what the follower
// holds, because the log no longer holds the records (docs/core.md, Compacted catch-up).
//
// Invariants
// - What is sent is the state of one version: forks of the head and of the snapshots keep it while it is read.
// - Versions go in the order of their history, each as its difference to the one before.
// - The end is said only when this store has synced the version: a power cut of the primary leaves no follower ahead of it.
#pragma once

#include <vector>

#include "core/index/block_read.h"
#include "core/index/lineage.h"
#include "core/index/page_reader.h"
#include "core/index/repair_waiter.h"
#include "core/replication/streams.h"

namespace cloudfs {

class Volume;

class CompactionOwner {
 public:
  /// There may be more to send, or the end has come.
  virtual void on_compaction_moved() = 0;
  /// Whether another piece may be read and sent now; if not, pump() is called again.
  [[nodiscard]] virtual bool may_send() = 0;
  virtual void on_sent(uint64_t bytes) = 0;

 protected:
  ~CompactionOwner() = default;
};

class Compaction final : PageWaiter, BlockReadOwner, RepairWaiter {
 public:
  /// `from`: the follower holds the history up to here, committed; 0: nothing. `headers`: it is a witness, and gets no blocks.
  Compaction(Volume& volume, Streams& streams, const Epoch& epoch, StreamId stream, CompactionOwner& owner,
             Lsn from, bool headers);
  ~Compaction();
  Compaction(const Compaction&) = delete;
  Compaction& operator=(const Compaction&) = delete;

  /// Sends as much as the stream takes and the owner allows.
  void pump();
  bool done() const { return done_; }
  Lsn to() const { return to_; }
  /// A read is under way, or a repair: keep this object.
  bool in_flight() const { return reading_ || pages_missing > 0 || repairs_open_ > 0; }
  /// Nothing more is sent.
  void cancel();

 private:
  struct Stage {
    NodeId fork = 0;
    Lsn born_after = 0;
  };

  // PageWaiter
  void on_pages(int error) override;
  // BlockReadOwner
  void on_blocks(BlockRead& read, int error) override;
  void on_corrupt_block(uint64_t block, const Entry& entry) override;
  // RepairWaiter
  void on_repair_ended(bool is_good) override;

  void begin();
  void read_blocks();
  void send_blocks();
  void fail(const char* code, const char* message);
  void drop_forks();

  Volume& volume_;
  Streams& streams_;
  const Epoch epoch_;  // the leader's
  const StreamId stream_;
  CompactionOwner& owner_;
  const Lsn from_;
  const bool headers_;
  Lsn to_ = 0;
  VersionId version_;
  std::vector<Stage> stages_;
  size_t stage_ = 0;
  uint64_t position_ = 0;
  BlockRead read_;
  bool begun_ = false;
  bool reading_ = false;
  uint32_t repairs_open_ = 0;
  uint32_t repair_rounds_ = 0;  // of the blocks at hand
  bool met_rot_ = false;
  bool is_rotten_ = false;  // of what it met something cannot be repaired
  bool done_ = false;
  bool cancelled_ = false;
};

}  // namespace cloudfs
