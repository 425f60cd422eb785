#include "nbd/transmission.h"

#include <utility>

#include "core/base/assert.h"
#include "nbd/errors.h"

namespace cloudfs::nbd {

namespace {

constexpr unsigned kSlotBits = 16;
static_assert(kRequestsInFlightMax <= 1u << kSlotBits);

Request decode(const uint8_t* bytes) {
  return {load<uint16_t>(bytes + 4), CommandType{load<uint16_t>(bytes + 6)}, load<uint64_t>(bytes + 8),
          load<uint64_t>(bytes + 16), load<uint32_t>(bytes + 24)};
}

/// Flags that a command may have; FUA is to be accepted on all of them.
std::optional<uint16_t> flags_of(CommandType type, bool structured) {
  switch (type) {
    case CommandType::read:
      return structured ? kCommandFua | kCommandDf : kCommandFua;
    case CommandType::write_zeroes:
      return kCommandFua | kCommandNoHole | kCommandFastZero;
    case CommandType::block_status:
      return kCommandFua | kCommandReqOne;
    case CommandType::write:
    case CommandType::flush:
    case CommandType::trim:
    case CommandType::cache:
      return kCommandFua;
    case CommandType::disc:
    case CommandType::seen:
      break;
  }
  return std::nullopt;
}

bool changes_data(CommandType type) {
  return type == CommandType::write || type == CommandType::trim || type == CommandType::write_zeroes;
}

/// Bytes that travel or are kept for a request.
uint32_t payload_bytes(const Request& request) {
  const bool has_payload = request.type == CommandType::read || request.type == CommandType::write;
  return has_payload ? request.length : 0;
}

ClientOp::Kind kind_of(CommandType type) {
  switch (type) {
    case CommandType::read:
      return ClientOp::Kind::read;
    case CommandType::write:
      return ClientOp::Kind::write;
    case CommandType::flush:
      return ClientOp::Kind::flush;
    case CommandType::trim:
      return ClientOp::Kind::trim;
    case CommandType::cache:
      return ClientOp::Kind::cache;
    case CommandType::write_zeroes:
      return ClientOp::Kind::write_zeroes;
    case CommandType::block_status:
      return ClientOp::Kind::block_status;
    case CommandType::disc:
    case CommandType::seen:
      break;
  }
  ensure(false, "only judged commands become ops");
  return {};
}

}  // namespace

Step Transmission::step(ReceiveBuffer& input, Output& output, std::vector<ClientOp>& ops) {
  if (writing_) return finish_write(input, output, ops);
  if (dropping_) {
    if (input.skipping()) return Step::starved;
    refuse(dropping_->first, dropping_->second, output);
    dropping_.reset();
    return Step::progressed;
  }
  const std::span<const uint8_t> bytes = input.available();
  if (bytes.size() < kRequestBytes) {
    input.want(kRequestBytes);
    return Step::starved;
  }
  if (load<uint32_t>(bytes.data()) != kRequestMagic) return Step::broken;
  const Request request = decode(bytes.data());
  if (request.type == CommandType::disc) return Step::ended;
  if (session_.numbered) {
    if (request.type == CommandType::seen) return take_seen(request, input);
    if (!is_sound(request)) return Step::broken;
  }
  if (!has_room(request, output)) return Step::blocked;
  input.consume(kRequestBytes);
  return begin(request, input, output, ops);
}

// It needs no room: what waits for it may be what holds the room.
Step Transmission::take_seen(const Request& request, ReceiveBuffer& input) {
  if (request.flags != 0 || request.length != 0 || request.offset > last_sequence_) return Step::broken;
  input.consume(kRequestBytes);
  seen_.push_back(request.offset);
  return Step::progressed;
}

// What a session asks has been judged where its client is. Besides, whatever is wrong with a request that has a number is
// for the core to say: a later one must not be carried out before the refusal has been seen.
bool Transmission::is_sound(const Request& request) const {
  const bool is_numbered = (request.cookie & kCookieUnnumbered) == 0;
  if (is_numbered != changes_data(request.type)) return false;
  if (is_numbered && request.cookie <= last_sequence_) return false;
  const std::optional<uint16_t> flags = flags_of(request.type, session_.structured);
  if (!flags || (request.flags & ~*flags) != 0) return false;
  if (request.type == CommandType::flush) return request.offset == 0 && request.length == 0;
  return request.length > 0 && payload_bytes(request) <= kPayloadBytesMax;
}

// Room comes with answers and with sent bytes: the longest request passes once it is the only one.
static_assert(kPayloadBytesMax <= kBytesInFlightMax);

bool Transmission::has_room(const Request& request, const Output& output) const {
  if (unsent_replies_ >= kRequestsInFlightMax) return false;
  const uint32_t bytes = payload_bytes(request) <= kPayloadBytesMax ? payload_bytes(request) : 0;
  const size_t held = reserved_bytes_ + output.bytes();
  return held + bytes <= kBytesInFlightMax;
}

Step Transmission::begin(const Request& request, ReceiveBuffer& input, Output& output,
                         std::vector<ClientOp>& ops) {
  ++unsent_replies_;
  const bool has_number = session_.numbered && changes_data(request.type);
  if (has_number) last_sequence_ = request.cookie;
  const Refusal refusal = has_number ? Refusal{} : judge(request);
  if (refusal.error != WireError::none) {
    if (request.type == CommandType::write) {
      dropping_.emplace(request, refusal);
      input.skip(request.length);
    } else {
      refuse(request, refusal, output);
    }
  } else if (request.length == 0 && request.type != CommandType::flush) {
    succeed(request, output);
  } else {
    reserved_bytes_ += payload_bytes(request);
    if (request.type == CommandType::write) {
      writing_ = request;
    } else {
      ops.push_back(open_op(request));
    }
  }
  return Step::progressed;
}

Step Transmission::finish_write(ReceiveBuffer& input, Output& output, std::vector<ClientOp>& ops) {
  if (input.available().size() < writing_->length) {
    input.want(writing_->length);
    return Step::starved;
  }
  Slice payload = input.take(writing_->length);
  if (shutting_down_) {
    reserved_bytes_ -= writing_->length;
    refuse(*writing_, judge(*writing_), output);
  } else {
    ClientOp op = open_op(*writing_);
    op.payload = std::move(payload);
    ops.push_back(std::move(op));
  }
  writing_.reset();
  return Step::progressed;
}

Transmission::Refusal Transmission::judge(const Request& request) const {
  const std::optional<uint16_t> flags = flags_of(request.type, session_.structured);
  if (!flags) return {WireError::inval, "unknown command"};
  if ((request.flags & ~*flags) != 0) return {WireError::inval, "flag not valid for this command"};
  if (shutting_down_) return {WireError::shutdown, "the server is shutting down"};
  if (changes_data(request.type) && session_.exported.read_only)
    return {WireError::perm, "the export is read-only"};
  if (request.type == CommandType::flush) {
    if (request.offset != 0 || request.length != 0)
      return {WireError::inval, "FLUSH has no offset and no length"};
    return {};
  }
  if (request.type == CommandType::block_status) {
    if (session_.contexts.empty()) return {WireError::inval, "no metadata context was selected"};
    if (request.length == 0) return {WireError::inval, "BLOCK_STATUS of no bytes"};
  }
  const uint64_t size = session_.exported.size_bytes;
  if (request.offset > size || request.length > size - request.offset) {
    const bool space = request.type == CommandType::write || request.type == CommandType::write_zeroes;
    return {space ? WireError::nospc : WireError::inval, "beyond the end of the export"};
  }
  if (payload_bytes(request) > kPayloadBytesMax) {
    const bool overflow = request.type == CommandType::read && session_.structured;
    return {overflow ? WireError::overflow : WireError::inval, "longer than the largest payload of 32 MiB"};
  }
  return {};
}

ClientOp Transmission::open_op(const Request& request) {
  if (free_slots_.empty()) {
    ensure(slots_.size() < kRequestsInFlightMax, "requests in flight are limited");
    free_slots_.push_back(static_cast<uint16_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint16_t index = free_slots_.back();
  free_slots_.pop_back();
  // Counted from 1 above the index, so that a slot's next op has another id and a late or second answer is noticed.
  const uint64_t id = ++ops_begun_ << kSlotBits | index;
  slots_[index] = {request, id};
  ++ops_in_flight_;

  ClientOp op;
  op.kind = kind_of(request.type);
  op.client = client_;
  op.request = id;
  op.target = session_.exported.handle;
  op.offset = request.offset;
  op.length = request.length;
  op.fua = request.has(kCommandFua) && changes_data(request.type);
  op.no_hole = request.has(kCommandNoHole);
  op.fast_zero = request.has(kCommandFastZero);
  if (session_.numbered && changes_data(request.type)) op.sequence = request.cookie;
  return op;
}

void Transmission::answer(Reply reply, Output* output) {
  const size_t index = reply.request & ((1u << kSlotBits) - 1);
  ensure(index < slots_.size() && slots_[index].id == reply.request && reply.request != 0,
         "an op is answered once");
  const Request request = slots_[index].request;
  slots_[index].id = 0;
  free_slots_.push_back(static_cast<uint16_t>(index));
  --ops_in_flight_;
  reserved_bytes_ -= payload_bytes(request);
  if (output == nullptr) return;

  const WireError error = wire_error(reply.error, request, session_.structured);
  if (error != WireError::none) {
    refuse(request, {error, message_of(error)}, *output);
  } else if (request.type == CommandType::read) {
    send_read(request, reply.pieces, *output);
  } else if (request.type == CommandType::block_status) {
    send_status(request, reply.pieces, *output);
  } else {
    succeed(request, *output);
  }
}

void Transmission::replies_sent(size_t count) {
  ensure(count <= unsent_replies_, "a reply is sent once");
  unsent_replies_ -= count;
}

}  // namespace cloudfs::nbd
