// One volume: from its clients' requests to records, from records to commits, from commits to the map (docs/core.md).
//
// A record is *made* (numbered, chained), *placed* (in a batch), appended and synced (by the appender), *committed*
// (commit.h), *acknowledged* and *applied* to the map, always in lsn order:
//
//   applied <= acknowledged = committed <= placed <= made
//
// Invariants
// - The map holds committed history only. Pending records are exactly those of (applied, placed].
// - The live bits of a pending record's blocks are set; a block leaves them when a later update of its version is applied
//   and no other version has it (Lineage).
// - A read sees every record that was acknowledged before it came: it waits until all that touched its blocks by then are
//   applied.
// - Between reading a block that is modified in part and making its record no other record of that block is made (locks).
//
// volume.cc: life, commit, apply. volume_write.cc: writes to records. volume_read.cc: reads. volume_control.cc: control
// records. volume_replication.cc: records from other hosts. volume_views.cc: who is the primary. volume_sessions.cc: hosts
// that have it attached.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/parameters.h"
#include "core/base/touch_filter.h"
#include "core/format/chain.h"
#include "core/format/frame.h"
#include "core/format/payload.h"
#include "core/log/appender.h"
#include "core/volume/commit.h"
#include "core/volume/flush_habit.h"
#include "core/volume/head_link.h"
#include "core/volume/operation.h"
#include "core/volume/replication.h"
#include "core/volume/sessions.h"
#include "core/volume/volume_state.h"

namespace cloudfs {

/// A version is kept this long after the next one was made, to be branched: it was shown for 10 s at least, by whoever was
/// told of its successor within a second.
constexpr uint64_t kShownNs = 11'000'000'000;
/// Updates of a volume that are acknowledged and not in its map yet, because its pages are being read. At this many its clients' writes
/// wait: those updates are in memory.
constexpr size_t kUnappliedMax = 16'384;
/// Of them: how many are looked through for pages to read at the same time.
constexpr size_t kLookAheadRecords = 1024;

/// A record that is not applied yet.
struct PendingRecord {
  RecordView record{nullptr, 0, 0};  // bytes in `owner`
  BufferRef owner;
  Lsn lsn = 0;
  Epoch epoch;
  SessionId session{};
  VersionId public_id;
  uint32_t segment = 0;      // logical id of the segment that holds it
  uint32_t slot = 0;         // of its first data block
  uint64_t batch = 0;        // sequence; 0 = not placed yet
  uint32_t kept_blocks = 0;  // data blocks that this store keeps: a witness none
  uint64_t first = 0;        // blocks touched: [first, end)
  uint64_t end = 0;
  Operation* operation = nullptr;  // answered when all its records commit
};

/// What a volume needs of its store.
class VolumeHost {
 public:
  virtual void reply(Reply&& reply) = 0;
  virtual void release(Operation& operation) = 0;
  /// Asks for advance() before the turn ends.
  virtual void advance_soon(Volume& volume) = 0;
  /// There is something to make records of.
  virtual void make_soon(Volume& volume) = 0;
  /// A volume is in force, new or replayed; its creation is not in a batch yet if it is new.
  virtual void on_history_begun(Volume& volume) = 0;
  virtual void on_control_made(const Volume& volume, uint64_t command, Lsn lsn, const VersionId& version) = 0;
  virtual void on_control_durable(uint64_t command) = 0;
  virtual void on_control_failed(uint64_t command, const char* code, const char* message) = 0;
  virtual void on_head_moved(Volume& volume) = 0;
  virtual void on_deleted(Volume& volume) = 0;
  virtual void on_attached(const Volume& volume) = 0;
  /// Wrong bytes lie where the block is. @returns whether a replica is asked for it: `waiter` is told how that ends
  [[nodiscard]] virtual bool on_corrupt_block(const Volume& volume, uint64_t block, const Entry& entry,
                                              RepairWaiter& waiter) = 0;
  /// The map cannot be read: nothing can be applied any more.
  virtual void on_map_unreadable(Volume& volume, int error) = 0;
  /// May the operation wait for space (cleaning goes on), or is it ENOSPC?
  virtual bool may_wait_for_space(const Operation& operation) = 0;
  virtual bool is_member(const ViewPayload& view) const = 0;
  virtual bool is_witness(const ViewPayload& view) const = 0;
  virtual uint64_t now_ns() const = 0;

 protected:
  ~VolumeHost() = default;
};

/// The parts of the store that volumes work with.
struct VolumeParts {
  Appender& appender;
  Segments& segments;
  Forwards& forwards;
  Lineage& lineage;
  PageReader& page_reader;
  ReadGate& read_gate;
  VolumeHost& host;
  uint64_t& pending_blocks;  // of all volumes: blocks that pending records will write
  Plant plant = Plant::none;
};

/// A view whose set has a say.
struct ViewInForce {
  Epoch epoch;
  Lsn lsn = 0;  // of its record
  ViewPayload payload;
  bool forced = false;  // those before it have no say any more
};

class Volume final : public BatchMember, PageWaiter {
 public:
  explicit Volume(const VolumeParts& parts) : parts_(parts) {}

  // --- Life ---
  /// The id of the volume that such a creation record makes.
  static VolumeId id_of(const CreatePayload& payload, const Epoch& epoch, const Stamp& stamp);
  /// A new volume: makes its creation record, and the head. `parent` is the version branched from, or 0.
  /// Room for it was reserved.
  void create(const CreatePayload& payload, const Epoch& epoch, const Stamp& stamp, NodeId parent,
              uint64_t command);
  /// A new replica, of the run that starts the volume. Room for it was reserved.
  void create_replica(const RunView& run, NodeId parent);
  /// As a checkpoint has it.
  void restore(const VolumeId& id, const VolumeState& state, std::vector<uint8_t> link, NodeId head,
               std::vector<uint8_t> create_payload);
  /// A run found by roll-forward, behind what is pending. `stamp` is that of its epoch, where this store knows it.
  /// @returns why it cannot be (static text), or nullptr
  /// `frozen`: batches up to here were made before the checkpoint was frozen: what of them does not fit the chain was
  /// dropped before, too.
  [[nodiscard]] const char* replay(const RunView& run, const PlacedRun& placed, const Stamp* stamp,
                                   uint64_t frozen);
  /// The run that starts the volume; `parent` as in create().
  [[nodiscard]] const char* replay_create(const RunView& run, const PlacedRun& placed, const Stamp* stamp,
                                          NodeId parent);
  /// What was replayed so far is held by this store; updates up to `committed` are known to be committed.
  void replayed(Lsn committed);
  /// The view's stamp, if this store made the view. @returns false if it is not the stamp of the newest epoch's view
  bool resume(const Epoch& epoch, const Stamp& stamp);
  /// The store stopped: everything in flight, and what still comes, is answered with EIO, or by nothing (volume.cc, answer()).
  void fail();

  // --- Clients ---
  void submit(Operation& operation);
  /// A connection begins to speak for a session that the newest attach record has; what an older one asked for and what
  /// is not a record yet ends without an answer. @returns its number; nullopt: the session is over
  std::optional<uint64_t> open_session(const SessionId& session);
  /// Its client has the answers to all requests up to `sequence` that were refused.
  void session_seen(const SessionId& session, uint64_t connection, uint64_t sequence);
  bool is_session_over(const SessionId& session, uint64_t connection) const {
    return connection != 0 && sessions_.is_over(session, connection);
  }
  /// Makes records of what waits. `wait`: a segment is being prepared; call again.
  Room make_records();
  /// A control record; answered by the host's on_control_*.
  void control(RecordKind kind, std::vector<uint8_t> payload, uint64_t command);
  /// No record is made while held: for a branch, which leaves from a head without pending records.
  void hold(bool held) { held ? ++holds_ : --holds_; }

  // --- Replication ---
  /// Of a volume with several data members; nullptr = alone. Not owned.
  void set_replication(Replication* replication) { replication_ = replication; }
  const Replication* replication() const { return replication_; }
  /// Where this store stands, for a stream's hello; host and store are left to the caller.
  HelloFrame hello() const;
  struct Accepted {
    bool wait = false;           // no room now: give it again
    const char* code = nullptr;  // refused, with why
    const char* message = nullptr;
    Lsn last = 0;  // held up to here now, as the other host holds it
  };
  /// How runs of another host are taken.
  struct Taking {
    bool sync = false;           // acknowledged as synced soon
    bool check_digests = false;  // their sender did not
    bool headers = false;        // they come without their bodies
  };
  /// Runs with their bodies from another host (`runs` lies in `frame`): checked against the head, appended as they are.
  /// What is held already is passed over; what differs and is not known to be committed is dropped first.
  /// `epoch`: under which they are sent; no record is of a later one.
  [[nodiscard]] Accepted accept_runs(const Slice& frame, ByteSpan runs, Taking taking, const Epoch& epoch);
  /// Pending records above `last`, which its leader's history need not have, go. @returns false: not now, call again
  [[nodiscard]] bool try_drop_above(Lsn last);
  /// Compacted catch-up: nothing pending, the volume is at `state` from now on, and its head is `head` (0: deleted). It
  /// counts as held once a checkpoint has it: landed().
  /// Before jump(), where what was held is no beginning of the history at `state`: none of it counts, or is given to anybody.
  void forget_history();
  void jump(const VolumeState& state, std::vector<uint8_t> link, NodeId head);
  void landed();
  VolumeParts& parts() { return parts_; }
  /// Clients are served from now on.
  void serve();
  /// Of a replica: all of it goes, as if its deletion had come. @returns false: records are under way
  [[nodiscard]] bool try_drop();
  /// Everything appended so far is to be synced soon.
  void want_sync();
  void ask_to_advance();
  /// Somebody waits for records up to here to be durable; 0 = nobody.
  Lsn durable_wanted() const;
  const MemberProgress& own() const { return own_; }
  Lsn placed_lsn() const { return applied_.lsn + placed_; }
  /// Zero: before what is applied, or behind the newest record.
  VersionId version_at(Lsn lsn) const;
  /// As a description or a checkpoint has it; `head` is the node of its head.
  CheckpointVolume describe() const;
  Lsn first_lsn() const { return applied_.epochs.front().first_lsn; }
  /// The record at `lsn` in batch `sequence` was dropped later.
  bool superseded(uint64_t sequence, const Epoch& epoch, Lsn lsn) const;

  // --- Views (docs/protocol.md) ---
  /// A view to be made: the first record of its epoch, after the head as it is.
  struct NewView {
    Epoch epoch;
    Stamp stamp{};
    Token head;  // the head's; its public id where it is forced
    std::vector<uint8_t> payload;
    uint8_t flags = 0;     // of the record
    uint64_t command = 0;  // answered when the record is made
  };
  /// This host won `view.epoch` and has the head that it adopted. Clients are served once the record is committed.
  void begin_view(NewView view);
  /// This host is not the primary any more. What clients have in flight ends without an answer: whether it counts is for
  /// the next primary to say.
  void step_down();
  /// Changes with every begin_view() and step_down(): whoever opened the volume before has to open it again.
  uint64_t role() const { return role_; }
  /// Of the newest view record made.
  Lsn view_lsn() const { return made_.epochs.back().first_lsn; }
  /// The newest view that is known to be committed here, and all made behind it: the set of each has to agree (M1).
  std::span<const ViewInForce> views() const;
  /// What is held here, as far as it may be counted: a view record and what follows it counts once that is synced (V1).
  Lsn countable() const;
  /// After the record at `lsn`, which is not older than what is applied.
  VolumeState state_at(Lsn lsn) const;
  /// What it held may be lost in part (R1): its head is no evidence, its answers do not count.
  bool recovering() const { return recovering_; }
  void set_recovering(bool recovering) { recovering_ = recovering; }

  /// Requests or control records wait to become records.
  bool has_writes() const {
    return !ready_.empty() || !blocked_.empty() || !controls_.empty() || !locks_.empty();
  }

  bool drained() const { return applied_.lsn == made_.lsn; }
  /// Commits, acknowledges, applies, answers, as far as it goes.
  void advance();

  // --- State ---
  const VolumeId& id() const { return id_; }
  const std::string& name() const { return create_.name; }
  const CreatePayload& create_payload() const { return create_; }
  const std::vector<uint8_t>& create_bytes() const { return create_bytes_; }
  const VolumeState& applied() const { return applied_; }
  const VolumeState& made() const { return made_; }
  Lsn committed() const { return committed_; }
  Lsn synced() const { return own_.synced; }
  NodeId head() const { return head_; }
  /// This store keeps the volume's records without their blocks, and votes. Its creation says so, and it stays so: what is
  /// not here could not be served.
  bool is_witness() const { return is_witness_; }
  /// 0: none of this name. Of what is applied.
  NodeId find_snapshot(std::string_view name) const;
  bool writable() const { return stamp_.has_value(); }
  bool deleted() const { return made_.deleted; }
  /// Its creation is committed: clients may see it.
  bool established() const;
  /// The link of the newest record made (chain.h). Nothing may wait for its place.
  std::vector<uint8_t> head_link() const;
  const Ring<PendingRecord>& pending() const { return pending_; }
  size_t operations() const { return operations_; }

  // Operation's.
  void operation_has_pages(Operation& operation, int error);
  void operation_has_blocks(Operation& operation, int error);
  void operation_met_corruption(Operation& operation, uint64_t block, const Entry& entry);
  void operation_is_repaired(Operation& operation);

  // The host's marks.
  bool advance_wanted = false;
  bool make_wanted = false;
  uint64_t head_event_ns = 0;
  bool head_event_wanted = false;
  bool head_shown = true;  // what is applied now may be what somebody was shown last

 private:
  struct Lock {
    uint64_t block = 0;
    Operation* holder = nullptr;
  };
  struct Control {
    RecordKind kind{};
    std::vector<uint8_t> payload;
    uint64_t command = 0;
  };
  struct DurableWaiter {
    Lsn lsn = 0;
    Operation* operation = nullptr;
    uint64_t command = 0;
  };

  struct Superseded {
    uint64_t sequence = 0;  // batches up to here
    Lsn last = 0;           // lsns above
  };

  // BatchMember
  void on_placed(const PlacedRun& run, uint64_t cookie) override;
  void on_appended(uint64_t cookie, uint64_t sequence) override;
  void on_synced(uint64_t cookie, uint64_t sequence) override;
  // PageWaiter: of applying
  void on_pages(int error) override;

  // volume.cc
  CommitInputs commit_inputs() const;
  PendingRecord& note_made(const RecordView& record, const RunHeader& run, const VersionId& public_id);
  void place(PendingRecord& pending, const RecordView& record, const PlacedRun& placed);
  void acknowledge(PendingRecord& pending);
  bool apply_front();
  void leave_version(const RecordView& record);
  [[nodiscard]] MissingPages prepare_write(const RecordView& record);
  void look_ahead(MissingPages& missing);
  void apply_write(const PendingRecord& pending);
  void answer_durable();
  void wake_settled();
  void answer(Operation& operation, int error);
  void wait_durable(Lsn lsn, Operation* operation, uint64_t command);
  void begin_views();
  void note_view(const Epoch& epoch, Lsn lsn, const ViewPayload& view, bool forced);
  void finish(Operation& operation);

  // volume_write.cc
  void submit_write(Operation& operation);
  bool conflicts(const Operation& operation) const;
  void begin_write(Operation& operation);
  void retry_blocked();
  void unlock(Operation& operation);
  void merge_edges(Operation& operation);
  void write_is_ready(Operation& operation);
  void refuse_write(Operation& operation, int error);
  template <class Takes>
  std::vector<Operation*> take_from_ready(Takes takes);
  Room make_control();
  Room make_run();
  size_t next_record_bytes(const Operation& operation, uint64_t& body_bytes) const;
  uint64_t next_record_blocks(const Operation& operation) const;
  void make_digests();
  void make_record(RunBuilder& run, Operation& operation);
  RecordView add_zeros(RunBuilder& run, const Operation& operation, uint64_t blocks, uint64_t sequence);
  void add_body(const RecordView& record, const Operation& operation);
  void operation_is_made(Operation& operation);

  // volume_read.cc
  void submit_read(Operation& operation);
  void settle(Operation& operation);
  void settled(Operation& operation);
  void fail_look_up(Operation& operation, int error);
  Lsn newest_touch(uint64_t first, uint64_t end) const;
  void look_up(Operation& operation);
  ExtentMap* map_of(const Operation& operation);
  void answer_read(Operation& operation);
  void answer_status(Operation& operation);

  // volume_replication.cc
  bool has_run(const RunView& run) const;
  [[nodiscard]] Accepted accept_run(const RunView& run, const Slice& body, Taking taking, const Epoch& epoch);
  Lsn first_body_lsn() const;
  [[nodiscard]] const char* view_refusal(const RunView& run, const Epoch& epoch) const;
  [[nodiscard]] Accepted judge_force(const RunView& run) const;
  void truncate(Lsn last);
  void drop_pending(Lsn last, uint64_t sequence);
  uint64_t cookie(Lsn lsn) const { return generation_ << 48 | lsn; }
  Lsn kept_of(uint64_t told) const;
  bool follows() const { return replication_ != nullptr && replication_->leader_commit().has_value(); }

  // volume_views.cc
  Room make_view();
  void end_operations(int error, const char* code, const char* message);
  /// L2
  bool has_lease() const { return replication_ == nullptr || replication_->has_lease(); }
  void park(Operation& operation);

  // volume_sessions.cc
  /// Whoever opened the volume for it has to open it again.
  bool is_over(const Operation& operation) const;
  void end_over();
  /// Those that the newest attach record does not have.
  void end_sessions();
  void hold_behind(const Operation& refused);
  void hold_back(Operation& operation);
  void release_held();

  // volume_control.cc
  [[nodiscard]] MissingPages prepare_control(const RecordView& record);
  void apply_control(const PendingRecord& pending);
  bool control_allowed(const Control& control);
  void begin_history(const RecordView& record, const Epoch& epoch, const VersionId& version, NodeId parent);

  VolumeParts parts_;
  VolumeId id_;
  CreatePayload create_;
  std::vector<uint8_t> create_bytes_;
  NodeId head_ = 0;
  bool is_witness_ = false;

  VolumeState made_;                 // after the newest record made or replayed
  VolumeState applied_;              // after the newest record applied
  HeadLink applied_link_;            // of the newest record applied
  std::optional<Token> made_token_;  // of the newest record made, where this store is the primary
  std::optional<Stamp> stamp_;       // of the present view, where this store is its primary

  std::optional<NewView> new_view_;  // waits for room
  uint64_t role_ = 1;
  bool recovering_ = false;

  MemberProgress own_;
  std::vector<ViewInForce> views_;
  Quorum alone_;  // without replication
  Lsn committed_ = 0;
  Ring<PendingRecord> pending_;  // consecutive lsns from applied + 1
  size_t placed_ = 0;            // how many of them are placed
  size_t acknowledged_ = 0;      // how many of them are acknowledged
  TouchFilter touched_;
  bool applying_ = false;  // the front record waits for map pages

  Ring<Operation*> ready_;
  struct DigestOwner {
    Operation* operation;
    size_t block;  // of its next record
  };
  // Scratch: blocks whose digests are made together.
  std::vector<const uint8_t*> digest_blocks_;
  std::vector<DigestOwner> digest_owners_;
  std::vector<BlockDigest> digests_;
  std::vector<Operation*> blocked_;  // in order of arrival
  std::vector<Operation*>
      held_;  // behind one of their session that was refused; of a session in order of their numbers
  Sessions sessions_;
  std::vector<Operation*> settling_;
  std::vector<Lock> locks_;
  std::vector<DurableWaiter> durable_waiters_;  // by lsn
  FlushHabit flush_habit_;
  Ring<Control> controls_;
  uint32_t pending_controls_ = 0;  // control records that are not applied: one at a time
  uint32_t holds_ = 0;
  bool failed_ = false;
  size_t operations_ = 0;       // taken, not answered
  std::vector<Entry> entries_;  // scratch

  Replication* replication_ = nullptr;
  std::vector<Operation*> parked_;  // came before clients are served
  Ring<std::vector<Slice>>
      run_bodies_;              // of the runs added to a batch that is not placed yet; with replication
  bool accepted_sync_ = false;  // a leader wants what is accepted this turn synced
  std::vector<Superseded> superseded_;
  // Counts truncations: tells appends of dropped records from others. Each kept the lsns up to cuts_[generation].
  uint64_t generation_ = 0;
  std::vector<Lsn> cuts_;
};

}  // namespace cloudfs
