// Replication of a volume at a member that is not its primary (docs/wire-protocol.md): takes the leader's runs, says what
// it holds, and gives a restarted leader what that lacks.
//
// Invariants
// - Nothing is acknowledged before the leader has sent something behind its hello: only then is it known that what is
//   held here is a beginning of the leader's history.
// - Records known to be committed are never dropped.
// - Nothing of an epoch is taken, and nothing said under it, before it is promised durably (E1).
// - While the replica is recovering what it says counts for nothing (R2).
#pragma once

#include <optional>
#include <vector>

#include "core/replication/leases.h"
#include "core/replication/log_reader.h"
#include "core/replication/staging.h"
#include "core/replication/streams.h"
#include "core/volume/replication.h"

namespace cloudfs {

/// What a follower needs of its store.
class ReplicaMaker {
 public:
  struct Made {
    Volume* volume = nullptr;    // nullptr: not now, or one of the following
    const char* code = nullptr;  // refused
    bool needs_blocks = false;   // a branch of a version that is not here
  };
  /// Makes a volume of the run that starts it.
  /// `copy`: for a store that is not a member, instead of one that is.
  virtual Made make_replica(const RunView& run, const Slice& bytes, bool copy) = 0;
  /// Everything done so far is to be in a checkpoint. @returns what to give to checkpointed()
  virtual uint64_t want_checkpoint() = 0;
  virtual bool checkpointed(uint64_t wanted) const = 0;
  /// The epoch promised for the volume; zero: it is not here.
  virtual Epoch promised(const VolumeId& volume) const = 0;
  /// An elected leader's epoch is a promise (E1). @returns whether it is durable; else ask again
  [[nodiscard]] virtual bool try_promise(const VolumeId& volume, const Epoch& epoch) = 0;
  virtual void on_recovered(Volume& volume) = 0;
  /// Its replica was dropped because this store was no member any more.
  virtual bool has_left(const VolumeId& volume) const = 0;
  virtual uint64_t now_ns() const = 0;
  /// The primary that is followed has resigned in favour of some host, in its epoch; `is_on_disk`: its promise is.
  virtual void on_hand(const VolumeId& volume, const Epoch& leader_epoch, bool is_on_disk,
                       const HandFrame& hand) = 0;
  /// A question for a block, or the answer to one. @returns false: it is malformed
  [[nodiscard]] virtual bool on_repair_frame(StreamId stream, const VolumeId& volume, const Epoch& epoch,
                                             const FrameView& frame) = 0;

 protected:
  ~ReplicaMaker() = default;
};

class Follower final : public Replication, public StreamEnd, LogReaderOwner {
 public:
  Follower(const VolumeId& id, Streams& streams, IoQueue& io, Segments& segments, const Appender& appender,
           const StoreIdentity& self, ReplicaMaker& maker, Staging& staging, Leases& leases);
  ~Follower() override;

  /// The volume is here.
  void adopt(Volume& volume);
  const VolumeId& id() const { return id_; }
  bool connected() const { return stream_ != 0; }
  /// The stream to its leader, and under which epoch it speaks there. 0: there is none now
  StreamId leader_stream(Epoch& epoch) const;
  /// A stream to the leader is open; an older one ends.
  void begin(StreamId stream, bool copy);
  /// This store promised another leader.
  void end();

  // Replication
  void on_placed(const PlacedRun&, const std::vector<Slice>&, bool) override {}
  void on_advanced() override { moved_ = true; }
  std::span<const MemberProgress> peers() const override { return {}; }
  std::span<const Quorum> quorums() const override { return {}; }
  void on_views_moved() override {}
  std::optional<Lsn> leader_commit() const override { return commit_; }
  bool serving() const override { return true; }
  bool has_lease() const override { return true; }

  // StreamEnd
  bool on_frame(StreamId stream, const FrameChannel::Frame& frame) override;
  void on_drained(StreamId) override { moved_ = true; }
  void on_closed(StreamId stream) override;

  void turn();
  bool has_work() const { return moved_; }

 private:
  void on_runs(std::vector<LogReaderOwner::Run>& runs, int error) override;
  bool on_hello(const HelloFrame& hello);
  void on_hand(const FrameView& view);
  [[nodiscard]] bool on_runs_frame(const FrameChannel::Frame& frame);
  [[nodiscard]] bool on_blocks_frame(const FrameChannel::Frame& frame);
  [[nodiscard]] bool settle(const Volume::Accepted& accepted);
  void abandon();
  void note_commit(Lsn lsn);
  void note_shared(Lsn lsn);
  void send_fetched();
  Epoch epoch() const;
  bool has_recovered() const;
  void refuse(const char* code, const char* message);

  const VolumeId id_;
  Streams& streams_;
  IoQueue& io_;
  Segments& segments_;
  const Appender& appender_;
  const StoreIdentity self_;
  ReplicaMaker& maker_;
  Staging& staging_;
  Leases& leases_;
  Volume* volume_ = nullptr;
  std::optional<LogReader> reader_;
  StreamId stream_ = 0;
  bool copy_ = false;     // the stream is of somebody who is no leader
  bool hello_ = false;    // the leader's has come
  bool greeted_ = false;  // something behind it has come
  Epoch leader_epoch_;
  Lsn asked_ = 0;  // the leader's head when it said hello
  // Up to here what is held is the leader's history, as far as this stream has shown; what it says to be committed, and what is
  // acknowledged, counts up to there alone: behind it may stand records that the leader never had.
  Lsn shared_ = 0;
  Lsn told_commit_ = 0;
  Lsn commit_ = 0;
  Lsn acked_appended_ = 0;
  Lsn acked_synced_ = 0;
  bool acked_recovering_ = false;
  bool returns_ = false;             // to a volume that this store had left
  bool wants_blocks_ = false;        // asked for: runs are of no use until they come
  TransferId transfer_ = 0;          // blocks that are being staged
  std::optional<uint64_t> landing_;  // the checkpoint that makes a move durable
  std::optional<Lsn> fetch_next_;    // a leader that lacks records wants what follows
  Lsn fetch_last_ = 0;               // up to here: what it gets besides is its own
  bool moved_ = false;
};

}  // namespace cloudfs
