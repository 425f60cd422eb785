// The transmission phase: requests become ClientOps, Replies become bytes. Wrong requests are answered here, and the
// payload of a wrong write is dropped as it arrives.
#pragma once

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "nbd/output.h"
#include "nbd/protocol.h"
#include "nbd/receive_buffer.h"
#include "nbd/session.h"

namespace cloudfs::nbd {

/// A request's header as the client sent it.
struct Request {
  uint16_t flags = 0;
  CommandType type = CommandType::read;
  uint64_t cookie = 0;
  uint64_t offset = 0;
  uint32_t length = 0;

  bool has(uint16_t flag) const { return (flags & flag) != 0; }
};

class Transmission {
 public:
  Transmission(uint64_t client, Session session) : client_(client), session_(std::move(session)) {}

  /// Takes one request, or as much of it as has arrived.
  Step step(ReceiveBuffer& input, Output& output, std::vector<ClientOp>& ops);
  /// Takes the answer to an op; its bytes go to `output` unless nobody reads them any more.
  void answer(Reply reply, Output* output);
  /// That many replies have been sent completely.
  void replies_sent(size_t count);

  void shut_down() { shutting_down_ = true; }

  /// Of a session: sequences whose refusal the client says it has seen, since it was last asked.
  std::vector<uint64_t> take_seen() { return std::exchange(seen_, {}); }

  const Session& session() const { return session_; }
  size_t ops_in_flight() const { return ops_in_flight_; }
  /// Payload bytes of requests that are not answered yet.
  size_t reserved_bytes() const { return reserved_bytes_; }

 private:
  /// Why a request is not passed on.
  struct Refusal {
    WireError error = WireError::none;
    std::string_view message;
  };
  struct Slot {
    Request request;
    uint64_t id = 0;  // of the op in flight; 0 = free
  };

  Step take_seen(const Request& request, ReceiveBuffer& input);
  bool is_sound(const Request& request) const;
  Step begin(const Request& request, ReceiveBuffer& input, Output& output, std::vector<ClientOp>& ops);
  Step finish_write(ReceiveBuffer& input, Output& output, std::vector<ClientOp>& ops);
  Refusal judge(const Request& request) const;
  bool has_room(const Request& request, const Output& output) const;
  ClientOp open_op(const Request& request);
  void refuse(const Request& request, const Refusal& refusal, Output& output) const;
  void succeed(const Request& request, Output& output) const;
  void send_read(const Request& request, std::vector<Piece>& pieces, Output& output) const;
  void send_chunks(const Request& request, std::vector<Piece>& pieces, Output& output) const;
  void send_status(const Request& request, const std::vector<Piece>& pieces, Output& output) const;

  uint64_t client_;
  Session session_;
  bool shutting_down_ = false;
  std::optional<Request> writing_;                       // its header is taken, its payload is not complete
  std::optional<std::pair<Request, Refusal>> dropping_;  // refused; its payload is still arriving
  std::vector<Slot> slots_;
  std::vector<uint16_t> free_slots_;
  uint64_t ops_begun_ = 0;
  uint64_t last_sequence_ = 0;  // of a session
  std::vector<uint64_t> seen_;
  size_t ops_in_flight_ = 0;
  size_t unsent_replies_ = 0;  // requests taken whose reply has not been sent completely
  size_t reserved_bytes_ = 0;
};

}  // namespace cloudfs::nbd
