// Brings a store back: checkpoint, segment headers, roll-forward, sync (docs/core.md, Recovery).
//
// Invariants
// - Batches are replayed in the order of their sequence, without gaps, from the checkpoint's replay sequence to the end of
//   the log; the end is the first batch that is missing or incomplete.
// - Nothing at or before the greatest synced sequence that a valid batch names may be missing: that is corruption.
// - Nothing is written before the roll-forward is done; the superblock with the new start first.
#pragma once

#include <deque>
#include <memory>

#include "core/base/ring.h"
#include "core/format/checkpoint_codec.h"
#include "core/index/page_reader.h"
#include "core/log/appender.h"
#include "core/log/log_scan.h"
#include "core/log/superblock_writer.h"
#include "core/store/checkpoint_walk.h"

namespace cloudfs {

class Store;

class RecoveryListener {
 public:
  virtual void on_recovered(uint64_t start, uint64_t last_sequence) = 0;
  virtual void on_recovery_failed(const char* code, const std::string& message) = 0;

 protected:
  ~RecoveryListener() = default;
};

class Recovery final : IoOwner, PageWaiter, PageSink, LogScanListener, SuperblockListener {
 public:
  Recovery(Store& store, SuperblockWriter& superblock, RecoveryListener& listener);

  void begin();
  /// A bounded amount of work, once a turn.
  void step();
  bool eager() const { return eager_; }

 private:
  // Kinds of reads, in the high half of their cookies.
  static constexpr uint64_t kCookieTree = 1;
  static constexpr uint64_t kCookieHeader = 2;
  enum class Phase : uint8_t { tree, mark, headers, replay, apply, sync, superblock, done };

  // IoOwner: checkpoint pages, headers, bodies
  void on_io(uint64_t cookie, int error) override;
  // PageWaiter: marking
  void on_pages(int error) override;
  // PageSink: marking
  std::optional<Entry> take_slot() override;
  void write_page(const Entry& entry, std::span<const uint8_t> bytes) override;
  void page_used(const Entry& entry) override;
  // LogScanListener
  void on_scan_ready() override { eager_ = true; }
  // SuperblockListener
  void on_superblock(int error) override;

  void fail(const char* code, const std::string& message);
  void corrupt(const std::string& message) { fail("ERR_STORE_CORRUPT", message); }

  // recovery_checkpoint.cc
  void read_tree();
  void tree_page_read(uint64_t index, int error);
  void restore_tables();
  void mark();
  bool index_page(const Entry& entry);
  bool was_open(uint32_t physical) const;
  void read_headers();
  void header_read(uint64_t physical, int error);
  void headers_done();

  // recovery.cc
  void replay();
  bool take_batches();
  bool look_behind();
  void scan_failed();
  bool verify_front();
  bool replay_front();
  bool may_replay(const RunView& run);
  const char* replay_run(const RunView& run, const PlacedRun& placed);
  void apply();

  Store& store_;
  SuperblockWriter& superblock_;
  RecoveryListener& listener_;
  Phase phase_ = Phase::tree;
  bool eager_ = false;
  bool failed_ = false;

  // The checkpoint's tree: pages of one level at a time.
  struct TreePage {
    uint32_t physical = 0;
    Entry entry;
    BufferRef bytes;
  };
  std::vector<TreePage> tree_;
  uint32_t tree_level_ = 0;
  size_t tree_issued_ = 0;
  size_t tree_read_ = 0;
  std::vector<Entry> tree_pages_;  // every page of the tree: its slots are in use
  Checkpoint checkpoint_;
  std::unique_ptr<CheckpointWalk> walk_;

  // Headers.
  std::vector<uint32_t> to_probe_;
  size_t probes_issued_ = 0;
  size_t probes_read_ = 0;
  std::vector<BufferRef> probe_pages_;
  std::vector<LogSource> sources_;
  uint32_t next_logical_ = 1;

  // Roll-forward.
  std::unique_ptr<LogScan> scan_;
  Ring<ScannedBatch> scanned_;  // in order, not replayed
  size_t replaying_run_ = 0;    // of the front batch: runs before it are replayed
  uint64_t next_scanned_ = 1;
  bool scan_ended_ = false;
  uint64_t end_ = 0;            // the batch at which the log seems to end; 0 = not reached
  uint64_t synced_ = 0;         // greatest synced sequence that a batch names
  uint64_t last_sequence_ = 0;  // newest batch replayed, or before the replay
  // The body of the front batch, while it is verified.
  BufferRef body_;
  uint32_t body_reads_ = 0;
  uint64_t verified_ = 0;           // batches up to here have whole bodies
  std::vector<uint32_t> unsynced_;  // places that hold batches not known to be synced
};

}  // namespace cloudfs
