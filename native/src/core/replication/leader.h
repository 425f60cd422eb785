// Replication of a volume at its primary: who its followers are, what each is sent, how far each has come
// (docs/wire-protocol.md).
//
// Invariants
// - What a follower acknowledges counts from the moment on at which its history is known to be a beginning of this one,
//   and only on the stream it opened last; what it has synced stays counted.
// - Runs go to a follower in order of lsn, whole, without gaps.
// - Clients are served once the record of this leader's view is committed; by one that goes on in its old view, once a
//   majority holds the most advanced history that any n - m + 1 members know.
// - A leader is of one epoch. What it counts was answered to it alone.
//
// leader.cc: its streams. adoption.cc: how it comes to have the history it goes on from.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "core/replication/compaction.h"
#include "core/replication/leases.h"
#include "core/replication/log_reader.h"
#include "core/replication/pace.h"
#include "core/replication/streams.h"
#include "core/volume/replication.h"

namespace cloudfs {

class Volume;
struct VolumeParts;

/// Runs kept in memory for followers that lag; one that lags by more is fed from the log.
constexpr uint64_t kBacklogBytesMax = 64u << 20;
/// With so much read from the log and not sent, the next piece is not read yet.
constexpr uint64_t kFeedReadBytes = 256u << 10;
/// A commit point that nothing carries is sent after this time.
constexpr uint64_t kCommitPushNs = 100'000'000;
/// What is committed in a set with a witness is on the primary's disk about so soon.
constexpr uint64_t kWitnessSyncNs = 1'000'000'000;

/// How a member is doing, for people.
struct MemberStatus {
  HostId host;
  StoreId store;
  const char* state;  // 'away', 'behind', 'in-step'
  Lsn appended = 0;
  Lsn synced = 0;
};

/// What a leader tells its store.
class LeaderHost {
 public:
  /// A member has promised a later epoch.
  virtual void on_epoch_refused(const Volume& volume, const Epoch& promised) = 0;
  /// More members hold all of the history adopted; `holders` are all of them, this host included.
  virtual void on_adopted(const Volume& volume, const Epoch& epoch,
                          const std::vector<const ViewMember*>& holders) = 0;
  /// It has the record of its view on disk, and all before: it is not recovering any more.
  virtual void on_recovered(Volume& volume) = 0;
  /// The view's record is committed: clients may be served.
  virtual void on_leading(Volume& volume, const Epoch& epoch) = 0;
  /// No majority's lease runs any more; or does again.
  virtual void on_lease_lost(const Volume& volume) = 0;
  virtual void on_lease_back(const Volume& volume) = 0;
  /// Views are decided by elections, so a primary needs leases.
  virtual bool leases_used() const = 0;
  /// A question for a block, or the answer to one. @returns false: it is malformed
  [[nodiscard]] virtual bool on_repair_frame(StreamId stream, const VolumeId& volume, const Epoch& epoch,
                                             const FrameView& frame) = 0;
  virtual uint64_t now_ns() const = 0;
  /// What clients leave for replicas that are behind.
  virtual CatchUpPace& catch_up_pace() = 0;

 protected:
  ~LeaderHost() = default;
};

class Leader final : public Replication, public StreamEnd {
 public:
  enum class Stage : uint8_t {
    gather,   // started again in its old view: asks who has more
    fetch,    // elected: gets the head that it is to go on from
    adopted,  // elected: has it, and brings it to the others
    view,     // has made its view's record
    lead,
  };

  Leader(Volume& volume, Streams& streams, IoQueue& io, Segments& segments, const Appender& appender,
         const StoreIdentity& self, LeaderHost& host, Leases& leases, const Epoch& epoch);
  ~Leader() override;

  /// The volume is new here and nobody else has it: no need to ask.
  void begin_new() { stage_ = Stage::lead; }
  /// This host was elected to go on from `head`. `known`: those who promised know it to be committed up to there.
  void begin_elected(const Position& head, Lsn known);
  /// A majority holds what was adopted.
  bool may_begin_view(bool forced) const;
  /// Why this leader cannot change the set so (M1), or nullptr: who joins as a voter has to hold all that was adopted.
  const char* change_refusal(const ViewPayload& next) const;
  /// W4: goes on without a data member of a set with a witness.
  static bool degrades(const ViewPayload& before, const ViewPayload& next);
  /// The view's record is made in this turn. Who joins may follow from now on.
  void begin_view(const ViewPayload& view);
  /// An answer about leases came, from this store.
  void on_leases_moved(const StoreId& store);
  /// It leads no more: every stream ends, but for one that was handed on. Kept until done().
  void retire(const Epoch& promised, StreamId kept);
  bool done() const;

  const Epoch& epoch() const { return epoch_; }
  Stage stage() const { return stage_; }

  // Replication
  void on_placed(const PlacedRun& run, const std::vector<Slice>& bodies, bool sync) override;
  void on_advanced() override { moved_ = true; }
  std::span<const MemberProgress> peers() const override { return progress_; }
  std::span<const Quorum> quorums() const override { return quorums_; }
  void on_views_moved() override;
  std::optional<Lsn> leader_commit() const override;
  bool serving() const override { return stage_ == Stage::lead && has_lease(); }
  bool has_lease() const override;

  // StreamEnd
  bool on_frame(StreamId stream, const FrameChannel::Frame& frame) override;
  void on_drained(StreamId) override { moved_ = true; }
  void on_closed(StreamId stream) override;
  void on_refused(StreamId, const Epoch& epoch) override;

  /// Greets a follower. `host`: whose stream it is; no other's hello is taken.
  void begin(StreamId stream, const std::optional<HostId>& host);
  /// Sends what there is to send. Once a turn.
  void turn(uint64_t now_ns);
  std::optional<uint64_t> next_deadline_ns() const;
  std::vector<MemberStatus> members() const;
  /// To a member that is in step. 0: there is none
  StreamId stream_to(const HostId& host) const;
  /// Followers that can be asked for blocks. @returns false: members are away
  bool list_streams(std::vector<StreamId>& streams) const;

 private:
  struct Run {
    Lsn first = 0;
    Lsn last = 0;
    std::vector<Slice> slices;  // the run, its bodies
    uint32_t bytes = 0;
    bool sync = false;
  };
  struct Feed final : LogReaderOwner, CompactionOwner {
    Feed(Leader& owner, StreamId id, IoQueue& io, Segments& segments, const Appender& appender)
        : leader(owner),
          stream(id),
          reader(io, segments, appender, owner.volume_, LogReader::Digests::leave) {}
    void on_runs(std::vector<LogReaderOwner::Run>& runs, int error) override;
    void on_compaction_moved() override { leader.moved_ = true; }
    bool may_send() override { return leader.may_feed(*this); }
    void on_sent(uint64_t bytes) override { leader.note_fed(*this, bytes); }
    /// Of what was read for it the run that comes next; nullptr: that is not there.
    const LogReaderOwner::Run* next_read();
    void forget_read();
    Lsn read_end() const { return runs_read.empty() ? next : runs_read.back().view.last_lsn() + 1; }
    bool in_flight() const {
      return reader.in_flight() || (compaction != nullptr && compaction->in_flight());
    }

    Leader& leader;
    StreamId stream;
    LogReader reader;
    std::deque<LogReaderOwner::Run> runs_read;  // from the log, in order, not sent yet
    uint64_t runs_read_bytes = 0;
    std::unique_ptr<Compaction> compaction;  // while it gets blocks instead of records
    bool closed = false;
    std::optional<HostId> host;    // whom the stream was given to
    std::optional<size_t> member;  // known from its hello on
    Position head;                 // as it said
    bool has_volume = false;
    Lsn commit_lsn = 0;
    bool said_hello = false;
    bool verified = false;  // its history is a beginning of ours
    bool greeted = false;   // has been sent a frame behind our hello
    Lsn next = 0;
    Lsn commit_sent = 0;
    Lsn sync_sent = 0;
    bool live = false;  // has had everything there was; until something is to be read for it again
    FeedPace pace;      // while it is not
  };

  void on_hello(Feed& feed, const HelloFrame& hello);
  void say_hello(Feed& feed);
  void refuse_stranger(StreamId stream);
  void note_members(const ViewPayload& view);
  void forget_members();
  size_t place_of(const ViewMember& member) const;
  bool is_own(const ViewMember& member) const;
  std::vector<const ViewMember*> holders() const;
  void mind_lease();
  uint64_t lease_until() const;
  uint64_t lease_until(const ViewPayload& view) const;
  void on_ack(Feed& feed, const AckFrame& ack, bool counts);
  // adoption.cc
  void step();
  void gather();
  void fetch_head();
  void tell_holders();
  [[nodiscard]] bool on_fetched(Feed& feed, const FrameChannel::Frame& frame);
  /// What it has is what followers get.
  bool has_history() const { return stage_ != Stage::fetch && (stage_ != Stage::gather || adopted_ != 0); }
  void pump(Feed& feed);
  [[nodiscard]] bool send_next(Feed& feed);
  void read_ahead(Feed& feed);
  // How fast: leader_pace.cc
  [[nodiscard]] bool may_feed(Feed& feed);
  void note_fed(Feed& feed, uint64_t bytes);
  bool is_spare(const Feed& feed) const;
  [[nodiscard]] bool is_left_behind(const Feed& feed) const;
  void compact(Feed& feed, Lsn from);
  void pump_blocks(Feed& feed);
  [[nodiscard]] bool verify(Feed& feed, const RunView& run);
  void send_run(Feed& feed, const Run& run);
  bool is_witness(const Feed& feed) const { return feed.member && members_[*feed.member].is_witness; }
  void send_log_run(Feed& feed, const LogReaderOwner::Run& run);
  const Run* backlog_from(Lsn lsn) const;
  void trim_backlog();
  void push_commit(Feed& feed);
  Lsn committed_for(const Feed& feed) const;
  void mind_witness();
  Feed* find(StreamId stream);

  Volume& volume_;
  Streams& streams_;
  IoQueue& io_;
  Segments& segments_;
  const Appender& appender_;
  const StoreIdentity self_;
  LeaderHost& host_;
  Leases& leases_;
  const Epoch epoch_;
  struct Member {
    HostId host;
    StoreId store;
    Feed* feed = nullptr;  // the stream opened last
    Lsn held = 0;          // up to here, whether that counts or not
    bool is_witness = false;
  };
  std::vector<Member> members_;           // all others of every view that had a say in this leader's time
  std::vector<MemberProgress> progress_;  // of members_
  std::vector<Quorum> quorums_;           // the set of each view in force
  std::vector<std::unique_ptr<Feed>> feeds_;
  std::deque<Run> backlog_;
  uint64_t backlog_bytes_ = 0;
  Stage stage_ = Stage::gather;
  Feed* fetching_ = nullptr;  // whom the missing records are fetched from
  Lsn adopted_ = 0;           // gathering: the most advanced head's lsn; 0 = not chosen yet
  Position target_;           // elected: the head to go on from
  Lsn known_ = 0;             // of it: committed, as those who promised know
  size_t holders_told_ = 0;
  uint64_t lease_until_ns_ = UINT64_MAX;  // a majority's leases run until then
  bool lease_told_ = true;                // the last that was told of it: it runs
  bool moved_ = false;
  ByteMeter written_;
  uint64_t held_until_ns_ = 0;  // a feed waits for its share; 0: none does
  uint64_t now_ns_ = 0;
  uint64_t commit_since_ns_ = 0;    // when the oldest commit not sent was seen; 0 = all are sent
  uint64_t unsynced_since_ns_ = 0;  // with a witness: when a commit was seen that is not on disk; 0 = all are
};

}  // namespace cloudfs
