// The client's half of NBD's transmission phase as a state machine: requests in, bytes for its socket out; bytes of its
// socket in, Replies out. No socket, no clock, no thread. Whatever the server may send is looked at before it is believed:
// what is no right answer to a request of this client ends the connection, with a code, and nothing more of it is taken.
//
// The loop around it, once per turn:
//
//   readable:  Window window = client.receive_target();
//              n = recv(window.data, window.bytes)          n > 0: client.received(n)
//   always:    client.advance(replies)
//              if (client.failure()) close the socket
//   requests:  client.request(op)                           // once greeted()
//   always:    while (count = client.outgoing(pieces)) { n = writev(pieces); client.sent(n); }
//
// Payloads are not copied: what is written stays in the caller's Slice until sent() has passed it, and what is read is
// handed on in the buffer it was received into, which is of its own size where it is large.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/effects.h"
#include "core/base/flat_map.h"
#include "nbd/connection.h"
#include "nbd/output.h"
#include "nbd/protocol.h"
#include "nbd/receive_buffer.h"
#include "nbd/session_greeting.h"

namespace cloudfs::nbd {

/// Requests that are not answered; a caller asks no more at once.
constexpr size_t kClientRequestsMax = 4096;
/// Chunks of a read's reply: a server that cuts it finer than by sectors only wants memory.
constexpr uint64_t kChunkBytesMin = 512;

class Client {
 public:
  /// How the server was found to reply.
  struct Terms {
    bool structured = true;
    uint32_t status_context = 1;  // the id of base:allocation
  };
  struct Failure {
    std::string code;  // of docs/errors.md
    std::string message;
  };

  /// Of a session: its server greets first.
  Client() = default;
  /// The handshake has been made already.
  explicit Client(Terms terms) : terms_(terms), greeted_(true) {}

  /// Requests may be made.
  bool greeted() const { return greeted_; }
  /// Of a session, once greeted().
  const SessionGreeting& greeting() const { return greeting_; }

  /// `op.request` is what the Reply will carry. An op that has a `sequence` takes that for its cookie, and no other that is
  /// not answered has the same.
  void request(const ClientOp& op);
  /// Of a session: the refusal of this sequence has been seen.
  void seen(uint64_t sequence);

  Window receive_target();
  void received(size_t bytes);
  /// Appends a Reply for each request whose answer is complete.
  void advance(std::vector<Reply>& replies);

  size_t outgoing(std::span<OutgoingPiece> pieces) const { return output_.outgoing(pieces); }
  void sent(size_t bytes) { output_.sent(bytes); }

  /// Why nothing more of this server is taken.
  const std::optional<Failure>& failure() const { return failure_; }
  size_t requests_in_flight() const { return in_flight_; }

 private:
  struct Slot {
    uint64_t cookie = 0;  // 0 = free
    uint64_t request = 0;
    ClientOp::Kind kind = ClientOp::Kind::read;
    uint64_t offset = 0;
    uint64_t length = 0;
    uint64_t covered = 0;  // bytes of a read that have been answered
    size_t chunks = 0;
    int error = 0;
    std::vector<uint64_t> offsets;  // of `pieces`
    std::vector<Piece> pieces;
  };
  struct Chunk {
    uint16_t flags = 0;
    ChunkType type = ChunkType::none;
    uint64_t cookie = 0;
    uint32_t bytes = 0;
  };
  /// How far a step got.
  enum class Took { message, nothing };

  Took step(std::vector<Reply>& replies);
  Took greet();
  Took simple_reply(std::vector<Reply>& replies);
  Took chunk(std::vector<Reply>& replies);
  bool judge(const Chunk& chunk, const Slot& slot);
  bool take_data(Slot& slot, uint32_t bytes);
  bool take_hole(Slot& slot);
  bool take_status(Slot& slot, uint32_t bytes);
  bool take_error(Slot& slot, const Chunk& chunk);
  bool cover(Slot& slot, uint64_t offset, uint64_t bytes);
  bool finish(Slot& slot, std::vector<Reply>& replies);
  bool is_whole(Slot& slot);
  Slot* find(uint64_t cookie);
  Slot& open(const ClientOp& op);
  Took starve(size_t bytes);
  bool fail(std::string_view message);

  Terms terms_;
  bool greeted_ = false;
  SessionGreeting greeting_;
  ReceiveBuffer input_;
  Output output_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  FlatMap<uint64_t, uint32_t> sequences_;  // slots of requests whose cookie is a sequence
  uint64_t requests_ever_ = 0;
  size_t in_flight_ = 0;
  std::optional<Failure> failure_;
};

}  // namespace cloudfs::nbd
