// One store in production: a thread that owns a core and drives it with a real device, clock and sockets. The thread
// carries out what the core says and decides nothing.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/store/core.h"
#include "shell/block_access.h"
#include "shell/device.h"
#include "shell/endpoints.h"
#include "shell/error.h"
#include "shell/event_loop.h"
#include "shell/io_runner.h"
#include "shell/nbd_server.h"
#include "shell/parking.h"
#include "shell/peer_streams.h"

namespace cloudfs::shell {

/// A CommandReply on its way to another thread: its bytes are copied, for buffers belong to the core's thread.
struct CommandAnswer {
  uint64_t id = 0;
  std::string error_code;  // empty = done
  std::string message;
  std::string result;  // JSON
  std::vector<uint8_t> payload;
};

/// Told on the store's thread; must not block, nor call the store.
class StoreObserver {
 public:
  virtual ~StoreObserver() = default;
  virtual void event(Event event) = 0;
  virtual void answer(CommandAnswer answer) = 0;
};

struct StoreStats {
  size_t connections = 0;
  size_t listeners = 0;
  size_t streams = 0;
  uint64_t stream_bytes_sent = 0;
  uint64_t stream_bytes_received = 0;
  size_t io_in_flight = 0;
  uint64_t turns = 0;
  DeviceSpace space;
};

/// Methods may be called from any thread.
class Store {
 public:
  /// Starts the thread. The device is the store's from now on, and locked until it is destroyed.
  Store(std::unique_ptr<Device> device, const CoreParams& params, StoreObserver& observer);
  /// Ends the thread as a crash would end it (but for I/O under way, which it waits for): nothing is synced or marked.
  /// stop() comes first where that matters.
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Each answered by an event: 'ready' or 'store-failed'; 'stopped'.
  void format(const StoreIdentity& identity);
  void start();
  /// Also stops listening; clients' requests in flight are answered.
  void stop();

  /// Answered by StoreObserver::answer with the same id.
  void command(uint64_t id, std::string verb, std::string arguments, std::vector<uint8_t> payload);

  // `done` is called on the store's thread. `error` is empty, or what Listener threw.
  using Listened = std::function<void(uint16_t port, const Error* error)>;
  void listen(std::string key, ListenAddress address, std::string volume, Listened done);
  void unlisten(std::string key, std::function<void(bool known)> done);
  /// Takes over a connected socket as a stream to another engine; `preface` is sent first; `early` are bytes of it
  /// received already. Either `stream`
  /// says which one it is, or it is 0 and `refusal` is the code for which the core would not have it; the socket is closed
  /// then. Its end is told by the event `stream-ended`.
  /// Parked (parking.h): a leader's until this store is elected in that epoch, a follower's until its leader has spoken.
  using Adopted = std::function<void(uint64_t stream, const std::string& refusal)>;
  void adopt_stream(Fd socket, StreamRole role, VolumeId volume, std::optional<HostId> host,
                    std::vector<uint8_t> preface, std::vector<uint8_t> early, Adopted done);
  void park_to_lead(Fd socket, VolumeId volume, HostId host, Epoch epoch, std::vector<uint8_t> preface,
                    Adopted done);
  void park_to_follow(Fd socket, VolumeId volume, Adopted done);
  /// The host that is about to lead was elected: what `park_to_follow` keeps of that volume is taken now.
  void follow_now(VolumeId volume);
  void close_stream(uint64_t stream);
  /// Serves a connected socket as the connection of an attachment's session.
  void adopt_session(Fd socket, std::string volume, SessionId session, std::vector<uint8_t> preface,
                     Endpoints::Done done);
  /// As soon as this store leads the volume in that epoch.
  void park_session(Fd socket, VolumeId volume, SessionId session, Epoch epoch, std::vector<uint8_t> preface,
                    Endpoints::Done done);

  // The volumes attached at this host: as Endpoints has them. `error` is null, or what Endpoints threw.
  void open_endpoint(std::string volume, SessionId session, ListenAddress address,
                     std::function<void(const Error* error)> done);
  void route_here(std::string volume, SessionId session, Endpoints::Done done);
  void route_there(std::string volume, SessionId session, Fd socket, std::vector<uint8_t> early, bool is_next,
                   Endpoints::Done done);
  void end_endpoint(std::string volume, std::function<void(bool known)> done);
  void endpoints(std::function<void(std::vector<EndpointStatus>)> done);
  /// Reads or writes; `done` as BlockAccess has it.
  void access(ClientOp::Kind kind, AccessRequest request, BlockAccess::Done done);
  void stats(std::function<void(const StoreStats&)> done);

 private:
  void run();
  void turn();
  void tell_ended();
  void take_parked(std::unique_ptr<Stream> stream, StreamRole role, const VolumeId& volume,
                   const std::optional<HostId>& host, const Adopted& done);

  const std::unique_ptr<Device> device_;
  StoreObserver& observer_;
  EventLoop loop_;
  IoRunner io_;
  Core core_;
  NbdServer nbd_;
  Endpoints endpoints_;
  BlockAccess access_;
  PeerStreams streams_;
  Parking parking_;
  bool ending_ = false;  // the thread's
  bool again_ = false;   // the thread's: the next round must not wait
  uint64_t turns_ = 0;
  std::vector<IoResult> results_;  // scratch
  std::thread thread_;
};

}  // namespace cloudfs::shell
