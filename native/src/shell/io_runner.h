// Carries out IoEffects on a Device. Appends go to the page cache on the caller's thread, reads that the page cache can
// answer too; what has to wait for a disk goes to threads: syncs to one, writing segments ahead to one, reads to a few. Long reads
// for which nobody waits in this turn have one of their own, whatever the page cache has.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "core/base/effects.h"
#include "shell/device.h"
#include "shell/drop_behind.h"
#include "shell/worker_pool.h"

namespace cloudfs::shell {

constexpr size_t kReadThreads = 4;

/// Everything is called on one thread, the loop's.
class IoRunner {
 public:
  /// `wake_fd` is an eventfd, written to when a thread has finished something: then take() has results.
  IoRunner(Device& device, int wake_fd);
  /// Waits for what is under way.
  ~IoRunner();

  /// Starts `effect`. Its result comes out of take(), possibly at once.
  void run(IoEffect effect);

  /// Appends the results that have come to `results`.
  void take(std::vector<IoResult>& results);

  /// Effects whose result take() has not given yet.
  size_t in_flight() const { return in_flight_; }

 private:
  uint64_t place_bytes(uint32_t physical) const;
  int write(const IoEffect& effect);
  void sync(const IoEffect& effect);
  void read(IoEffect effect);
  void prepare(const IoEffect& effect);
  void finish(uint64_t id, int error) { finished_.push_back({id, error}); }
  void forget_synced(uint64_t sync_id);

  /// A sync under way: covers the writes to these files up to number `write`.
  struct Syncing {
    std::vector<std::shared_ptr<StoreFile>> files;
    uint64_t write = 0;
  };

  Device& device_;
  ResultQueue results_;
  std::vector<IoResult> finished_;  // on this thread
  size_t in_flight_ = 0;
  uint64_t writes_ = 0;
  DropBehind drop_behind_;
  std::unordered_map<uint64_t, BufferRef> reading_;  // by effect: threads write into these
  std::unordered_map<uint64_t, Syncing> syncing_;    // by effect
  // Files with writes that no sync covers yet. Held open, because a file opened anew might not be told of a write-back
  // that failed in between.
  std::unordered_map<StoreFile*, std::shared_ptr<StoreFile>> unsynced_;

  // Last, so that their threads are gone before what they use.
  WorkerPool readers_;
  WorkerPool aside_;
  WorkerPool syncer_;
  WorkerPool preparer_;
};

}  // namespace cloudfs::shell
