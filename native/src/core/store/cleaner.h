// Moves the live blocks out of a segment that policy chose (docs/core.md, Cleaning).
//
// Invariants
// - A block is moved with the crc and digest that its record gave it, and only if its bytes have that crc: cleaning never
//   launders rot. One whose bytes have not is had from another replica (repairs.h), or stays where it is.
// - Its old place is given up in the step in which the new one counts: when the moved batch is appended. Both steps happen
//   again, in the same order, when the batch is replayed.
// - Only blocks of applied records are moved.
// - A segment of 32 MiB is looked through and moved in small parts, a turn each: clients wait for a turn to end.
#pragma once

#include <deque>
#include <vector>

#include "core/base/io_queue.h"
#include "core/format/run.h"
#include "core/index/repair_waiter.h"
#include "core/log/appender.h"

namespace cloudfs {

class Store;

class Cleaner final : BatchMember, IoOwner, RepairWaiter {
 public:
  explicit Cleaner(Store& store) : store_(store) {}

  /// Queues a segment; the command is answered when its live blocks were moved.
  void clean(uint32_t logical, uint64_t command);
  bool busy() const { return !jobs_.empty(); }
  /// There is something to do in the next turn, whether anything completes or not.
  bool has_work() const { return !jobs_.empty() && jobs_.front().read && !jobs_.front().collected; }
  /// A bounded amount of work, once a turn; batches are being made.
  void step();
  /// The store stopped.
  void fail();

 private:
  struct Block {
    VolumeId volume;
    Epoch epoch;
    MovedBlock moved;
    uint32_t offset = 0;  // in the segment
    uint32_t to_segment = 0;
    uint32_t to_slot = 0;
  };
  struct Rotten {
    VolumeId volume;
    uint64_t block = 0;
    Entry place;
  };
  struct Job {
    uint32_t logical = 0;
    uint64_t command = 0;
    bool reading = false;
    bool read = false;
    BufferRef bytes;
    uint32_t looked_at = 0;     // of `bytes`: up to where its batches were looked at
    bool collected = false;     // to the end
    std::vector<Block> blocks;  // live when they were looked at
    size_t made = 0;            // of them: looked at for the moved stream
    size_t runs_open = 0;       // runs that are not appended
    uint64_t moved_bytes = 0;
    bool no_space = false;
    std::vector<Rotten> rotten;  // live, and not what their checksums say
    uint32_t repairs_open = 0;
    bool is_rotten = false;  // of its blocks one cannot be repaired
  };
  /// A run in the moved stream: blocks of the job at the front.
  struct Run {
    std::vector<Block> blocks;
  };

  // BatchMember; the cookie is the run's number
  void on_placed(const PlacedRun& run, uint64_t cookie) override;
  void on_appended(uint64_t cookie, uint64_t sequence) override;
  void on_synced(uint64_t, uint64_t) override {}
  void on_io(uint64_t cookie, int error) override;
  void on_repair_ended(bool is_good) override;

  bool begin(Job& job);
  bool collect(Job& job);
  void on_collected(Job& job);
  void collect_run(Job& job, const RunView& run, uint32_t body_offset);
  bool make_runs(Job& job);
  BufferRef room_for_segment();
  void finish(Job& job);
  void refuse(Job& job, const char* code, const std::string& message);

  Store& store_;
  std::deque<Job> jobs_;
  std::deque<Run> runs_;    // made, not appended
  uint64_t first_run_ = 1;  // number of the first of them
  // The last job's room, for the next one: memory fresh from the kernel, and giving it back, cost milliseconds.
  BufferRef spare_;
  uint64_t spare_since_ns_ = 0;
};

}  // namespace cloudfs
