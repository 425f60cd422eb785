// Writes checkpoints: freeze, walk, blob, sync, superblock, release (docs/core.md, Checkpoint).
//
// Invariants
// - Nothing that the published checkpoint names is overwritten or released before the next one is published.
// - A checkpoint is published only after a sync that covers every batch made before its freeze, so that recovery from it
//   needs nothing that a power cut could take.
// - A data segment is released only if it was dead when the freeze was made, and lies wholly before the batches that
//   recovery from this checkpoint replays.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "core/format/checkpoint_codec.h"
#include "core/index/lineage.h"
#include "core/index/page_reader.h"
#include "core/log/superblock_writer.h"
#include "core/store/checkpoint_walk.h"
#include "core/store/index_slots.h"

namespace cloudfs {

class Store;

class CheckpointWriter final : PageSink, IoOwner, PageWaiter, SuperblockListener {
 public:
  CheckpointWriter(Store& store, SuperblockWriter& superblock);

  bool running() const { return phase_ != Phase::idle; }
  /// Freezes the store's state; at a turn's end, when no batch is being made.
  void begin();
  /// A bounded amount of work, once a turn.
  void step();
  /// There is something to do though nothing completes.
  bool eager() const { return eager_; }

  IndexSlots slots;

  /// Counts published checkpoints of this run.
  uint64_t published() const { return published_; }
  /// Pages that the newest blob took.
  uint64_t blob_pages() const { return blob_pages_; }
  /// Of published checkpoints together: bytes of pages written, and time from the freeze on.
  uint64_t written_bytes() const { return published_bytes_; }
  uint64_t spent_ns() const { return published_ns_; }
  /// Log behind the newest freeze, what this start went through included: what the next one would have to go through.
  uint64_t log_bytes_behind() const;
  /// A start went through so much of the log.
  void replayed(uint64_t log_bytes) { replayed_bytes_ += log_bytes; }
  /// Log bytes that were appended when the newest freeze was made.
  uint64_t frozen_log_bytes() const { return frozen_log_bytes_; }

 private:
  enum class Phase : uint8_t { idle, walk, blob, sync, superblock };

  // PageSink
  std::optional<Entry> take_slot() override;
  void write_page(const Entry& entry, std::span<const uint8_t> bytes) override;
  void page_used(const Entry& entry) override;
  // IoOwner: page writes
  void on_io(uint64_t cookie, int error) override;
  // PageWaiter: the walk's
  void on_pages(int error) override;
  // SuperblockListener
  void on_superblock(int error) override;

  Checkpoint freeze_tables();
  bool is_over(const VolumeId& id, LocalKind kind) const;
  void freeze_volumes(Checkpoint& out);
  void freeze_segments(Checkpoint& out);
  void walk();
  void write_blob();
  void add_index_segments(Checkpoint& out);
  void flush_writes();
  void publish();
  void release_dead();

  Store& store_;
  SuperblockWriter& superblock_;
  Phase phase_ = Phase::idle;
  bool eager_ = false;
  FrozenLineage lineage_;
  std::unique_ptr<CheckpointWalk> walk_;
  Checkpoint tables_;
  std::vector<uint32_t> dead_;  // logical ids
  uint64_t made_ = 0;           // batch up to which a sync must reach
  uint64_t sync_number_ = 0;
  uint32_t writes_ = 0;  // in flight
  // Pages that were given to write_page and are not issued yet: neighbours go out in one write.
  struct PageWrite {
    Entry entry;
    Slice bytes;
  };
  std::vector<PageWrite> unissued_;
  std::vector<Entry> blob_slots_;
  Superblock next_;
  uint64_t published_ = 0;
  uint64_t blob_pages_ = 0;
  uint64_t frozen_log_bytes_ = 0;
  uint64_t replayed_bytes_ = 0;
  uint64_t began_ns_ = 0;
  uint64_t bytes_ = 0;  // of pages given to write_page and of the blob, since began_ns_
  uint64_t published_bytes_ = 0;
  uint64_t published_ns_ = 0;
};

}  // namespace cloudfs
