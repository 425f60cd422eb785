// Batches what waits into the open segment of each stream, and syncs (docs/core.md, "A write").
//
// Whoever has something to append asks for room, writes its run there and adds it; at the end of the turn the batch is
// closed: numbered, given its place, handed to the disk in one write. The members of a batch are told three times: where
// their run went, when it is appended, when it is synced.
//
// Invariants
// - Batches of both streams share one sequence without gaps.
// - A batch is appended when its write and those of all batches before it are complete: recovery, which ends at the first
//   batch that is missing, finds each appended one.
// - A batch is synced when a sync that was issued after it was appended is complete.
// - synced <= appended <= made.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "core/base/io_queue.h"
#include "core/base/parameters.h"
#include "core/base/ring.h"
#include "core/format/batch.h"
#include "core/log/segments.h"

namespace cloudfs {

/// A run as it stands in its batch.
struct PlacedRun {
  Slice bytes;             // header and items; the owner keeps them
  uint32_t segment = 0;    // logical id
  uint32_t body_slot = 0;  // of the first block of the body; 0 = none is here
  uint64_t sequence = 0;   // of the batch
};

/// Whoever put a run into a batch. `cookie` is what it gave.
class BatchMember {
 public:
  /// The batch is numbered and has its place; its write is issued. In the order in which the runs were added.
  virtual void on_placed(const PlacedRun& run, uint64_t cookie) = 0;
  virtual void on_appended(uint64_t cookie, uint64_t sequence) = 0;
  virtual void on_synced(uint64_t cookie, uint64_t sequence) = 0;

 protected:
  ~BatchMember() = default;
};

/// Whose turn it is to be refused when space runs out (docs/core.md, ENOSPC).
enum class SpaceClass : uint8_t {
  data,      // clients' data: first
  shrink,    // what makes room, and control records
  internal,  // cleaning
  vital,     // local items and view changes: what a host that starts, promises or leads has to write
};

enum class Room : uint8_t {
  ok,
  wait,      // a segment is being prepared
  no_space,  // not while free segments are this few
};

/// What the store's owner tells the appender, and is told.
class AppenderHost {
 public:
  /// Free segments that must stay when one is opened for this class.
  virtual uint32_t segments_kept(SpaceClass space) = 0;
  virtual void on_sealed(const Segment& segment) = 0;
  /// Batches were appended, or synced: the members were told.
  virtual void on_progress() = 0;
  virtual void on_append_failed(const char* what, int error) = 0;

 protected:
  ~AppenderHost() = default;
};

class Appender final : IoOwner {
 public:
  Appender(const CoreParams& params, IoQueue& io, Segments& segments, AppenderHost& host);

  /// Names the store in segment headers; batches go on behind `last_sequence`, all of which is synced.
  void begin(const StoreIdentity& identity, uint64_t start, uint64_t last_sequence);

  /// Makes sure that a run of these sizes can be added to the stream's batch, which may close the one before it and open
  /// a segment. `ok`: run_room() is where to write it.
  Room reserve(SegmentKind stream, SpaceClass space, size_t run_bytes, uint64_t body_bytes);
  /// After reserve(): would a run of these sizes fit the same batch?
  bool fits(SegmentKind stream, size_t run_bytes, uint64_t body_bytes) const;
  std::span<uint8_t> run_room(SegmentKind stream);
  /// Bytes of the run's body, in order, before add_run().
  void add_body(SegmentKind stream, Slice bytes);
  /// `with_body`: with the blocks that it tells of, if it tells of any.
  void add_run(SegmentKind stream, const RunHeader& run, BatchMember& member, uint64_t cookie,
               bool with_body = true);

  /// Closes what is open: end of the turn, or no more room.
  void close_batches();

  /// A sync that covers batch `sequence` is wanted as soon as it is appended.
  void want_sync(uint64_t sequence);
  /// Another writer's place that the next sync has to cover, its writes being complete. @returns the sync's number
  uint64_t want_sync_of(uint32_t physical);
  /// A sync issued from now on. @returns its number
  uint64_t want_next_sync();
  /// Syncs up to this number are complete.
  uint64_t syncs_done() const { return syncs_done_; }

  /// Issues what is due. Once a turn, after close_batches().
  void turn(uint64_t now_ns);
  std::optional<uint64_t> next_deadline_ns() const;

  uint64_t made() const { return made_; }
  uint64_t appended() const { return appended_; }
  uint64_t synced() const { return synced_; }
  uint64_t unsynced_bytes() const { return unsynced_bytes_; }
  uint64_t log_bytes() const { return log_bytes_; }  // appended since begin()
  /// The most blocks that a run of one write may have to fit a segment and the limits.
  uint32_t record_blocks_max() const { return record_blocks_max_; }
  const Segment* open_segment(SegmentKind stream) const { return stream_of(stream).segment; }
  bool idle() const { return appended_ == made_ && !syncing_; }
  void set_now(uint64_t now_ns) { now_ns_ = now_ns; }

 private:
  struct Member {
    BatchMember* member = nullptr;
    uint64_t cookie = 0;
  };
  struct Stream {
    uint64_t seal = 0;  // of the open segment's batches
    SegmentKind kind = SegmentKind::user;
    Segment* segment = nullptr;
    // The batch being made, if there is one.
    std::optional<BatchBuilder> batch;
    BufferRef header;
    std::vector<Slice> bodies;
    std::vector<Member> members;
    uint64_t body_bytes = 0;
  };
  struct Batch {
    uint64_t sequence = 0;
    uint64_t bytes = 0;
    bool written = false;
    std::vector<Member> members;
  };
  struct Mark {
    uint64_t sequence = 0;
    Member member;
  };
  /// A place with writes that no complete sync covers.
  struct Dirty {
    uint32_t physical = 0;
    uint64_t batch = 0;  // newest batch in it
    uint64_t sync = 0;   // number of the sync that another writer waits for
  };

  Stream& stream_of(SegmentKind kind) { return streams_[kind == SegmentKind::moved ? 1 : 0]; }
  const Stream& stream_of(SegmentKind kind) const { return streams_[kind == SegmentKind::moved ? 1 : 0]; }
  bool fits_batch(const Stream& stream, size_t run_bytes, uint64_t body_bytes) const;
  Room open_segment_for(Stream& stream, SpaceClass space);
  void begin_batch(Stream& stream);
  SegmentHeader header_of(const Segment& segment) const;
  void close_batch(Stream& stream);
  void issue_sync();
  void on_io(uint64_t cookie, int error) override;
  void written(uint64_t sequence);
  void sync_done();

  const CoreParams params_;
  IoQueue& io_;
  Segments& segments_;
  AppenderHost& host_;
  StoreIdentity identity_;
  uint64_t start_ = 0;
  uint32_t header_bytes_max_ = 0;
  uint32_t record_blocks_max_ = 0;

  std::array<Stream, 2> streams_;
  uint64_t made_ = 0;
  uint64_t appended_ = 0;
  uint64_t synced_ = 0;
  Ring<Batch> in_flight_;  // made, not appended; in order
  Ring<Mark> unsynced_;    // members of appended, not synced batches
  uint64_t log_bytes_ = 0;

  // Syncs: one at a time, all that wait share the next.
  bool syncing_ = false;
  uint64_t sync_covers_ = 0;  // batch up to which the sync in flight reaches
  uint64_t sync_wanted_ = 0;  // batch up to which one is wanted
  uint64_t syncs_issued_ = 0;
  uint64_t syncs_done_ = 0;
  uint64_t syncs_wanted_ = 0;  // by number
  std::vector<Dirty> dirty_;
  uint64_t unsynced_bytes_ = 0;     // appended, not covered by a sync that was issued
  uint64_t unsynced_since_ns_ = 0;  // when the oldest of them was made
  uint64_t now_ns_ = 0;
  bool failed_ = false;
};

}  // namespace cloudfs
