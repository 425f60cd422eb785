#include "shell/store.h"

#include <algorithm>

#include "core/base/hex.h"
#include "core/base/json_writer.h"
#include "shell/clock.h"
#include "shell/session_code.h"

namespace cloudfs::shell {

namespace {

// Turns in one round while results come at once (appends, cached reads). Then sockets are looked at again.
constexpr int kTurnsPerRound = 16;
// Nor does a round go on for longer, whatever comes: 16 pieces of the log that the page cache has take 6 ms to check and send,
// and the core cannot know that clients ask meanwhile.
constexpr uint64_t kRoundNsMax = 500'000;

}  // namespace

Store::Store(std::unique_ptr<Device> device, const CoreParams& params, StoreObserver& observer)
    : device_(std::move(device)),
      observer_(observer),
      io_(*device_, loop_.wake_fd()),
      core_(params),
      nbd_(loop_, core_),
      endpoints_(loop_, core_, nbd_),
      access_(core_),
      streams_(loop_, core_),
      parking_(loop_, core_),
      thread_(start_thread("cfs-store", [this] { run(); })) {}

Store::~Store() {
  loop_.post([this] { ending_ = true; });
  thread_.join();
}

void Store::format(const StoreIdentity& identity) {
  loop_.post([this, identity] { core_.format(identity, now_ns()); });
}

void Store::start() {
  loop_.post([this] { core_.start(now_ns()); });
}

void Store::stop() {
  loop_.post([this] {
    // Their clients come back to the next engine; what they asked is asked again there.
    endpoints_.end_all();
    nbd_.shut_down();
    core_.stop();
  });
}

void Store::command(uint64_t id, std::string verb, std::string arguments, std::vector<uint8_t> payload) {
  loop_.post(
      [this, id, verb = std::move(verb), arguments = std::move(arguments), payload = std::move(payload)] {
        Command command{id, verb, arguments, {}};
        if (!payload.empty()) {
          const BufferRef buffer(payload.size());
          std::copy(payload.begin(), payload.end(), buffer.data());
          command.payload = {buffer, buffer.data(), payload.size()};
        }
        core_.command(std::move(command));
      });
}

void Store::listen(std::string key, ListenAddress address, std::string volume, Listened done) {
  loop_.post([this, key = std::move(key), address = std::move(address), volume = std::move(volume),
              done = std::move(done)] {
    uint16_t port = 0;
    try {
      port = nbd_.listen(key, address, volume);
    } catch (const Error& error) {
      done(0, &error);
      return;
    }
    done(port, nullptr);
  });
}

void Store::unlisten(std::string key, std::function<void(bool known)> done) {
  loop_.post([this, key = std::move(key), done = std::move(done)] { done(nbd_.unlisten(key)); });
}

void Store::adopt_stream(Fd socket, StreamRole role, VolumeId volume, std::optional<HostId> host,
                         std::vector<uint8_t> preface, std::vector<uint8_t> early,
                         std::function<void(uint64_t stream, const std::string& refusal)> done) {
  // std::function wants what it holds to be copied.
  auto held = std::make_shared<Fd>(std::move(socket));
  loop_.post([this, held, role, volume, host, preface = std::move(preface), early = std::move(early),
              done = std::move(done)] {
    std::string refusal;
    const uint64_t stream =
        streams_.adopt(make_connected_stream(std::move(*held)), role, volume, host, preface, early, refusal);
    done(stream, refusal);
  });
}

void Store::park_to_lead(Fd socket, VolumeId volume, HostId host, Epoch epoch, std::vector<uint8_t> preface,
                         Adopted done) {
  auto held = std::make_shared<Fd>(std::move(socket));
  loop_.post([this, held, volume, host, epoch, preface = std::move(preface), done = std::move(done)] {
    parking_.until_led(make_connected_stream(std::move(*held)), volume, epoch, LeadStage::elected, preface,
                       [this, volume, host, done](std::unique_ptr<Stream> stream) {
                         take_parked(std::move(stream), StreamRole::leader, volume, host, done);
                       });
  });
}

void Store::park_to_follow(Fd socket, VolumeId volume, Adopted done) {
  auto held = std::make_shared<Fd>(std::move(socket));
  loop_.post([this, held, volume, done = std::move(done)] {
    parking_.until_spoken(make_connected_stream(std::move(*held)), volume,
                          [this, volume, done](std::unique_ptr<Stream> stream) {
                            take_parked(std::move(stream), StreamRole::follower, volume, {}, done);
                          });
  });
}

void Store::take_parked(std::unique_ptr<Stream> stream, StreamRole role, const VolumeId& volume,
                        const std::optional<HostId>& host, const Adopted& done) {
  if (!stream) return done(0, "ERR_NOT_PRIMARY");
  std::string refusal;
  const uint64_t id = streams_.adopt(std::move(stream), role, volume, host, {}, {}, refusal);
  done(id, refusal);
}

void Store::follow_now(VolumeId volume) {
  loop_.post([this, volume] { parking_.follow_now(volume); });
}

void Store::close_stream(uint64_t stream) {
  loop_.post([this, stream] { streams_.end(stream); });
}

void Store::adopt_session(Fd socket, std::string volume, SessionId session, std::vector<uint8_t> preface,
                          Endpoints::Done done) {
  auto held = std::make_shared<Fd>(std::move(socket));
  loop_.post([this, held, volume = std::move(volume), session, preface = std::move(preface),
              done = std::move(done)] {
    const std::string refusal =
        nbd_.adopt_session(make_connected_stream(std::move(*held)), volume, session, preface);
    done(session_code(refusal), "volume " + volume + " is not opened for the session: " + refusal);
  });
}

void Store::park_session(Fd socket, VolumeId volume, SessionId session, Epoch epoch,
                         std::vector<uint8_t> preface, Endpoints::Done done) {
  auto held = std::make_shared<Fd>(std::move(socket));
  loop_.post([this, held, volume, session, epoch, preface = std::move(preface), done = std::move(done)] {
    parking_.until_led(make_connected_stream(std::move(*held)), volume, epoch, LeadStage::leading, preface,
                       [this, volume, session, done](std::unique_ptr<Stream> stream) {
                         if (!stream)
                           return done("ERR_NOT_PRIMARY", "the volume is not led here in that epoch");
                         const std::string id = to_hex(volume);
                         const std::string refusal = nbd_.adopt_session(std::move(stream), id, session, {});
                         done(session_code(refusal),
                              "volume " + id + " is not opened for the session: " + refusal);
                       });
  });
}

void Store::open_endpoint(std::string volume, SessionId session, ListenAddress address,
                          std::function<void(const Error* error)> done) {
  loop_.post(
      [this, volume = std::move(volume), session, address = std::move(address), done = std::move(done)] {
        try {
          endpoints_.open(volume, session, address);
        } catch (const Error& error) {
          done(&error);
          return;
        }
        done(nullptr);
      });
}

void Store::route_here(std::string volume, SessionId session, Endpoints::Done done) {
  loop_.post([this, volume = std::move(volume), session, done = std::move(done)] {
    endpoints_.route_here(volume, session, done);
  });
}

void Store::route_there(std::string volume, SessionId session, Fd socket, std::vector<uint8_t> early,
                        bool is_next, Endpoints::Done done) {
  auto held = std::make_shared<Fd>(std::move(socket));
  loop_.post([this, held, volume = std::move(volume), session, early = std::move(early), is_next,
              done = std::move(done)] {
    endpoints_.route_there(volume, session, make_connected_stream(std::move(*held)), early, is_next, done);
  });
}

void Store::end_endpoint(std::string volume, std::function<void(bool known)> done) {
  loop_.post([this, volume = std::move(volume), done = std::move(done)] { done(endpoints_.end(volume)); });
}

void Store::endpoints(std::function<void(std::vector<EndpointStatus>)> done) {
  loop_.post([this, done = std::move(done)] { done(endpoints_.list()); });
}

void Store::access(ClientOp::Kind kind, AccessRequest request, BlockAccess::Done done) {
  // Shared, so that what is posted can be copied without its bytes.
  const auto held = std::make_shared<AccessRequest>(std::move(request));
  loop_.post([this, kind, held, done = std::move(done)] { access_.submit(kind, std::move(*held), done); });
}

void Store::stats(std::function<void(const StoreStats&)> done) {
  loop_.post([this, done = std::move(done)] {
    done({nbd_.connection_count(), nbd_.listener_count(), streams_.count(), streams_.bytes_sent(),
          streams_.bytes_received(), io_.in_flight(), turns_, device_->space()});
  });
}

void Store::run() {
  while (!ending_) {
    std::optional<uint64_t> deadline = core_.next_deadline_ns();
    if (const auto nbd = nbd_.next_deadline_ns()) deadline = deadline ? std::min(*deadline, *nbd) : *nbd;
    if (const auto streams = streams_.next_deadline_ns())
      deadline = deadline ? std::min(*deadline, *streams) : *streams;
    if (const auto routes = endpoints_.next_deadline_ns())
      deadline = deadline ? std::min(*deadline, *routes) : *routes;
    if (const auto parked = parking_.next_deadline_ns())
      deadline = deadline ? std::min(*deadline, *parked) : *parked;
    if (again_) deadline = 0;
    again_ = false;
    loop_.wait(deadline);
    endpoints_.receive();
    // What others acknowledged is answered before anything new is begun: clients ask on meanwhile.
    const bool has_turned = streams_.received();
    if (has_turned) {
      turn();
      nbd_.answer();
    }
    if (nbd_.submit() || !has_turned) turn();
    again_ = parking_.step() || again_;
    again_ = nbd_.flush() || again_;
    endpoints_.flush();
    again_ = streams_.flush() || again_;
    tell_ended();
  }
}

void Store::tell_ended() {
  for (const PeerStreams::Ended& ended : streams_.take_ended()) {
    JsonWriter detail;
    detail.object();
    detail.number("stream", ended.id);
    detail.string("volume", to_hex(ended.volume));
    detail.string("role", ended.role == StreamRole::leader ? "leader"
                          : ended.role == StreamRole::copy ? "copy"
                                                           : "follower");
    if (!ended.refusal.code.empty()) {
      detail.string("code", ended.refusal.code);
      detail.string("message", ended.refusal.message);
    }
    detail.end_object();
    observer_.event({"stream-ended", detail.take()});
  }
  for (Event& event : endpoints_.take_events()) observer_.event(std::move(event));
}

void Store::turn() {
  const uint64_t began_ns = now_ns();
  for (int turns = 0;; ++turns) {
    results_.clear();
    io_.take(results_);
    if (turns > 0 && results_.empty()) return;
    for (const IoResult& result : results_) core_.complete(result);
    if (turns == kTurnsPerRound || (turns > 0 && now_ns() - began_ns >= kRoundNsMax)) {
      again_ = true;  // what has just been completed is looked at in the next round
      return;
    }
    Effects effects = core_.turn(now_ns());
    ++turns_;
    const uint64_t segment_bytes = uint64_t{1} << core_.segment_log2();
    if (device_->segment_bytes() != segment_bytes) device_->set_segment_bytes(segment_bytes);
    // First, so that the others are at work while this host copies the same bytes to its page cache. Nothing is committed, and no
    // client answered, before its own append is done (Volume::advance): a crash in between leaves records at others that nobody
    // was told of, as any crash may, and an election judges them as it judges those. The core has never had the order of the two.
    streams_.take(std::move(effects.sends), effects.closes);
    for (IoEffect& effect : effects.io) io_.run(std::move(effect));
    for (Reply& reply : effects.replies) {
      if (reply.client == BlockAccess::kClient) {
        access_.deliver(std::move(reply));
      } else if (!endpoints_.deliver(reply)) {
        nbd_.deliver(std::move(reply));
      }
    }
    for (Event& event : effects.events) observer_.event(std::move(event));
    for (CommandReply& reply : core_.take_command_replies()) {
      CommandAnswer answer{
          reply.id, std::move(reply.error_code), std::move(reply.message), std::move(reply.result), {}};
      if (reply.payload.size > 0)
        answer.payload.assign(reply.payload.data, reply.payload.data + reply.payload.size);
      observer_.answer(std::move(answer));
    }
  }
}

}  // namespace cloudfs::shell
