#include "shell/endpoints.h"

#include <algorithm>
#include <cerrno>

#include "core/base/assert.h"
#include "core/base/hex.h"
#include "core/base/json_writer.h"
#include "shell/clock.h"
#include "shell/error.h"
#include "shell/nbd_exports.h"
#include "shell/session_code.h"

namespace cloudfs::shell {

namespace {

/// Clients of NbdServer count from 1.
constexpr uint64_t kFirstRouteClient = uint64_t{1} << 63;

std::string hex_of(const SessionId& session) {
  return to_hex(ByteSpan(session));
}

/// What clients see of a volume at its endpoint: that volume, by the empty name or its id; and its snapshots, where this store
/// has them: they never change, so the primary is not asked.
class EndpointExports final : public nbd::ExportSource {
 public:
  EndpointExports(Core& core, const std::string& volume) : core_(core), snapshots_(core, volume) {
    export_.name = volume;
    export_.description = "volume " + volume;
  }

  void set_size(uint64_t size_bytes) { export_.size_bytes = size_bytes; }

  std::optional<Export> find(std::string_view name) override {
    if (is_snapshot(name)) return snapshots_.find(name);
    return name.empty() || name == export_.name ? std::optional(export_) : std::nullopt;
  }
  std::vector<Export> list() override { return {export_}; }
  std::optional<Export> open(std::string_view name) override {
    return is_snapshot(name) ? snapshots_.open(name) : find(name);
  }
  void close(uint64_t handle) override {
    if (handle != 0) core_.close_export(handle);
  }
  std::string refusal(std::string_view name) override {
    if (is_snapshot(name)) return snapshots_.refusal(name);
    return "only " + export_.name + " is served here";
  }

 private:
  static bool is_snapshot(std::string_view name) { return name.find('@') != std::string_view::npos; }

  Core& core_;
  NbdExports snapshots_;
  Export export_;
};

}  // namespace

/// This store's core as the primary. It stays, when it has been left, until all that it was asked is answered.
class Endpoints::Here final : public bridge::Route {
 public:
  Here(Core& core, uint64_t client, uint64_t handle) : core_(core), client_(client), handle_(handle) {}
  ~Here() override { core_.close_export(handle_); }
  Here(const Here&) = delete;
  Here& operator=(const Here&) = delete;

  void send(const ClientOp& op) override {
    ClientOp sent = op;
    sent.client = client_;
    sent.target = handle_;
    ++in_flight;
    core_.submit(std::move(sent));
  }
  void seen(uint64_t sequence) override { core_.session_seen(handle_, sequence); }
  uint64_t client() const { return client_; }

  Served* served = nullptr;  // null: it was left
  size_t in_flight = 0;

 private:
  Core& core_;
  const uint64_t client_;
  const uint64_t handle_;
};

struct Endpoints::Served final : public OpSink, public bridge::Clients {
  Served(NbdServer& server, Core& store, const std::string& volume_id, const SessionId& session_id,
         ListenAddress at)
      : volume(volume_id),
        session(session_id),
        address(std::move(at)),
        exports(std::make_shared<EndpointExports>(store, volume_id)),
        nbd(server),
        core(store) {}

  void submit(ClientOp op) override {
    // Of a snapshot: only what the core has opened has a handle.
    if (op.target != 0) return core.submit(std::move(op));
    endpoint.submit(std::move(op));
  }
  void deliver(Reply reply) override { nbd.deliver(std::move(reply)); }

  const std::string volume;
  const SessionId session;
  const ListenAddress address;
  const std::shared_ptr<EndpointExports> exports;
  NbdServer& nbd;
  Core& core;
  bridge::Endpoint endpoint{*this};
  bool listens = false;
  Here* here = nullptr;  // the route in force is one of these, or there is none
  std::unique_ptr<RouteThere> there;
  std::unique_ptr<RouteThere> pending;  // has not greeted yet
  bool pending_is_next = false;         // its other end is about to lead
  Done pending_done;
  bool touched = false;  // a connection has something to do
  uint64_t routeless_since_ns = now_ns();
};

Endpoints::Endpoints(EventLoop& loop, Core& core, NbdServer& nbd) : loop_(loop), core_(core), nbd_(nbd) {}

Endpoints::~Endpoints() = default;

void Endpoints::open(const std::string& volume, const SessionId& session, const ListenAddress& address) {
  const auto found = served_.find(volume);
  if (found != served_.end() && found->second->session == session) return;
  if (found == served_.end() && served_.size() >= kEndpointsMax)
    throw Error("ERR_TOO_MANY_ENDPOINTS", "there are as many endpoints as a store has");
  end(volume);
  served_.emplace(volume, std::make_unique<Served>(nbd_, core_, volume, session, address));
}

Endpoints::Served* Endpoints::find(const std::string& volume, const SessionId& session, const Done& done) {
  const auto found = served_.find(volume);
  if (found != served_.end() && found->second->session == session) return found->second.get();
  done("ERR_UNKNOWN_ENDPOINT", "volume " + volume + " has no endpoint of this session here");
  return nullptr;
}

bool Endpoints::listen(Served& served, uint64_t size_bytes, const Done& done) {
  served.exports->set_size(size_bytes);
  if (served.listens) return true;
  try {
    nbd_.listen(served.address.path, served.address, served.exports, &served);
  } catch (const Error& error) {
    done(error.code(), error.what());
    return false;
  }
  served.listens = true;
  return true;
}

void Endpoints::route_here(const std::string& volume, const SessionId& session, const Done& done) {
  Served* served = find(volume, session, done);
  if (served == nullptr) return;
  const std::optional<Export> opened = core_.open_export(volume, session);
  if (!opened) {
    const std::string refusal = core_.open_refusal(volume, session);
    return done(session_code(refusal), "volume " + volume + " is not opened here: " + refusal);
  }
  auto here = std::make_unique<Here>(core_, kFirstRouteClient + ++routes_here_, opened->handle);
  if (!listen(*served, opened->size_bytes, done)) return;
  drop_pending(*served);
  Here* const old_here = std::exchange(served->here, here.get());
  const std::unique_ptr<RouteThere> old_there = std::move(served->there);
  here->served = served;
  served->endpoint.route(*here, opened->record_bytes_max);
  here_.emplace(here->client(), std::move(here));
  if (old_here != nullptr) release(*old_here);
  done({}, {});
}

void Endpoints::drop_pending(Served& served) {
  if (!served.pending) return;
  served.pending.reset();
  std::exchange(served.pending_done, {})("ERR_STREAM_LOST", "another route has been asked for");
}

/// It is not the route any more.
void Endpoints::release(Here& here) {
  here.served = nullptr;
  if (here.in_flight == 0) here_.erase(here.client());
}

void Endpoints::route_there(const std::string& volume, const SessionId& session,
                            std::unique_ptr<Stream> stream, const std::vector<uint8_t>& early, bool is_next,
                            Done done) {
  Served* served = find(volume, session, done);
  if (served == nullptr) return;
  drop_pending(*served);
  served->pending_done = std::move(done);
  served->pending_is_next = is_next;
  served->pending =
      std::make_unique<RouteThere>(loop_, std::move(stream), early, [served] { served->touched = true; });
}

/// A connection that waits for its greeting has it, or has come to its end.
void Endpoints::settle_pending(Served& served) {
  RouteThere& pending = *served.pending;
  const bool is_late = !pending.is_greeted() && now_ns() > pending.since_ns() + kRouteGreetingNsMax;
  if (!pending.is_greeted() && !pending.is_over() && !is_late) return;
  const Done done = std::move(served.pending_done);
  if (pending.is_greeted() && !pending.is_over()) {
    if (!listen(served, pending.greeting().size_bytes, done)) {
      served.pending.reset();
      return;
    }
    Here* const old_here = std::exchange(served.here, nullptr);
    const std::unique_ptr<RouteThere> old_there = std::exchange(served.there, std::move(served.pending));
    served.endpoint.route(*served.there, served.there->greeting().record_bytes_max);
    if (old_here != nullptr) release(*old_here);
    return done({}, {});
  }
  const std::unique_ptr<RouteThere> given_up = std::move(served.pending);
  const auto& failure = given_up->failure();
  if (failure) return done(failure->code, failure->message);
  done("ERR_STREAM_LOST", is_late ? "the primary's engine did not greet" : "the primary's engine hung up");
}

void Endpoints::pass(Served& served) {
  if (served.there) {
    replies_.clear();
    served.there->receive(replies_);
    for (Reply& reply : replies_) served.endpoint.answer(*served.there, std::move(reply));
    replies_.clear();
    if (served.there->is_over() || !served.endpoint.is_routed()) {
      const std::unique_ptr<RouteThere> over = std::move(served.there);
      served.endpoint.lost(*over);
      if (over->failure()) {
        note_lost(served, over->failure()->code, over->failure()->message);
      } else {
        note_lost(served, "ERR_STREAM_LOST", "the connection to the primary's engine has ended");
      }
    }
  }
  if (!served.pending) return;
  served.pending->receive(replies_);
  ensure(replies_.empty(), "nothing is answered that was not asked");
  settle_pending(served);
}

void Endpoints::receive() {
  for (const auto& [volume, served] : served_)
    if (served->touched || served->pending) pass(*served);
}

bool Endpoints::deliver(Reply& reply) {
  if (reply.client < kFirstRouteClient) return false;
  const auto found = here_.find(reply.client);
  ensure(found != here_.end(), "a route stays until all its requests are answered");
  Here& here = *found->second;
  --here.in_flight;
  if (here.served == nullptr) {
    if (here.in_flight == 0) here_.erase(found);
    return true;
  }
  Served& served = *here.served;
  served.endpoint.answer(here, std::move(reply));
  if (served.endpoint.is_routed()) return true;
  served.here = nullptr;
  release(here);
  note_lost(served, {}, {});
  return true;
}

void Endpoints::flush() {
  for (const auto& [volume, served] : served_) {
    if (!std::exchange(served->touched, false)) continue;
    if (served->pending) served->pending->flush();
    if (!served->there) continue;
    served->there->flush();
    // The end that a write met is looked at in the next round.
    if (served->there->is_over()) served->touched = true;
  }
}

std::optional<uint64_t> Endpoints::next_deadline_ns() const {
  std::optional<uint64_t> deadline;
  for (const auto& [volume, served] : served_) {
    if (served->touched) return 0;
    if (!served->pending) continue;
    const uint64_t until = served->pending->since_ns() + kRouteGreetingNsMax;
    deadline = std::min(deadline.value_or(until), until);
  }
  return deadline;
}

void Endpoints::note_lost(Served& served, const std::string& code, const std::string& message) {
  served.routeless_since_ns = now_ns();
  // Whoever asked for the next one is told how that goes; opening it is what ends this one where both are a session's
  // connections to the same primary.
  if (!served.pending || served.pending_is_next) event("route-lost", served, code, message);
}

bool Endpoints::end(const std::string& volume) {
  const auto found = served_.find(volume);
  if (found == served_.end()) return false;
  const std::unique_ptr<Served> served = std::move(found->second);
  served_.erase(found);
  // First the clients, so that they do not hear what is no answer.
  if (served->listens) nbd_.hang_up(served->address.path);
  served->endpoint.end();
  if (served->here != nullptr) release(*served->here);
  if (served->pending) served->pending_done("ERR_SESSION_ENDED", "the endpoint has ended");
  event("endpoint-ended", *served);
  return true;
}

void Endpoints::end_all() {
  while (!served_.empty()) end(served_.begin()->first);
}

std::vector<EndpointStatus> Endpoints::list() const {
  std::vector<EndpointStatus> all;
  for (const auto& [volume, served] : served_) {
    const char* const route = served->here != nullptr ? "here" : served->there ? "there" : "none";
    const bool is_routed = served->endpoint.is_routed();
    all.push_back({volume, hex_of(served->session), served->address.path, route, served->endpoint.waiting(),
                   is_routed ? 0 : now_ns() - served->routeless_since_ns});
  }
  return all;
}

void Endpoints::event(const char* name, const Served& served, const std::string& code,
                      const std::string& message) {
  JsonWriter detail;
  detail.object();
  detail.string("volume", served.volume);
  detail.string("session", hex_of(served.session));
  if (!code.empty()) {
    detail.string("code", code);
    detail.string("message", message);
  }
  detail.end_object();
  events_.push_back({name, detail.take()});
}

}  // namespace cloudfs::shell
