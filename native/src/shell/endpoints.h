// The volumes that are attached at this host: for each a unix socket with NBD, a bridge::Endpoint behind it, and the route to
// the volume's primary: this store's core, or a connection. Everything is called on the loop's thread.
//
// Once per round of the loop: EventLoop::wait (receives), receive(), NbdServer::submit, the core's turns with deliver() for
// each reply, NbdServer::flush, flush().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/store/core.h"
#include "shell/nbd_server.h"
#include "shell/route_there.h"

namespace cloudfs::shell {

/// Of one store. At this many no further one is made.
constexpr size_t kEndpointsMax = 1024;
/// A connection that has not greeted by then is no route.
constexpr uint64_t kRouteGreetingNsMax = 5'000'000'000;

struct EndpointStatus {
  std::string volume;   // hex
  std::string session;  // hex
  std::string socket;
  std::string route;          // none, here, there
  size_t waiting = 0;         // requests not answered
  uint64_t routeless_ns = 0;  // for how long there has been no route
};

class Endpoints {
 public:
  /// Told once how it went: an empty code, or one of docs/errors.md.
  using Done = std::function<void(const std::string& code, const std::string& message)>;

  Endpoints(EventLoop& loop, Core& core, NbdServer& nbd);
  ~Endpoints();
  Endpoints(const Endpoints&) = delete;
  Endpoints& operator=(const Endpoints&) = delete;

  /// Makes an endpoint; it listens once it has a route. One of the volume that is there already ends first, unless it is the
  /// same session's. @throws Error ERR_TOO_MANY_ENDPOINTS
  void open(const std::string& volume, const SessionId& session, const ListenAddress& address);
  /// This store's core is the volume's primary.
  void route_here(const std::string& volume, const SessionId& session, const Done& done);
  /// `stream` leads to a session's server at the primary's engine. Done once that has greeted. `is_next`: that is about to be the
  /// primary; what becomes of the route in force meanwhile is told as ever.
  void route_there(const std::string& volume, const SessionId& session, std::unique_ptr<Stream> stream,
                   const std::vector<uint8_t>& early, bool is_next, Done done);
  /// Hangs up its clients and removes the socket. @returns whether there was one
  bool end(const std::string& volume);
  void end_all();
  std::vector<EndpointStatus> list() const;

  void receive();
  /// @returns false if it is no reply to an endpoint, which leaves it as it was
  bool deliver(Reply& reply);
  void flush();
  std::optional<uint64_t> next_deadline_ns() const;
  /// 'route-lost', 'endpoint-ended', since it was last asked.
  std::vector<Event> take_events() { return std::exchange(events_, {}); }

 private:
  class Here;
  struct Served;

  Served* find(const std::string& volume, const SessionId& session, const Done& done);
  /// Has the route in force, in place of any other. @returns false if it could not listen, and has told so
  bool listen(Served& served, uint64_t size_bytes, const Done& done);
  void pass(Served& served);
  void settle_pending(Served& served);
  /// Whatever was asked for last is the route.
  static void drop_pending(Served& served);
  void note_lost(Served& served, const std::string& code, const std::string& message);
  void release(Here& here);
  void event(const char* name, const Served& served, const std::string& code = {},
             const std::string& message = {});

  EventLoop& loop_;
  Core& core_;
  NbdServer& nbd_;
  uint64_t routes_here_ = 0;                                         // ever
  std::unordered_map<std::string, std::unique_ptr<Served>> served_;  // by volume
  std::unordered_map<uint64_t, std::unique_ptr<Here>> here_;         // by `client`; until all is answered
  std::vector<Reply> replies_;                                       // scratch
  std::vector<Event> events_;
};

}  // namespace cloudfs::shell
