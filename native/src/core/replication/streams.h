// The store's streams to other engines: bytes in, frames to the Leader or Follower of the stream's volume, frames out.
// Streams knows no rule of replication; it bounds what waits and ends what misbehaves.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/effects.h"
#include "core/replication/frame_channel.h"

namespace cloudfs {

using StreamId = uint64_t;

/// Bytes given to a stream and not taken by its socket, past which nothing more of the log is put into it.
constexpr size_t kStreamUnsentBytesMax = 4u << 20;
/// Streams of a store at once. More are refused.
constexpr size_t kStreamsMax = 4096;

/// One end of a conversation about a volume.
class StreamEnd {
 public:
  virtual ~StreamEnd() = default;
  /// A frame has come. @returns false to be given it again next turn: there is no room for it now
  [[nodiscard]] virtual bool on_frame(StreamId stream, const FrameChannel::Frame& frame) = 0;
  /// Its socket took bytes: there may be room for more.
  virtual void on_drained(StreamId stream) = 0;
  /// The stream has ended; nothing more comes of it.
  virtual void on_closed(StreamId stream) = 0;
  /// The other side refused it, having promised `epoch`; it ends.
  virtual void on_refused(StreamId, const Epoch& /*epoch*/) {}
};

class Streams {
 public:
  explicit Streams(Effects& out) : out_(out) {}

  /// 0: too many streams.
  StreamId open();
  /// Whose it is; frames wait until it is known.
  void attach(StreamId stream, StreamEnd& end);
  bool attached(StreamId stream) const;
  /// It is another's from now on; the one it had is told nothing.
  void hand_to(StreamId stream, StreamEnd& end);

  // From the shell.
  FrameChannel::Window receive_target(StreamId stream);
  void received(StreamId stream, size_t bytes);
  void sent(StreamId stream, size_t bytes);
  /// The socket is gone.
  void closed(StreamId stream);

  // From the ends.
  void send(StreamId stream, std::vector<Slice> slices);
  void send(StreamId stream, BufferRef frame);
  size_t unsent(StreamId stream) const;
  /// Says why, and ends the stream. refusal() tells it too.
  void refuse(StreamId stream, const Epoch& epoch, const char* code, const char* message);
  void close(StreamId stream);
  /// What either side said when it ended the stream, as long as its socket is there.
  StreamRefusal refusal(StreamId stream) const;

  /// Hands out the frames that have come.
  void turn();
  /// Frames wait that turn() would hand out.
  bool has_work() const { return work_; }
  /// A frame waits for room.
  bool has_waiting() const { return waiting_; }
  size_t count() const { return streams_.size(); }

 private:
  struct One {
    StreamId id = 0;
    FrameChannel channel;
    std::optional<FrameChannel::Frame> waiting;  // given once, not taken
    StreamEnd* end = nullptr;
    size_t unsent = 0;
    StreamRefusal refusal;
    bool closing = false;  // the end has let go of it
    bool drained = false;
  };
  One* find(StreamId stream) const;
  void hand_out(One& one);

  Effects& out_;
  std::vector<std::unique_ptr<One>> streams_;
  std::vector<StreamId> ids_;  // scratch
  StreamId next_ = 1;
  bool work_ = false;
  bool waiting_ = false;
};

}  // namespace cloudfs
