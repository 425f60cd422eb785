#include "nbd/connection.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "core/base/assert.h"
#include "core/base/bytes.h"
#include "nbd/handshake.h"
#include "nbd/output.h"
#include "nbd/receive_buffer.h"
#include "nbd/session_greeting.h"
#include "nbd/transmission.h"

namespace cloudfs::nbd {

struct Connection::Impl {
  enum class State {
    open,
    ending,  // nothing more is received; what is in flight is answered and sent, then the socket is closed
    broken,  // the socket is to be closed at once
    gone,    // disconnected() was called
  };

  Impl(uint64_t client_id, ExportSource& source) : client(client_id), exports(source) {
    handshake.emplace(source, output);
  }

  Impl(uint64_t client_id, ExportSource& source, Export exported) : client(client_id), exports(source) {
    constexpr std::string_view kContexts[] = {"base:allocation"};
    begin({std::move(exported), true, select_meta_contexts(kContexts), true});
    const Session& session = transmission->session();
    std::array<uint8_t, kSessionGreetingBytes> greeting;
    const auto record_bytes_max =
        static_cast<uint32_t>(std::min<uint64_t>(session.exported.record_bytes_max, UINT32_MAX));
    encode({transmission_flags(session), record_bytes_max, session.exported.size_bytes}, greeting.data());
    output.put(greeting.size()).put(as_text(greeting));
  }

  size_t ops_in_flight() const { return transmission ? transmission->ops_in_flight() : 0; }

  Step step(std::vector<ClientOp>& ops) {
    return transmission ? transmission->step(input, output, ops) : handshake->step(input, output);
  }

  void begin(Session session) {
    transmission.emplace(client, std::move(session));
    export_open = true;
    if (shutting_down) transmission->shut_down();
  }

  // The core may use the handle until its last answer.
  void close_export_if_done() {
    if (state != State::gone || !export_open || ops_in_flight() > 0) return;
    close_export();
  }

  void close_export() {
    export_open = false;
    exports.close(transmission->session().exported.handle);
  }

  uint64_t client;
  ExportSource& exports;
  State state = State::open;
  bool shutting_down = false;
  bool export_open = false;
  bool unparsed = false;  // advance() may get further than it got last time
  bool blocked = false;   // it got no further for want of room
  ReceiveBuffer input;
  Output output;
  std::optional<Handshake> handshake;  // until the transmission phase
  std::optional<Transmission> transmission;
};

Connection::Connection(uint64_t client, ExportSource& exports)
    : impl_(std::make_unique<Impl>(client, exports)) {}

Connection::Connection(uint64_t client, ExportSource& exports, Export exported)
    : impl_(std::make_unique<Impl>(client, exports, std::move(exported))) {}

Connection::~Connection() {
  if (impl_->export_open) impl_->close_export();
}

Window Connection::receive_target() {
  if (impl_->state != Impl::State::open || impl_->unparsed || impl_->blocked) return {};
  return impl_->input.target();
}

void Connection::received(size_t bytes) {
  if (impl_->state == Impl::State::gone) return;
  impl_->input.received(bytes);
  impl_->unparsed = true;
}

void Connection::advance(std::vector<ClientOp>& ops) {
  Impl& self = *impl_;
  self.unparsed = false;
  self.blocked = false;
  for (bool going = true; going && self.state == Impl::State::open;) {
    switch (self.step(ops)) {
      case Step::progressed:
        break;
      case Step::entered:
        self.begin(std::move(self.handshake->session()));
        self.handshake.reset();
        break;
      case Step::starved:
        going = false;
        break;
      case Step::blocked:
        self.blocked = true;
        going = false;
        break;
      case Step::ended:
        self.state = Impl::State::ending;
        break;
      case Step::broken:
        self.state = Impl::State::broken;
        break;
    }
  }
  if (self.shutting_down && self.state == Impl::State::open && self.ops_in_flight() == 0)
    self.state = Impl::State::ending;
}

void Connection::answer(Reply reply) {
  Impl& self = *impl_;
  ensure(self.transmission.has_value() && reply.client == self.client, "only ops are answered");
  const bool heard = self.state == Impl::State::open || self.state == Impl::State::ending;
  self.transmission->answer(std::move(reply), heard ? &self.output : nullptr);
  self.unparsed |= self.blocked;
  self.close_export_if_done();
}

size_t Connection::outgoing(std::span<OutgoingPiece> pieces) const {
  return impl_->output.outgoing(pieces);
}

void Connection::sent(size_t bytes) {
  const size_t replies = impl_->output.sent(bytes);
  if (impl_->transmission) impl_->transmission->replies_sent(replies);
  impl_->unparsed |= impl_->blocked;
}

std::vector<uint64_t> Connection::take_seen() {
  return impl_->transmission ? impl_->transmission->take_seen() : std::vector<uint64_t>();
}

bool Connection::can_advance() const {
  return impl_->unparsed && impl_->state == Impl::State::open;
}

void Connection::shut_down() {
  if (is_session()) {
    if (impl_->state != Impl::State::gone) impl_->state = Impl::State::broken;
    return;
  }
  impl_->shutting_down = true;
  impl_->unparsed = true;
  if (impl_->handshake) impl_->handshake->shut_down();
  if (impl_->transmission) impl_->transmission->shut_down();
}

void Connection::disconnected() {
  impl_->state = Impl::State::gone;
  impl_->input = ReceiveBuffer();
  impl_->output.clear();
  impl_->close_export_if_done();
}

bool Connection::wants_close() const {
  if (impl_->state == Impl::State::broken) return true;
  return impl_->state == Impl::State::ending && impl_->ops_in_flight() == 0 && impl_->output.empty();
}

bool Connection::finished() const {
  return impl_->state == Impl::State::gone && impl_->ops_in_flight() == 0;
}

bool Connection::is_session() const {
  return impl_->transmission && impl_->transmission->session().numbered;
}

bool Connection::in_handshake() const {
  return !impl_->transmission;
}

uint64_t Connection::client() const {
  return impl_->client;
}

size_t Connection::ops_in_flight() const {
  return impl_->ops_in_flight();
}

size_t Connection::bytes_in_flight() const {
  const size_t reserved = impl_->transmission ? impl_->transmission->reserved_bytes() : 0;
  return reserved + impl_->output.bytes();
}

const Export* Connection::exported() const {
  return impl_->transmission ? &impl_->transmission->session().exported : nullptr;
}

}  // namespace cloudfs::nbd
