// A store whose size is known: its parts, and what one tells another. Core (core.cc) feeds it and takes what it gives.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/base/parameters.h"
#include "core/index/forwards.h"
#include "core/index/lineage.h"
#include "core/index/page_reader.h"
#include "core/log/appender.h"
#include "core/log/segments.h"
#include "core/replication/follower.h"
#include "core/replication/leader.h"
#include "core/replication/leases.h"
#include "core/replication/staging.h"
#include "core/replication/streams.h"
#include "core/store/block_answers.h"
#include "core/store/checkpoint.h"
#include "core/store/cleaner.h"
#include "core/store/hand_overs.h"
#include "core/store/records_reader.h"
#include "core/store/repairs.h"
#include "core/store/scrubber.h"
#include "core/volume/local_items.h"
#include "core/volume/operation.h"
#include "core/volume/promises.h"
#include "core/volume/volume.h"

namespace cloudfs {

class Store;

/// Marks the number of a local item that is a promise, among those of commands.
constexpr uint64_t kPromiseItem = uint64_t{1} << 63;

/// Told how commands end (commands.cc).
class CommandListener {
 public:
  virtual void on_control_made(uint64_t command, const Volume& volume, Lsn lsn, const VersionId& version) = 0;
  virtual void on_done(uint64_t command) = 0;
  virtual void on_result(uint64_t command, std::string result, Slice payload = {}) = 0;
  virtual void on_failed(uint64_t command, const char* code, std::string message) = 0;
  virtual void on_promised(uint64_t command, const Store& store, const VolumeId& volume) = 0;
  /// What `command` answers when it is done.
  virtual void set_result(uint64_t command, std::string result) = 0;

 protected:
  ~CommandListener() = default;
};

class Store final : public VolumeHost,
                    private ReplicaMaker,
                    private StagingHost,
                    AppenderHost,
                    CorruptionListener,
                    LocalListener,
                    LeaderHost,
                    LeaseHost,
                    IoOwner {
 public:
  Store(const CoreParams& params, IoQueue& io, SuperblockWriter& superblock, Effects& out,
        CommandListener& commands);

  // --- Inputs, between turns ---
  void submit(ClientOp op, Volume& volume, NodeId snapshot, uint64_t connection);
  /// `parent`: the volume or snapshot branched from; its lsn and public id are filled in.
  struct Creation {
    CreatePayload payload;
    Epoch epoch;
    Stamp stamp{};
    Volume* branch_of = nullptr;
    NodeId branch_of_snapshot = 0;
    /// The version of `branch_of` to branch; left out, its newest state or the snapshot.
    std::optional<VersionId> version;
    uint64_t command = 0;
    // Of a version that has passed: its node, held; its map while it is made; the checkpoint that has both.
    NodeId shown = 0;
    Lineage::Rebuild rebuild;
    uint64_t checkpoint = 0;
  };
  void create(Creation creation);
  void put_local(const VolumeId& volume, const Epoch& epoch, LocalKind kind, std::vector<uint8_t> bytes,
                 uint64_t command);

  /// This store keeps a replica no longer: the volume was deleted while this host was away. The caller makes it last, by a
  /// local item. @returns why not, or nullptr
  const char* try_drop(Volume& volume);

  void begin_checkpoint(uint64_t command);

  /// Recounts live blocks over all versions (store_audit.cc); answered when the lineage has nothing left to free.
  void audit(uint64_t command) { audits_.push_back(command); }

  /// Names the store, and lets batches be made behind those that are there.
  void begin(const StoreIdentity& self, uint64_t start, uint64_t last_sequence);
  // --- Streams to other engines ---
  /// A follower of `volume` has connected. @returns 0 and why not
  StreamId open_to_follower(const VolumeId& volume, const std::optional<HostId>& host, std::string& refusal);
  /// A connection to the primary of `volume`, which may not be here yet. @returns 0 and why not
  /// `copy`: whoever speaks is no leader, and this store no member.
  StreamId open_to_leader(const VolumeId& volume, bool copy, std::string& refusal);
  /// Primaries go on, where they may; the others follow.
  /// This store has given its replica up.
  bool is_dropped(const VolumeId& id) const;
  void begin_replication();
  /// As the local items have it.
  void restore_recovering();
  /// R1: what replicas hold may be lost in part. `command` is done when that is synced.
  void mark_recovering(uint64_t command);
  const Leader* leader_of(const Volume& volume) const;

  // --- Views: who may write a volume (store_views.cc, docs/protocol.md) ---
  /// The epoch promised: no frame of an earlier one is taken.
  Epoch promised(const VolumeId& volume) const override;
  /// Durably.
  bool has_promised(const VolumeId& volume, const Epoch& epoch) const {
    return promised(volume) == epoch && promises_.is_synced(volume);
  }
  /// As whoever follows as a member does.
  bool has_promised_anybody(const VolumeId& volume) const { return promises_.of(volume) != Epoch{}; }
  /// `follower`, `elected` or `primary`.
  const char* role_of(const Volume& volume) const;
  /// It has its primary here, or one to which a lease was granted that runs still.
  bool is_led(const Volume& volume) const;
  /// This store is in the view.
  bool is_member(const ViewPayload& view) const override;
  bool is_witness(const ViewPayload& view) const override;
  bool is_alone(const Volume& volume) const;
  bool has_left(const VolumeId& id) const override;
  void replicate(Volume& volume);
  /// Of one of the sets that have to agree (M1).
  /// In a view that has a say and is of this epoch or a later one.
  bool is_member(const Volume& volume, const Epoch& since = {}) const;
  /// Why it is not promised, or code nullptr. `resigned`: the epoch whose primary handed over.
  struct Judgement {
    const char* code = nullptr;
    std::string message;
    bool is_local = false;      // for the mode's sake alone
    uint64_t remaining_ns = 0;  // of a lease that another host holds, whatever the epoch
  };
  Judgement judge_promise(const VolumeId& volume, const Epoch& epoch,
                          const std::optional<Epoch>& resigned) const;
  /// What judge_promise() allows. Answered when it is synced; a primary of another epoch is none from now on.
  void promise(const VolumeId& volume, const Epoch& epoch, uint64_t command);
  /// One more promise can be kept for a volume of which nothing is here yet.
  bool may_promise_unseen(const VolumeId& volume) const;
  /// Syncs what is appended by now. `command` is done then.
  void sync(uint64_t command);
  /// This host was elected to go on from `head`. @returns nullptr, or why not (a code)
  const char* lead(Volume& volume, const Epoch& epoch, const Stamp& stamp, const Position& head,
                   Lsn known = 0);
  /// H1: the primary makes no more records, and gives its epoch up for good once all that it made is applied; `command` is
  /// answered when that is durable. It stays primary if it takes too long. `next`: of the host that it hands over to, which it
  /// promises with it. `pad`: its core is told by this one's, with the stamp hidden by that (HandOvers). @returns why not (a
  /// code), or nullptr
  const char* resign(Volume& volume, const std::optional<Epoch>& next, const std::optional<Stamp>& pad,
                     uint64_t command);
  /// This host's own epoch, in which it is handed the volume: what judge_promise() allows. The stream to who hands it over stays.
  void promise_handed(const VolumeId& volume, const Epoch& epoch) { raise_promise(volume, epoch, true); }
  /// `old_stamp` nullopt: it is forced (docs/protocol.md, Force). @returns nullptr, or why not (a code)
  const char* begin_view(Volume& volume, const Epoch& epoch, const std::optional<Stamp>& old_stamp,
                         const ViewPayload& payload, bool restart, uint64_t command);

  /// Carries out what waits.
  void turn(uint64_t now_ns);
  /// While it is recovered: applies what was replayed, and makes nothing.
  void recovery_turn(uint64_t now_ns);
  std::optional<uint64_t> next_deadline_ns() const;
  /// The store stops for good: everything is answered with EIO from now on.
  void fail(const char* code, const std::string& message);
  bool failed() const { return failed_; }
  /// No operation, batch, sync or job is under way.
  bool quiet() const;

  // --- Volumes ---
  Volume* find(const VolumeId& id) const override;
  const std::vector<std::unique_ptr<Volume>>& volumes() const { return volumes_; }
  Volume& add_volume() override;
  /// The volume has its id.
  void list_volume(Volume& volume) override;

  // --- Recovery: nullptr, or why a run cannot be replayed ---
  /// `frozen`: the newest batch made before the checkpoint was frozen.
  const char* replay_records(const RunView& run, const PlacedRun& placed, uint64_t frozen);
  const char* replay_moved(const RunView& run, const PlacedRun& placed);

  // --- Checkpoint's and cleaner's ---
  /// The oldest batch that is in flight or has a record that is not applied; the next one if there is none.
  uint64_t first_unapplied_batch() const;
  /// A block was moved: it counts at its new place, if it is live still.
  void move_block(const VolumeId& volume, const MovedBlock& block, uint32_t to_segment, uint32_t to_slot);
  /// Wrong bytes lie where a block is.
  void note_corrupt(const VolumeId& volume, uint64_t block, const Entry& entry);
  /// Whom to ask for good copies of a volume's blocks.
  RepairSources repair_sources(const VolumeId& volume) const;
  void on_checkpointed(uint64_t sequence);
  void command_done(uint64_t command, std::string result);
  void command_failed(uint64_t command, const char* code, std::string message);
  void command_payload(uint64_t command, std::string result, Slice payload);

  void event(std::string name, std::string detail) override;
  uint64_t now_ns() const override { return now_ns_; }
  /// Inputs that come before the turn are judged by its time.
  void set_now(uint64_t now_ns) { now_ns_ = now_ns; }

  const CoreParams params;
  Segments segments;
  Forwards forwards;
  PageCache pages;
  Lineage lineage;
  IoQueue& io;
  PageReader page_reader;
  ReadGate read_gate;
  Appender appender;
  LocalItems locals;
  CheckpointWriter checkpoint;
  Cleaner cleaner;
  RecordsReader records;
  Staging staging;
  Streams streams;
  Repairs repairs{*this};
  Scrubber scrubber{*this};
  HandOvers hand_overs{*this};
  const StoreIdentity identity;

 private:
  // VolumeHost
  void reply(Reply&& reply) override { out_.replies.push_back(std::move(reply)); }
  void release(Operation& operation) override { operations_.give_back(operation); }
  void advance_soon(Volume& volume) override;
  void make_soon(Volume& volume) override;
  void on_history_begun(Volume& volume) override;
  void on_control_made(const Volume& volume, uint64_t command, Lsn lsn, const VersionId& version) override;
  void on_control_durable(uint64_t command) override;
  void on_control_failed(uint64_t command, const char* code, const char* message) override;
  void on_head_moved(Volume& volume) override;
  void on_deleted(Volume& volume) override;
  void on_attached(const Volume& volume) override;
  bool on_corrupt_block(const Volume& volume, uint64_t block, const Entry& entry,
                        RepairWaiter& waiter) override;
  void on_map_unreadable(Volume& volume, int error) override;
  bool may_wait_for_space(const Operation& operation) override;
  // AppenderHost
  uint32_t segments_kept(SpaceClass space) override;
  void on_sealed(const Segment& segment) override;
  void on_progress() override {}
  void on_append_failed(const char* what, int error) override;
  // CorruptionListener
  void on_corrupt_page(const Entry& entry, uint8_t level) override;
  // LocalListener
  void on_local_synced(uint64_t command) override;
  // ReplicaMaker
  Made make_replica(const RunView& run, const Slice& bytes, bool copy) override;
  uint64_t want_checkpoint() override;
  bool checkpointed(uint64_t wanted) const override { return checkpoint.published() >= wanted; }
  [[nodiscard]] bool try_promise(const VolumeId& volume, const Epoch& epoch) override;
  void on_recovered(Volume& volume) override;
  void on_hand(const VolumeId& volume, const Epoch& leader_epoch, bool is_on_disk,
               const HandFrame& hand) override {
    hand_overs.on_hand(volume, leader_epoch, is_on_disk, hand);
  }
  // LeaderHost
  void on_epoch_refused(const Volume& volume, const Epoch& promised) override;
  void on_adopted(const Volume& volume, const Epoch& epoch,
                  const std::vector<const ViewMember*>& holders) override;
  void on_leading(Volume& volume, const Epoch& epoch) override;
  void on_lease_lost(const Volume& volume) override;
  void on_lease_back(const Volume& volume) override;
  bool leases_used() const override { return params.elections; }
  CatchUpPace& catch_up_pace() override { return pace_; }
  bool on_repair_frame(StreamId stream, const VolumeId& volume, const Epoch& epoch,
                       const FrameView& frame) override;
  // LeaseHost
  bool may_grant(const VolumeId& volume, const Epoch& epoch) const override;
  uint64_t lease_ns(const VolumeId& volume) const override;
  void on_leases_moved(const StoreId& store) override;
  void on_grants_over(const std::vector<VolumeId>& volumes) override;
  // IoOwner: segments being prepared
  void on_io(uint64_t cookie, int error) override;

  struct LocalPut {
    VolumeId volume;
    Epoch epoch;
    LocalKind kind{};
    std::vector<uint8_t> bytes;
    uint64_t command = 0;
  };
  struct Resignation {
    VolumeId volume;
    std::optional<Epoch> next;
    std::optional<Stamp> pad;
    uint64_t command = 0;
    uint64_t until_ns = 0;
  };
  struct SyncWait {
    uint64_t sync = 0;
    uint64_t command = 0;
  };
  void mind_resignations();
  const char* force_refusal(const Volume& volume, const ViewPayload& payload) const;
  void give_up_epoch(Volume& volume, const Resignation& resignation);
  void mind_syncs();
  void raise_promise(const VolumeId& volume, const Epoch& epoch, bool to_candidate);
  void promise_settled(uint64_t number, bool is_synced);
  void step_down(Volume& volume, const Epoch& promised);
  void resume(Volume& volume);
  Leader& add_leader(Volume& volume, const Epoch& epoch);
  Follower& follower_of(const VolumeId& volume);
  void local_failed(uint64_t command, const char* code, const char* message);
  void free_block(const Entry& entry);
  void advance_volumes();
  void make_records();
  void make_creations();
  // store_branch.cc
  bool try_create(Creation& creation);
  bool try_find_version(Creation& creation, const char*& refusal);
  void end_creation(Creation& creation);
  void make_locals();
  void prepare_segments();
  uint64_t head_event_ns() const;
  void tell_heads();
  NodeId branch_node(const BranchPoint& point);
  enum class BranchParent : uint8_t { here, not_yet, never };
  BranchParent find_branch_parent(const BranchPoint& point);
  void background();
  bool checkpoint_is_due() const;
  // store_space.cc
  uint64_t index_pages_needed() const;
  void mind_space();
  bool checkpoint_helps() const;
  // store_audit.cc
  void run_audits();
  /// Empty if the count is right. `missing`: pages to be read first.
  std::string recount(MissingPages& missing, uint64_t& live_blocks);

  struct StepWaiter final : PageWaiter {
    void on_pages(int) override {}  // a page that cannot be read is asked for again, and reported again
  };

  Effects& out_;
  CommandListener& commands_;
  OperationPool operations_;
  std::vector<std::unique_ptr<Volume>> volumes_;
  std::unordered_map<VolumeId, Volume*> by_id_;
  std::vector<Volume*> to_advance_;
  std::vector<Volume*> to_make_;
  std::vector<Volume*> heads_moved_;
  CatchUpPace pace_;
  std::unordered_map<VolumeId, std::unique_ptr<Leader>> leaders_;
  std::unordered_map<VolumeId, std::unique_ptr<Follower>> followers_;
  std::vector<std::unique_ptr<Leader>> retired_;  // that lead no more; their reads are under way
  Promises promises_{locals};
  Leases leases_{streams, *this};
  std::vector<Resignation> resignations_;
  std::vector<SyncWait> sync_waits_;
  std::deque<Creation> creations_;
  StepWaiter rebuild_waiter_;
  bool rebuilding_ = false;  // a creation has steps to do
  std::deque<LocalPut> puts_;
  StepWaiter lineage_waiter_;
  bool lineage_idle_ = false;
  bool pages_idle_ = true;
  BlockAnswers block_answers_{*this};
  static constexpr uint64_t kSpaceGraceNs = 2'000'000'000;
  uint64_t prepare_failed_ns_ = 0;  // when a place could last not be prepared
  uint64_t pending_blocks_ = 0;     // of all volumes
  uint64_t map_pages_max_ = 0;      // pages that all heads' maps can have
  bool space_low_told_ = false;
  bool space_short_ = false;        // somebody waits for space, in this turn
  bool full_ = false;               // ENOSPC was answered, and nothing became free since
  uint64_t space_progress_ns_ = 0;  // when cleaning or a checkpoint last got on
  bool checkpoint_wanted_ = false;
  bool freed_since_freeze_ = false;  // blocks died, of updates or without any
  std::vector<uint64_t> audits_;
  StepWaiter audit_waiter_;
  std::vector<uint64_t> checkpoint_commands_;
  std::vector<uint64_t> next_checkpoint_commands_;
  bool failed_ = false;
  uint64_t now_ns_ = 0;
};

/// {"key":value,…} of an event; text is escaped.
std::string json_text(std::string_view text);

}  // namespace cloudfs
