#include "shell/nbd_server.h"

#include <algorithm>
#include <cerrno>

#include "core/base/assert.h"
#include "shell/clock.h"
#include "shell/error.h"
#include "shell/nbd_exports.h"

namespace cloudfs::shell {

namespace {

constexpr size_t kPiecesMax = 512;  // of one writev

}  // namespace

struct NbdServer::Listening {
  std::string key;
  // Connections keep it: they end after their listener.
  std::shared_ptr<nbd::ExportSource> exports;
  OpSink* sink = nullptr;
  std::unique_ptr<Listener> listener;
};

/// One socket and its protocol state.
class NbdServer::Client final : public Watcher {
 public:
  Client(NbdServer& server, uint64_t id, std::unique_ptr<Stream> stream, std::string key,
         std::shared_ptr<nbd::ExportSource> exports, OpSink* op_sink)
      : listener_key(std::move(key)),
        sink(op_sink),
        since_ns(now_ns()),
        exports_(std::move(exports)),
        connection(id, *exports_),
        server_(server),
        stream_(std::move(stream)) {
    server_.loop_.watch(stream_->fd(), watched_, *this);
  }
  /// Of a session.
  Client(NbdServer& server, uint64_t id, std::unique_ptr<Stream> stream,
         std::shared_ptr<nbd::ExportSource> exports, Export opened, const SessionId& session_id)
      : sink(nullptr),
        since_ns(now_ns()),
        session(session_id),
        exports_(std::move(exports)),
        connection(id, *exports_, std::move(opened)),
        server_(server),
        stream_(std::move(stream)) {
    server_.loop_.watch(stream_->fd(), watched_, *this);
  }
  ~Client() { hang_up(); }

  void ready(uint32_t events) override {
    server_.touch(*this);
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) receive((events & (EPOLLERR | EPOLLHUP)) != 0);
  }

  /// Closes the socket. Requests in flight are still answered, to nobody.
  void hang_up() {
    if (!stream_) return;
    server_.loop_.unwatch(stream_->fd(), *this);
    stream_.reset();
    connection.disconnected();
  }

  /// @returns whether anything was sent
  bool send() {
    if (!stream_) return false;
    bool sent = false;
    for (;;) {
      const size_t count = connection.outgoing(server_.pieces_);
      blocked_ = count > 0;
      if (count == 0) break;
      for (size_t i = 0; i < count; ++i) {
        const nbd::OutgoingPiece& piece = server_.pieces_[i];
        server_.parts_[i] = {const_cast<uint8_t*>(piece.data), piece.bytes};
      }
      const ssize_t bytes = stream_->writev({server_.parts_.data(), count});
      if (bytes == -EAGAIN) break;
      if (bytes < 0) {
        hang_up();
        return sent;
      }
      connection.sent(static_cast<size_t>(bytes));
      sent = true;
    }
    if (connection.wants_close()) hang_up();
    return sent;
  }

  /// Watches for what can be used: bytes only while there is room for them, room only while bytes wait for it.
  void watch() {
    if (!stream_) return;
    const uint32_t wanted =
        (connection.receive_target().bytes > 0 ? uint32_t{EPOLLIN} : 0) | (blocked_ ? uint32_t{EPOLLOUT} : 0);
    if (wanted == watched_) return;
    watched_ = wanted;
    server_.loop_.change(stream_->fd(), wanted, *this);
  }

  const std::string listener_key;  // empty: it was connected elsewhere
  OpSink* const sink;              // null: the core
  const uint64_t since_ns;
  const SessionId session{};  // zero: none

 private:
  std::shared_ptr<nbd::ExportSource> exports_;

 public:
  nbd::Connection connection;
  bool touched = false;

 private:
  void receive(bool broken) {
    if (!stream_) return;
    const nbd::Window window = connection.receive_target();
    if (window.bytes == 0) {
      if (broken) hang_up();  // else it would be told again and again
      return;
    }
    const ssize_t bytes = stream_->read(window.data, window.bytes);
    if (bytes > 0) {
      connection.received(static_cast<size_t>(bytes));
    } else if (bytes != -EAGAIN) {
      hang_up();
    }
  }

  NbdServer& server_;
  std::unique_ptr<Stream> stream_;
  uint32_t watched_ = EPOLLIN;
  bool blocked_ = false;
};

NbdServer::NbdServer(EventLoop& loop, Core& core)
    : loop_(loop), core_(core), pieces_(kPiecesMax), parts_(kPiecesMax) {}

NbdServer::~NbdServer() = default;

uint16_t NbdServer::listen(const std::string& key, const ListenAddress& address, const std::string& volume) {
  listen(key, address, std::make_shared<NbdExports>(core_, volume), nullptr);
  return listeners_.at(key)->listener->port();
}

void NbdServer::listen(const std::string& key, const ListenAddress& address,
                       std::shared_ptr<nbd::ExportSource> exports, OpSink* sink) {
  if (listeners_.contains(key))
    throw Error("ERR_ADDRESS_IN_USE", "this store is served at " + key + " already");
  auto listening = std::make_unique<Listening>();
  listening->key = key;
  listening->exports = std::move(exports);
  listening->sink = sink;
  listening->listener = std::make_unique<Listener>(
      loop_, address, [this, from = listening.get()](std::unique_ptr<Stream> stream) {
        add(from->key, from->exports, from->sink, std::move(stream));
      });
  listeners_.emplace(key, std::move(listening));
}

void NbdServer::hang_up(const std::string& key) {
  listeners_.erase(key);
  for (auto& [id, client] : connections_) {
    if (client->listener_key != key) continue;
    client->hang_up();
    touch(*client);
  }
}

bool NbdServer::unlisten(const std::string& key) {
  if (listeners_.erase(key) == 0) return false;
  for (auto& [id, client] : connections_) {
    if (client->listener_key != key) continue;
    client->connection.shut_down();
    touch(*client);
  }
  return true;
}

void NbdServer::shut_down() {
  shutting_down_ = true;
  listeners_.clear();
  for (auto& [id, client] : connections_) {
    client->connection.shut_down();
    touch(*client);
  }
}

std::string NbdServer::adopt_session(std::unique_ptr<Stream> stream, const std::string& volume,
                                     const SessionId& session, const std::vector<uint8_t>& preface) {
  if (shutting_down_ || connections_.size() >= kNbdConnectionsMax) return "too many";
  // The older one first: nothing of it is to come behind what the newer one says.
  if (const auto older = sessions_.find(session); older != sessions_.end()) {
    Client& client = *connections_.at(older->second);
    sessions_.erase(older);
    client.hang_up();
    touch(client);
  }
  const std::optional<Export> opened = core_.open_export(volume, session);
  if (!opened) return core_.open_refusal(volume, session);
  Stream& socket = *stream;
  const uint64_t id = ++clients_;
  const auto added = connections_.emplace(
      id, std::make_unique<Client>(*this, id, std::move(stream), std::make_shared<NbdExports>(core_, volume),
                                   *opened, session));
  sessions_.emplace(session, id);
  Client& client = *added.first->second;
  const iovec part{const_cast<uint8_t*>(preface.data()), preface.size()};
  const bool sent = preface.empty() || socket.writev({&part, 1}) == static_cast<ssize_t>(preface.size());
  if (!sent) client.hang_up();
  touch(client);
  return {};
}

void NbdServer::add(std::string key, std::shared_ptr<nbd::ExportSource> exports, OpSink* sink,
                    std::unique_ptr<Stream> stream) {
  if (connections_.size() >= kNbdConnectionsMax) return;
  const uint64_t id = ++clients_;
  const auto added = connections_.emplace(
      id, std::make_unique<Client>(*this, id, std::move(stream), std::move(key), std::move(exports), sink));
  handshaking_.push_back(id);
  touch(*added.first->second);  // the greeting waits to be sent
}

void NbdServer::touch(Client& client) {
  if (client.touched) return;
  client.touched = true;
  touched_.push_back(client.connection.client());
}

bool NbdServer::advance(Client& client) {
  ops_.clear();
  client.connection.advance(ops_);
  bool any = !ops_.empty();
  for (ClientOp& op : ops_) {
    if (client.sink != nullptr) {
      client.sink->submit(std::move(op));
    } else {
      core_.submit(std::move(op));
    }
  }
  ops_.clear();
  for (const uint64_t sequence : client.connection.take_seen()) {
    core_.session_seen(client.connection.exported()->handle, sequence);
    any = true;
  }
  return any;
}

bool NbdServer::submit() {
  bool any = false;
  for (const uint64_t id : touched_) any = advance(*connections_.at(id)) || any;
  return any;
}

void NbdServer::deliver(Reply reply) {
  const auto found = connections_.find(reply.client);
  ensure(found != connections_.end(), "a connection stays until all its requests are answered");
  touch(*found->second);
  // Its client asks the next primary.
  const bool is_over = found->second->connection.is_session() && reply.error == ESHUTDOWN;
  if (reply.error == kUnanswered || is_over) found->second->hang_up();
  found->second->connection.answer(std::move(reply));
}

void NbdServer::answer() {
  for (const uint64_t id : touched_) connections_.at(id)->send();
}

bool NbdServer::flush() {
  expire();
  bool more = false;
  std::vector<uint64_t> touched;
  touched.swap(touched_);
  for (const uint64_t id : touched) {
    Client& client = *connections_.at(id);
    client.touched = false;
    // Answers have made room for requests that are received already, and sending makes more.
    more = advance(client) || more;
    if (client.send()) {
      more = advance(client) || more;
      client.send();
    }
    if (client.connection.finished()) {
      if (const auto of = sessions_.find(client.session); of != sessions_.end() && of->second == id)
        sessions_.erase(of);
      connections_.erase(id);
      continue;
    }
    client.watch();
    if (client.connection.can_advance()) {
      // No event need come for what has been received: the next round comes at once and starts with it.
      touch(client);
      more = true;
    }
  }
  return more;
}

void NbdServer::expire() {
  if (handshaking_.empty()) return;
  const uint64_t now = now_ns();
  std::erase_if(handshaking_, [&](uint64_t id) {
    const auto found = connections_.find(id);
    if (found == connections_.end() || !found->second->connection.in_handshake()) return true;
    if (found->second->since_ns + kNbdHandshakeNsMax > now) return false;
    found->second->hang_up();
    touch(*found->second);
    return true;
  });
}

std::optional<uint64_t> NbdServer::next_deadline_ns() const {
  if (handshaking_.empty()) return std::nullopt;
  const auto found = connections_.find(handshaking_.front());
  return found == connections_.end() ? 0 : found->second->since_ns + kNbdHandshakeNsMax;
}

}  // namespace cloudfs::shell
