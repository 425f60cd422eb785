// A block whose bytes rotted here is had from another replica (docs/core.md, Repair): asks for it, checks what comes, writes it
// to the moved stream, from where on it counts as any block that was moved.
//
// Invariants
// - A block is taken only under the name that this store's map has for it: volume, place in it, the update that wrote it, crc;
//   and only if its bytes have that crc. So no other version of it is ever taken, and nobody's rot.
// - Its old place is given up in the step in which the new one counts, as with cleaning: heads, snapshots and branches that
//   share the block are mended at once, and a replay does the same again.
// - Everything ends: a repair that nobody could help with in kRepairNs is given up, and whoever waits for it gets EIO.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "core/format/frame.h"
#include "core/format/run.h"
#include "core/index/repair_waiter.h"
#include "core/log/appender.h"
#include "core/replication/streams.h"

namespace cloudfs {

class Store;
class Volume;

/// Repairs of a store at once. What comes when there are as many is not repaired now: EIO.
constexpr size_t kRepairsMax = 1024;
/// A reader waits for so long.
constexpr uint64_t kRepairNs = 3'000'000'000;
/// Who has not answered after this time is taken for one that cannot.
constexpr uint64_t kBlockAnswerNs = 1'000'000'000;
/// Who said that the block may come is asked again after this time.
constexpr uint64_t kAskAgainNs = 100'000'000;

/// Who may have a good copy of a volume's blocks.
struct RepairSources {
  std::vector<StreamId> streams;
  Epoch epoch;            // under which they are asked
  bool may_grow = false;  // others are away, or not known to be on this history yet
};

/// What was done, since the start.
struct RepairCounts {
  uint64_t corrupt = 0;     // bad blocks met, repeatedly if they were not repaired
  uint64_t repaired = 0;    // blocks
  uint64_t unrepaired = 0;  // repairs given up
  uint64_t given = 0;       // good blocks given to others
  uint64_t refused = 0;     // answers that were not what was asked for
  uint64_t scrubbed = 0;    // blocks read for no client
};

class Repairs final : BatchMember {
 public:
  explicit Repairs(Store& store) : store_(store) {}

  /// The block that an entry of the volume's map leads to is bad; `place` is where its forwards lead. `waiter` (not owned; it
  /// stays until it is told) may be nullptr. @returns false: there is no room for another one, and nobody will be told
  bool want(const VolumeId& volume, uint64_t block, const Entry& place, RepairWaiter* waiter);
  /// As want(), for nobody, after `delay_ns`: who asked for it is to be done by then.
  void want_later(const VolumeId& volume, uint64_t block, const Entry& place, uint64_t delay_ns);
  /// This place is being repaired, or is going to be.
  bool is_wanted(const Entry& place) const;
  void on_answer(StreamId stream, const VolumeId& volume, const BlockAnswerFrame& answer);
  /// Once a turn, before batches are closed.
  void step();
  std::optional<uint64_t> next_deadline_ns() const;
  /// The store stopped.
  void fail();

  RepairCounts counts;

 private:
  struct Tried {
    StreamId stream = 0;
    uint64_t again_ns = UINT64_MAX;  // not before; by default never
  };
  enum class Stage : uint8_t { asking, writing, appending };
  struct Job {
    uint64_t number = 0;
    VolumeId volume;
    BlockName name;
    Entry place;
    Stage stage = Stage::asking;
    std::vector<RepairWaiter*> waiters;
    uint64_t begins_ns = 0;
    uint64_t until_ns = 0;
    StreamId asked = 0;
    uint64_t asked_until_ns = 0;
    std::vector<Tried> tried;
    Slice bytes;
    BlockSum sum;
    uint32_t to_segment = 0;
    uint32_t to_slot = 0;
    bool ended = false;
  };

  // BatchMember; the cookie is the job's number
  void on_placed(const PlacedRun& run, uint64_t cookie) override;
  void on_appended(uint64_t cookie, uint64_t sequence) override;
  void on_synced(uint64_t, uint64_t) override {}

  Job* find(uint64_t number);
  Job* add(const VolumeId& volume, uint64_t block, const Entry& place);
  bool is_live(const Entry& place) const;
  void ask(Job& job);
  [[nodiscard]] bool write(Job& job);
  void end(Job& job, bool is_good);

  Store& store_;
  std::deque<Job> jobs_;
  uint64_t next_ = 1;
};

/// Who wrote the block born at `birth`, as `BlockName` says it.
Epoch birth_epoch(const Volume& volume, Lsn birth);

}  // namespace cloudfs
