// One client's NBD connection as a state machine: bytes of its socket in, ClientOps out; Replies in, bytes
// for its socket out. No socket, no clock, no thread of its own; everything is called on the thread of the
// core it feeds. docs/nbd.md says what is supported; the source of every rule is the NBD protocol document
// (NetworkBlockDevice/nbd, doc/proto.md).
//
// The loop around it, once per turn and connection that has something to do:
//
//   readable:  Window window = connection.receive_target();    // empty: do not read now
//              n = recv(window.data, window.bytes)
//              n > 0: connection.received(n)      n == 0 or failed: connection.disconnected()
//   replies:   connection.answer(reply)                        // any number, any order
//   always:    connection.advance(ops)                         // ops go to Core::submit
//   always:    while (count = connection.outgoing(pieces)) { n = writev(pieces); connection.sent(n); }
//              if (connection.wants_close()) { shut the socket; connection.disconnected(); }
//              if (connection.finished()) destroy it
//              if (connection.can_advance()) the loop does not sleep
//
// Requests that waited in the receive buffer for room are parsed by the advance() that follows answer() and
// sent(), so it is called after those too, not only after a receive.
//
// Who owns which bytes, until when:
//
// - receive_target() points into a buffer of the connection and stays valid until the next receive_target(),
//   received() or disconnected(), whatever else is called meanwhile: the kernel may be filling it.
// - ClientOp::payload points into that buffer, or into one of its own size, and holds a reference to it: it
//   is valid as long as somebody keeps the Slice, independent of the connection's life. The connection never
//   writes to bytes it has handed out; it takes a buffer up again only when it holds the last reference.
// - Reply::pieces' data is moved into the output queue and released when sent() has passed it.
// - outgoing() fills in pointers that stay valid until sent() has passed them, or disconnected().
// - disconnected() and destruction free what a receive or send under way uses: the shell ends those first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/base/effects.h"
#include "nbd/export_source.h"

namespace cloudfs::nbd {

/// Longest READ or WRITE; what INFO_BLOCK_SIZE tells clients. Longer ones are refused.
constexpr uint32_t kPayloadBytesMax = 32u << 20;
/// Requests of a connection whose replies are not sent completely. At this many it stops receiving.
constexpr uint32_t kRequestsInFlightMax = 512;
/// Bytes of a connection's requests (write payloads, read lengths) and unsent output. A request that would
/// pass it waits, and with it all behind it.
constexpr size_t kBytesInFlightMax = 64u << 20;
/// Size of a receive buffer. A payload that does not fit gets a buffer of its own size.
constexpr size_t kReceiveBytes = 256u << 10;
/// Data of one option. Longer data is received and dropped, and answered with ERR_TOO_BIG.
constexpr uint32_t kOptionBytesMax = 64u << 10;
/// Options before GO or EXPORT_NAME. At this many the connection is closed.
constexpr uint32_t kOptionsMax = 128;
/// Export names and other strings (a rule of the protocol).
constexpr uint32_t kStringBytesMax = 4096;
/// Exports shown by LIST. More are answered with ERR_TOO_BIG after this many.
constexpr uint32_t kExportsListedMax = 10'000;
/// Extents in a BLOCK_STATUS reply; clients ask again behind the last one.
constexpr uint32_t kStatusExtentsMax = 1u << 16;

/// Where the next bytes from the socket go.
struct Window {
  uint8_t* data = nullptr;
  size_t bytes = 0;
};

/// Bytes to send; laid out as an iovec's two fields, in its order.
struct OutgoingPiece {
  const uint8_t* data = nullptr;
  size_t bytes = 0;
};

class Connection {
 public:
  /// `client` goes into each ClientOp and is unique among the core's clients. The greeting is in outgoing()
  /// at once.
  Connection(uint64_t client, ExportSource& exports);
  /// A connection of an attachment's session: it begins in the transmission phase, with structured replies and
  /// `base:allocation`, behind a greeting of its own. `exported` was opened from `exports`, which closes it.
  Connection(uint64_t client, ExportSource& exports, Export exported);
  /// Closes the export if it is still open: then the core must give no more answers for this client.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Room for the next receive; empty while back-pressure, the end of the connection, or want of advance()
  /// forbids one.
  Window receive_target();
  /// `bytes` (at most what receive_target() offered) have been written there. Nothing is parsed before
  /// advance().
  void received(size_t bytes);

  /// The answer to an op of this connection; each is answered exactly once, also after disconnected() or
  /// wants_close().
  void answer(Reply reply);

  /// Parses what has been received as far as the limits permit and appends the requests found to `ops`.
  /// Requests that the core need not see (wrong ones, those of length zero) are answered here.
  void advance(std::vector<ClientOp>& ops);

  /// Of a session: sequences whose refusal its endpoint says it has seen, found by advance() since this was last asked.
  std::vector<uint64_t> take_seen();

  /// advance() would get further: bytes have been received, or room has come for those that waited. When it is
  /// true at the end of a turn, the next turn comes without waiting.
  bool can_advance() const;

  /// Fills in the front of what is to be sent.
  /// @returns how many pieces were filled in; 0 = nothing to send
  size_t outgoing(std::span<OutgoingPiece> pieces) const;
  /// The first `bytes` of outgoing() have been taken by the socket.
  void sent(size_t bytes);

  /// The server ends: further requests and options are refused with ESHUTDOWN; the first advance() that finds
  /// nothing in flight stops receiving, and wants_close() comes when all is sent. A session's connection is closed at
  /// once instead: what is not answered its endpoint asks the next primary.
  void shut_down();
  /// The socket is at its end, broken, or closed by the shell. Drops input and output; ops in flight are
  /// still answered.
  void disconnected();

  /// Nothing is to be received or sent any more: close the socket, then call disconnected().
  bool wants_close() const;
  /// disconnected(), every op answered, the export closed: destroy it.
  bool finished() const;

  /// It is an attachment's session.
  bool is_session() const;
  /// No export is chosen yet. The shell gives a client limited time for this.
  bool in_handshake() const;
  uint64_t client() const;
  /// Ops handed out and not answered.
  size_t ops_in_flight() const;
  /// Bytes that count towards kBytesInFlightMax.
  size_t bytes_in_flight() const;
  /// The export chosen; nullptr in the handshake.
  const Export* exported() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cloudfs::nbd
