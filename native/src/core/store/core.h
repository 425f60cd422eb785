// The core of one store: a single-threaded state machine over Effects. It reads no clock, opens no file and no socket.
// Everything a store does is decided here; docs/core.md tells how, and the order of what is synced when.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/effects.h"
#include "core/base/parameters.h"

namespace cloudfs {

/// A control request. `verb` and `arguments` (JSON) are in docs/core.md; the answer is JSON, or an error with a code.
struct Command {
  uint64_t id = 0;
  std::string verb;
  std::string arguments;
  Slice payload;
};

struct CommandReply {
  uint64_t id = 0;
  std::string error_code;  // empty = done
  std::string message;
  std::string result;  // JSON
  Slice payload;
};

/// What this side of a stream is: the volume's primary, one of its followers (docs/wire-protocol.md), or a store outside the
/// volume's view that is given the history by somebody else, checked as a follower checks it.
enum class StreamRole : uint8_t { leader, follower, copy };

/// How far this store is in leading a volume: it brings its followers up; it serves.
enum class LeadStage : uint8_t { elected, leading };

/// Where the next bytes of a stream's socket go; no bytes: do not read now.
struct ReceiveWindow {
  uint8_t* data = nullptr;
  size_t bytes = 0;
};

class Core {
 public:
  explicit Core(const CoreParams& params);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // Life. format() writes an empty store; start() recovers. Both answer by an event: 'ready', or 'store-failed'.
  void format(const StoreIdentity& identity, uint64_t now_ns);
  void start(uint64_t now_ns);
  void stop();  // refuses new work, syncs, checkpoints, marks a clean stop; 'stopped' when done

  // Inputs. Nothing is carried out before the next turn().
  void complete(const IoResult& result);
  void submit(ClientOp op);
  void command(Command command);

  /// Ends one turn of the shell's loop: all waiting writes become one batch, timers run. `now_ns` never goes back.
  /// @returns effects to carry out, in order; replies to deliver.
  Effects turn(uint64_t now_ns);
  std::vector<CommandReply> take_command_replies();

  /// When turn() wants to be called at the latest though nothing happened; nullopt = no timer.
  std::optional<uint64_t> next_deadline_ns() const;

  /// The store's segment size: as formatted, or, once start() has read it, as the superblock says. It is known before
  /// the first effect that names a segment, so that the shell can tell where segments lie on a device.
  uint32_t segment_log2() const;

  // Streams to other engines. The shell connects sockets; from open_stream() on their bytes are the core's. What is to be
  // sent comes with turn(). A stream that the core closes is not reported back by stream_closed() before the shell is done
  // with it; every stream ends with one stream_closed().
  /// `host`, of a leader's stream: who was let in, and has to be who says hello; left out by who lets in everyone.
  /// @returns 0 and a code from docs/errors.md in `refusal`
  uint64_t open_stream(StreamRole role, const VolumeId& volume, std::string& refusal,
                       const std::optional<HostId>& host = std::nullopt);
  /// The epoch promised for a volume: it is led in no earlier one. Zero: none is known.
  Epoch promised(const VolumeId& volume) const;
  /// This store leads the volume in that epoch, as far as `stage` says.
  bool leads(const VolumeId& volume, const Epoch& epoch, LeadStage stage) const;
  /// Why a stream was refused, by this side or the other, until stream_closed(). An empty code: it was not.
  StreamRefusal stream_refusal(uint64_t stream) const;
  /// Valid until the next call for this stream.
  ReceiveWindow stream_receive_target(uint64_t stream);
  void stream_received(uint64_t stream, size_t bytes);
  /// The socket took so many of the bytes given.
  void stream_sent(uint64_t stream, size_t bytes);
  /// The socket is gone.
  void stream_closed(uint64_t stream);

  // Exports, answered at once from memory.
  /// `name`: volume id in hex, name, name@snapshot, id@snapshot, replica:id, replica:name. `session`: of a host that has the
  /// volume attached; requests of the handle belong to it, and those of an older handle of that session end.
  std::optional<Export> open_export(std::string_view name, const SessionId& session = {});
  std::vector<Export> list_exports() const;
  void close_export(uint64_t handle);
  /// The client of a session's handle has the answers to all numbered requests up to `sequence` that were refused: those
  /// behind them, which wait for that, go on.
  void session_seen(uint64_t handle, uint64_t sequence);
  /// An opaque message that names why open_export declined: 'unknown', 'ambiguous', 'not primary', 'not ready', 'session
  /// ended'.
  std::string open_refusal(std::string_view name, const SessionId& session = {}) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cloudfs
