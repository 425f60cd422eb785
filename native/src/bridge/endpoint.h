// What serves one attached volume at the host of its VM, as a state machine: requests of NBD clients in, requests for the
// volume's primary out; its answers in, answers to the clients out. It keeps every request that is not answered, with its
// payload, so that whoever is the primary next is asked again; what changes data is numbered, so that it is applied once
// (docs/protocol.md, S1 and S2). No socket, no clock, no thread.
//
// What holds:
// - A sequence belongs to one request for ever. Each is one more than the last; none is left out, none comes twice.
// - On each route requests go out in the order in which they were first made, those with sequences and those without.
// - A client's request is answered once, when all its pieces are. What is answered is never sent again.
// - A refusal of a request with a sequence is followed at once by seen(), ahead of any later request.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/effects.h"
#include "nbd/connection.h"

namespace cloudfs::bridge {

/// Requests and payload bytes on a route that are not answered. A server that stops receiving at its own limits would not hear
/// `seen`, for which requests within those limits wait; so fewer are sent.
constexpr uint32_t kRouteRequestsMax = nbd::kRequestsInFlightMax;
constexpr size_t kRouteBytesMax = nbd::kBytesInFlightMax / 2;
static_assert(kRouteBytesMax >= nbd::kPayloadBytesMax);

/// The way to the volume's primary.
class Route {
 public:
  virtual ~Route() = default;
  /// `op.request` is the endpoint's, `op.client` and `op.target` are the route's to fill in.
  virtual void send(const ClientOp& op) = 0;
  virtual void seen(uint64_t sequence) = 0;
};

/// Whom the answers go to.
class Clients {
 public:
  virtual ~Clients() = default;
  virtual void deliver(Reply reply) = 0;
};

class Endpoint {
 public:
  explicit Endpoint(Clients& clients) : clients_(clients) {}
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  /// A request of a client. `record_bytes_max` was known when the first route came, before any client could.
  void submit(ClientOp op);

  /// There is a way to the primary, a new one in place of any there was: all that is not answered is sent again.
  /// `record_bytes_max`: longer writes are cut from now on, so that each piece becomes one record.
  void route(Route& route, uint64_t record_bytes_max);
  /// The route has come to its end. What came over it and was not taken yet counts no more.
  void lost(const Route& route);
  /// An answer that came over `route`; of one that is not in force it is nothing. kUnanswered, and ESHUTDOWN, which a primary
  /// says that ends, are the end of the route.
  void answer(const Route& route, Reply reply);

  /// The session is over: nothing more is sent, and all requests, now and later, are answered kUnanswered.
  void end();

  bool is_routed() const { return route_ != nullptr; }
  bool has_ended() const { return ended_; }
  /// Clients' requests that are not answered.
  size_t waiting() const { return parents_.size() - free_parents_.size(); }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  /// A client's request.
  struct Parent {
    uint64_t client = 0;
    uint64_t request = 0;
    uint32_t pieces = 0;  // not answered
    int error = 0;
  };
  /// All of it or a part, as it is sent. Pieces form a list in the order in which they were made.
  struct Piece {
    ClientOp op;  // op.request: of this piece, another one each time its place is used
    uint32_t parent = kNone;
    uint32_t previous = kNone;
    uint32_t next = kNone;
    bool sent = false;
  };

  void append(ClientOp op, uint32_t parent);
  void release(uint32_t index);
  void pump();
  bool has_room(const ClientOp& op) const;
  void finish(uint32_t piece, Reply reply);
  static uint64_t bytes_of(const ClientOp& op);

  Clients& clients_;
  Route* route_ = nullptr;
  bool ended_ = false;
  uint64_t record_blocks_max_ = 1;
  uint64_t sequences_ = 0;  // given out
  uint64_t pieces_ever_ = 0;
  uint32_t oldest_ = kNone;
  uint32_t newest_ = kNone;
  uint32_t unsent_ = kNone;  // the oldest that is not on the route; all behind it are not either
  uint32_t in_flight_ = 0;
  uint64_t bytes_in_flight_ = 0;
  std::vector<Piece> pieces_;
  std::vector<uint32_t> free_pieces_;
  std::vector<Parent> parents_;
  std::vector<uint32_t> free_parents_;
};

}  // namespace cloudfs::bridge
