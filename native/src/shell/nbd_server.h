// NBD over sockets: listeners, and the connections they accept, between an event loop and a core. What the protocol says
// is nbd::Connection's; what an op does is the core's. Everything is called on the loop's thread.
//
// Once per round of the loop: EventLoop::wait (receives), submit(), the core's turns with deliver() for each reply,
// flush(). So all that arrived on all sockets becomes one turn, and each connection's replies leave in one write.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/ids.h"
#include "core/store/core.h"
#include "nbd/connection.h"
#include "shell/event_loop.h"
#include "shell/listener.h"

namespace cloudfs::shell {

/// Takes the requests of a listener's clients in place of the core. The answers come by NbdServer::deliver.
class OpSink {
 public:
  virtual void submit(ClientOp op) = 0;

 protected:
  ~OpSink() = default;
};

/// Clients at once. At this many the next one is closed as soon as it is accepted.
constexpr size_t kNbdConnectionsMax = 1024;
/// A client that has not chosen an export by then is closed.
constexpr uint64_t kNbdHandshakeNsMax = 30'000'000'000;

class NbdServer {
 public:
  NbdServer(EventLoop& loop, Core& core);
  /// Closes everything at once. The core must give no more replies to clients of this server.
  ~NbdServer();
  NbdServer(const NbdServer&) = delete;
  NbdServer& operator=(const NbdServer&) = delete;

  /// Listens. With a `volume` (hex id) its clients see that volume and its snapshots alone, and the empty name is that
  /// volume; without, they see all exports. @returns the TCP port, or 0
  /// @throws Error as Listener; ERR_ADDRESS_IN_USE too if this server listens at `key` already
  uint16_t listen(const std::string& key, const ListenAddress& address, const std::string& volume);

  /// Listens for clients that see `exports` and whose requests go to `sink`; it outlives them, or hang_up() comes first.
  void listen(const std::string& key, const ListenAddress& address,
              std::shared_ptr<nbd::ExportSource> exports, OpSink* sink);

  /// Serves a socket that was connected elsewhere as the connection of an attachment's session; a connection that the session
  /// has is hung up. @returns an empty text; or the core's refusal, or 'too many', and the socket is closed
  std::string adopt_session(std::unique_ptr<Stream> stream, const std::string& volume,
                            const SessionId& session, const std::vector<uint8_t>& preface);

  /// Stops listening at `key` and hangs up the clients that came from there; their requests are still answered, to nobody.
  void hang_up(const std::string& key);

  /// Stops listening at `key` and ends the connections that came from there, each when its requests in flight are
  /// answered. @returns false if there is no such listener
  bool unlisten(const std::string& key);

  /// No new connections; those there are end as with unlisten().
  void shut_down();

  /// Hands the requests that have been received to the core. @returns whether there was anything for it
  bool submit();
  void deliver(Reply reply);
  /// Sends what has been delivered, as far as the sockets take it: flush() comes all the same.
  void answer();
  /// Sends what the sockets take; destroys connections that are done; closes those whose handshake takes too long.
  /// @returns whether requests that had waited for room have become ready: then the next round must not wait
  bool flush();

  std::optional<uint64_t> next_deadline_ns() const;
  size_t connection_count() const { return connections_.size(); }
  size_t listener_count() const { return listeners_.size(); }

 private:
  class Client;
  struct Listening;

  void add(std::string key, std::shared_ptr<nbd::ExportSource> exports, OpSink* sink,
           std::unique_ptr<Stream> stream);
  void touch(Client& client);
  bool advance(Client& client);
  void expire();

  EventLoop& loop_;
  Core& core_;
  uint64_t clients_ = 0;  // ever
  bool shutting_down_ = false;
  std::unordered_map<std::string, std::unique_ptr<Listening>> listeners_;
  std::unordered_map<uint64_t, std::unique_ptr<Client>> connections_;
  std::map<SessionId, uint64_t> sessions_;  // the connection of each
  std::vector<uint64_t> touched_;           // something happened to these since the last flush()
  std::vector<uint64_t> handshaking_;       // in the order in which they came
  std::vector<ClientOp> ops_;               // scratch, as are these
  std::vector<nbd::OutgoingPiece> pieces_;
  std::vector<iovec> parts_;
};

}  // namespace cloudfs::shell
