// Replication of a volume at a member that is not its primary (docs/wire-protocol.md): takes the leader's runs, says what
// it holds, and gives a restarted leader what that lacks.
//
// Invariants
// - Nothing is acknowledged before the leader has sent something behind its hello: only then is it known that what is
//   held here is a beginning of the leader's history.
// - Records known to be committed are never dropped.
#pragma once

#include <optional>
#include <vector>

#include "core/log_reader.h"
#include "core/replication.h"
#include "core/streams.h"

namespace cloudfs {

class Volume;

/// Makes a volume of the run that starts it.
class ReplicaMaker {
 public:
  /// @returns nullptr if there is no room now; `code` is set if it is refused
  virtual Volume* make_replica(const RunView& run, const Slice& bytes, const char*& code) = 0;

 protected:
  ~ReplicaMaker() = default;
};

class Follower final : public Replication, public StreamEnd, LogReaderOwner {
 public:
  Follower(const VolumeId& id, Streams& streams, IoQueue& io, Segments& segments, const Appender& appender,
           const StoreIdentity& self, ReplicaMaker& maker);
  ~Follower() override;

  /// The volume is here.
  void adopt(Volume& volume);
  const VolumeId& id() const { return id_; }
  bool connected() const { return stream_ != 0; }
  /// A stream to the leader is open; an older one ends.
  void begin(StreamId stream);

  // Replication
  void on_placed(const PlacedRun&, const std::vector<Slice>&, bool) override {}
  void on_advanced() override { moved_ = true; }
  std::span<const MemberProgress> peers() const override { return {}; }
  std::optional<Lsn> leader_commit() const override { return commit_; }
  bool serving() const override { return true; }

  // StreamEnd
  bool on_frame(StreamId stream, const FrameChannel::Frame& frame) override;
  void on_drained(StreamId) override { moved_ = true; }
  void on_closed(StreamId stream) override;

  void turn();
  bool has_work() const { return moved_; }

 private:
  void on_runs(std::vector<LogReaderOwner::Run>& runs, int error) override;
  bool on_hello(const HelloFrame& hello);
  [[nodiscard]] bool on_runs_frame(const FrameChannel::Frame& frame);
  void note_commit(Lsn lsn);
  void send_fetched();
  Epoch epoch() const;
  void refuse(const char* code, const char* message);

  const VolumeId id_;
  Streams& streams_;
  IoQueue& io_;
  Segments& segments_;
  const Appender& appender_;
  const StoreIdentity self_;
  ReplicaMaker& maker_;
  Volume* volume_ = nullptr;
  std::optional<LogReader> reader_;
  StreamId stream_ = 0;
  bool hello_ = false;    // the leader's has come
  bool greeted_ = false;  // something behind it has come
  Epoch leader_epoch_;
  Lsn commit_ = 0;
  Lsn acked_appended_ = 0;
  Lsn acked_synced_ = 0;
  std::optional<Lsn> fetch_next_;  // a restarted leader wants what follows
  bool moved_ = false;
};

}  // namespace cloudfs
