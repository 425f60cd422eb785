// Compacted catch-up at a follower: blocks from the primary are staged in a version of their own, and the volume moves there
// at once when all have come (docs/core.md, Compacted catch-up).
//
// Invariants
// - Until the move the volume is as it was, in memory and on disk. What is staged hangs on a head that no volume names, which a
//   start drops.
// - The move becomes durable with a checkpoint, whole; no record behind it is taken before.
// - Each block's crc and digest are checked before it is appended.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "core/format/frame.h"
#include "core/index/page_reader.h"
#include "core/log/appender.h"
#include "core/volume/volume.h"

namespace cloudfs {

/// What staging needs of its store.
class StagingHost {
 public:
  virtual Volume* find(const VolumeId& id) const = 0;
  virtual Volume& add_volume() = 0;
  /// The volume has its id.
  virtual void list_volume(Volume& volume) = 0;
  virtual void event(std::string name, std::string detail) = 0;
  /// Its replica was dropped because this store was no member any more: as one that joins it gets everything anew.
  virtual bool has_left(const VolumeId& id) const = 0;

 protected:
  ~StagingHost() = default;
};

struct StagingParts {
  StagingHost& host;
  const StoreIdentity& identity;
  Appender& appender;
  Segments& segments;
  Lineage& lineage;
  PageReader& page_reader;
};

/// Names a transfer of a store; 0 = none.
using TransferId = uint64_t;

class Staging final : BatchMember {
 public:
  explicit Staging(const StagingParts& parts) : parts_(parts) {}

  /// `epoch`: the leader's. `wait`: give the frame again. Else `transfer` is open.
  [[nodiscard]] Volume::Accepted open(const VolumeId& id, const Epoch& epoch, const CompactFrame& frame,
                                      TransferId& transfer);
  /// `frame` holds the blocks' bytes.
  [[nodiscard]] Volume::Accepted add(TransferId transfer, const BlocksFrame& blocks, const Slice& frame);
  /// Moves the volume there; the transfer ends. `wait`: blocks are on their way to the log.
  [[nodiscard]] Volume::Accepted close(TransferId transfer, const CompactedFrame& frame);
  /// Ends a transfer; its blocks are freed.
  void abandon(TransferId transfer);
  /// Forgets what was abandoned, once nothing is under way for it.
  void reap();

 private:
  /// A snapshot on the way, or the end.
  struct Stage {
    Lsn lsn = 0;
    VersionId version;
    uint64_t blocks = 0;
    std::string name;  // empty: the end
    NodeId node = 0;   // once passed
  };
  struct Transfer final : PageWaiter {
    VolumeId id;
    CheckpointVolume state;
    std::vector<SnapshotItem> snapshots;
    Lsn base = 0;          // what the volume holds itself
    bool undoes = false;   // what the volume holds is not the leader's: everything comes anew
    bool returns = false;  // to a store that had left: nothing is held
    NodeId head = 0;       // 0: there is nothing to stage
    std::vector<Stage> stages;
    size_t stage = 0;
    size_t items_done = 0;   // of the frame at hand
    bool checked = false;    // the frame at hand was
    uint32_t runs_open = 0;  // not appended
    uint32_t runs_unplaced = 0;
    int page_error = 0;
    bool abandoned = false;
    void on_pages(int error) override { page_error = error; }
  };
  struct Run {
    TransferId transfer = 0;
    std::vector<BlockItem> items;
  };

  // BatchMember; the cookie is the run's number
  void on_placed(const PlacedRun& run, uint64_t cookie) override;
  void on_appended(uint64_t cookie, uint64_t sequence) override;
  void on_synced(uint64_t, uint64_t) override {}

  Transfer& at(TransferId transfer);
  [[nodiscard]] Volume::Accepted describe(const VolumeId& id, const CompactFrame& frame, Transfer& out);
  [[nodiscard]] Volume::Accepted check(Transfer& transfer, const BlocksFrame& blocks);
  [[nodiscard]] Volume::Accepted reach(Transfer& transfer, size_t stage);
  [[nodiscard]] bool fetch(Transfer& transfer, const MissingPages& missing);
  [[nodiscard]] Volume::Accepted add_zeroed(Transfer& transfer, const BlockItem& item);
  [[nodiscard]] bool add_run(TransferId id, Transfer& transfer, const BlocksFrame& blocks,
                             const Slice& frame);
  void move(Transfer& transfer);

  const StagingParts parts_;
  std::map<TransferId, std::unique_ptr<Transfer>> transfers_;
  TransferId next_transfer_ = 1;
  std::map<uint64_t, Run> runs_;  // made, not appended
  uint64_t next_run_ = 1;
};

}  // namespace cloudfs
