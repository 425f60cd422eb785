#include "nbd/client.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/assert.h"
#include "nbd/errors.h"
#include "nbd/wire.h"

namespace cloudfs::nbd {

namespace {

constexpr unsigned kSlotBits = 16;
static_assert(kClientRequestsMax <= 1u << kSlotBits);

CommandType command_of(ClientOp::Kind kind) {
  switch (kind) {
    case ClientOp::Kind::read:
      return CommandType::read;
    case ClientOp::Kind::write:
      return CommandType::write;
    case ClientOp::Kind::flush:
      return CommandType::flush;
    case ClientOp::Kind::trim:
      return CommandType::trim;
    case ClientOp::Kind::write_zeroes:
      return CommandType::write_zeroes;
    case ClientOp::Kind::cache:
      return CommandType::cache;
    case ClientOp::Kind::block_status:
      return CommandType::block_status;
  }
  ensure(false, "every op has a command");
  return {};
}

uint16_t flags_of(const ClientOp& op) {
  return static_cast<uint16_t>((op.fua ? kCommandFua : 0) | (op.no_hole ? kCommandNoHole : 0) |
                               (op.fast_zero ? kCommandFastZero : 0));
}

}  // namespace

// --- Requests ----------------------------------------------------------------------------------------------------

Client::Slot& Client::open(const ClientOp& op) {
  if (free_slots_.empty()) {
    ensure(slots_.size() < kClientRequestsMax, "requests in flight are limited");
    free_slots_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint32_t index = free_slots_.back();
  free_slots_.pop_back();
  Slot& slot = slots_[index];
  ++in_flight_;
  if (op.sequence != 0) {
    slot.cookie = op.sequence;
    sequences_.insert(op.sequence, index);
  } else {
    // Another one each time, so that a late or second answer is noticed.
    slot.cookie = kCookieUnnumbered | (++requests_ever_ << kSlotBits & ~kCookieUnnumbered) | index;
  }
  slot.request = op.request;
  slot.kind = op.kind;
  slot.offset = op.offset;
  slot.length = op.length;
  slot.covered = 0;
  slot.chunks = 0;
  slot.error = 0;
  return slot;
}

void Client::request(const ClientOp& op) {
  ensure(greeted_ && op.sequence < kCookieUnnumbered && op.length <= UINT32_MAX, "a request has its form");
  const Slot& slot = open(op);
  output_.put(kRequestBytes)
      .put(kRequestMagic)
      .put(flags_of(op))
      .put(command_of(op.kind))
      .put(slot.cookie)
      .put(op.offset)
      .put(static_cast<uint32_t>(op.length));
  if (op.kind == ClientOp::Kind::write) {
    ensure(op.payload.size == op.length, "a write has its payload");
    output_.append(op.payload);
  }
}

void Client::seen(uint64_t sequence) {
  output_.put(kRequestBytes)
      .put(kRequestMagic)
      .put(uint16_t{0})
      .put(CommandType::seen)
      .put(kCookieUnnumbered)
      .put(sequence)
      .put(uint32_t{0});
}

// --- Answers -----------------------------------------------------------------------------------------------------

Window Client::receive_target() {
  return failure_ ? Window{} : input_.target();
}

void Client::received(size_t bytes) {
  input_.received(bytes);
}

void Client::advance(std::vector<Reply>& replies) {
  while (!failure_ && step(replies) == Took::message) {
  }
}

Client::Took Client::starve(size_t bytes) {
  input_.want(bytes);
  return Took::nothing;
}

bool Client::fail(std::string_view message) {
  if (!failure_) failure_ = Failure{"ERR_ROUTE_PROTOCOL", std::string(message)};
  return false;
}

Client::Took Client::step(std::vector<Reply>& replies) {
  if (!greeted_) return greet();
  const std::span<const uint8_t> bytes = input_.available();
  if (bytes.size() < kSimpleReplyBytes) return starve(kSimpleReplyBytes);
  const auto magic = load<uint32_t>(bytes.data());
  if (magic == kSimpleReplyMagic) return simple_reply(replies);
  if (magic == kStructuredReplyMagic && terms_.structured) return chunk(replies);
  fail("no reply begins so");
  return Took::nothing;
}

Client::Took Client::greet() {
  const std::span<const uint8_t> bytes = input_.available();
  if (bytes.size() < kSessionGreetingBytes) return starve(kSessionGreetingBytes);
  const auto greeting = decode_greeting(bytes.first(kSessionGreetingBytes));
  if (!greeting) {
    fail("the greeting is not that of a session of this version");
    return Took::nothing;
  }
  input_.consume(kSessionGreetingBytes);
  greeting_ = *greeting;
  greeted_ = true;
  return Took::message;
}

Client::Slot* Client::find(uint64_t cookie) {
  uint64_t index = cookie & ((1u << kSlotBits) - 1);
  if ((cookie & kCookieUnnumbered) == 0) {
    const uint32_t* found = sequences_.find(cookie);
    if (found == nullptr) return nullptr;
    index = *found;
  }
  return index < slots_.size() && slots_[index].cookie == cookie ? &slots_[index] : nullptr;
}

Client::Took Client::simple_reply(std::vector<Reply>& replies) {
  const std::span<const uint8_t> bytes = input_.available();
  const auto error = load<uint32_t>(bytes.data() + 4);
  Slot* slot = find(load<uint64_t>(bytes.data() + 8));
  if (slot == nullptr) {
    fail("an answer to a request that was not made, or was answered");
    return Took::nothing;
  }
  const bool is_read = slot->kind == ClientOp::Kind::read;
  if (slot->chunks > 0 || (is_read && terms_.structured) ||
      (slot->kind == ClientOp::Kind::block_status && error == 0)) {
    fail("a simple reply where there are to be chunks");
    return Took::nothing;
  }
  const size_t payload = is_read && error == 0 ? static_cast<size_t>(slot->length) : 0;
  if (bytes.size() < kSimpleReplyBytes + payload) return starve(kSimpleReplyBytes + payload);
  input_.consume(kSimpleReplyBytes);
  slot->error = errno_of(error);
  if (payload > 0) {
    slot->pieces.push_back({payload, false, input_.take(payload)});
    slot->offsets.push_back(slot->offset);
    slot->covered = payload;
  }
  return finish(*slot, replies) ? Took::message : Took::nothing;
}

Client::Took Client::chunk(std::vector<Reply>& replies) {
  const std::span<const uint8_t> bytes = input_.available();
  if (bytes.size() < kChunkHeaderBytes) return starve(kChunkHeaderBytes);
  const uint8_t* at = bytes.data();
  const Chunk chunk{load<uint16_t>(at + 4), ChunkType{load<uint16_t>(at + 6)}, load<uint64_t>(at + 8),
                    load<uint32_t>(at + 16)};
  Slot* slot = find(chunk.cookie);
  if (slot == nullptr) {
    fail("an answer to a request that was not made, or was answered");
    return Took::nothing;
  }
  // Before there is room made for it.
  if (!judge(chunk, *slot)) return Took::nothing;
  if (bytes.size() < kChunkHeaderBytes + chunk.bytes) return starve(kChunkHeaderBytes + chunk.bytes);
  input_.consume(kChunkHeaderBytes);
  ++slot->chunks;
  bool good = true;
  if (chunk.type == ChunkType::offset_data) {
    good = take_data(*slot, chunk.bytes);
  } else if (chunk.type == ChunkType::offset_hole) {
    good = take_hole(*slot);
  } else if (chunk.type == ChunkType::block_status) {
    good = take_status(*slot, chunk.bytes);
  } else if (chunk.type != ChunkType::none) {
    good = take_error(*slot, chunk);
  }
  if (good && (chunk.flags & kReplyDone) != 0) good = finish(*slot, replies);
  return good ? Took::message : Took::nothing;
}

/// Whether a chunk of this kind and length can belong to the answer of this request.
bool Client::judge(const Chunk& chunk, const Slot& slot) {
  if ((chunk.flags & ~kReplyDone) != 0) return fail("a chunk with flags that are not known");
  if (slot.chunks > slot.length / kChunkBytesMin + 16) return fail("an answer of too many chunks");
  const bool is_read = slot.kind == ClientOp::Kind::read;
  switch (chunk.type) {
    case ChunkType::none:
      if (chunk.bytes != 0 || (chunk.flags & kReplyDone) == 0)
        return fail("an empty chunk that ends nothing");
      return true;
    case ChunkType::offset_data:
      if (!is_read || chunk.bytes <= 8 || chunk.bytes - 8 > slot.length - slot.covered)
        return fail("data that was not asked for");
      return true;
    case ChunkType::offset_hole:
      if (!is_read || chunk.bytes != 12) return fail("a hole that was not asked for");
      return true;
    case ChunkType::block_status:
      if (slot.kind != ClientOp::Kind::block_status || !slot.pieces.empty() || chunk.bytes < 12 ||
          chunk.bytes % 8 != 4 || (chunk.bytes - 4) / 8 > kStatusExtentsMax)
        return fail("a status that was not asked for");
      return true;
    case ChunkType::error:
    case ChunkType::error_offset: {
      const uint32_t fixed = chunk.type == ChunkType::error ? 6 : 14;
      if (chunk.bytes < fixed || chunk.bytes > fixed + kStringBytesMax)
        return fail("an error of a wrong length");
      return true;
    }
  }
  return fail("a chunk of a kind that is not known");
}

bool Client::take_data(Slot& slot, uint32_t bytes) {
  const auto offset = load<uint64_t>(input_.available().data());
  input_.consume(8);
  const uint64_t count = bytes - 8;
  if (!cover(slot, offset, count)) return false;
  slot.pieces.push_back({count, false, input_.take(static_cast<size_t>(count))});
  return true;
}

bool Client::take_hole(Slot& slot) {
  const uint8_t* at = input_.available().data();
  const auto offset = load<uint64_t>(at);
  const auto count = load<uint32_t>(at + 8);
  input_.consume(12);
  if (!cover(slot, offset, count)) return false;
  slot.pieces.push_back({count, true, {}});
  return true;
}

bool Client::cover(Slot& slot, uint64_t offset, uint64_t bytes) {
  if (offset < slot.offset || bytes == 0 || bytes > slot.length - slot.covered ||
      offset - slot.offset > slot.length - bytes)
    return fail("data of another place");
  slot.covered += bytes;
  slot.offsets.push_back(offset);
  return true;
}

bool Client::take_status(Slot& slot, uint32_t bytes) {
  const uint8_t* at = input_.available().data();
  if (load<uint32_t>(at) != terms_.status_context)
    return fail("the status of a context that was not selected");
  uint64_t covered = 0;
  for (size_t i = 4; i < bytes; i += 8) {
    const auto count = load<uint32_t>(at + i);
    const auto status = load<uint32_t>(at + i + 4);
    if (count == 0 || covered >= slot.length) return fail("an extent of nothing, or behind the last");
    covered += count;
    // Only what is known to be neither stored nor anything but zeroes is a hole here.
    const bool hole = (status & kStateHole) != 0 && (status & kStateZero) != 0;
    slot.pieces.push_back({count, hole, {}});
  }
  input_.consume(bytes);
  return true;
}

bool Client::take_error(Slot& slot, const Chunk& chunk) {
  const uint8_t* at = input_.available().data();
  const auto error = load<uint32_t>(at);
  const size_t fixed = chunk.type == ChunkType::error ? 6 : 14;
  if (error == 0 || load<uint16_t>(at + 4) != chunk.bytes - fixed) return fail("an error without a number");
  input_.consume(chunk.bytes);
  if (slot.error == 0) slot.error = errno_of(error);
  return true;
}

/// A read's pieces, in order of offset, are all of what was asked for.
bool Client::is_whole(Slot& slot) {
  if (slot.covered != slot.length) return false;
  if (!std::is_sorted(slot.offsets.begin(), slot.offsets.end())) {
    std::vector<std::pair<uint64_t, Piece>> sorted;
    for (size_t i = 0; i < slot.pieces.size(); ++i)
      sorted.emplace_back(slot.offsets[i], std::move(slot.pieces[i]));
    std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (size_t i = 0; i < sorted.size(); ++i) {
      slot.offsets[i] = sorted[i].first;
      slot.pieces[i] = std::move(sorted[i].second);
    }
  }
  uint64_t next = slot.offset;
  for (size_t i = 0; i < slot.pieces.size(); ++i) {
    if (slot.offsets[i] != next) return false;
    next += slot.pieces[i].bytes;
  }
  return true;
}

bool Client::finish(Slot& slot, std::vector<Reply>& replies) {
  Reply reply;
  reply.request = slot.request;
  reply.error = slot.error;
  if (slot.error == 0) {
    if (slot.kind == ClientOp::Kind::read && !is_whole(slot))
      return fail("a read answered in part, or twice");
    if (slot.kind == ClientOp::Kind::block_status && slot.pieces.empty())
      return fail("a status without extents");
    reply.pieces = std::move(slot.pieces);
  }
  if ((slot.cookie & kCookieUnnumbered) == 0) sequences_.erase(slot.cookie);
  slot.cookie = 0;
  slot.pieces.clear();
  slot.offsets.clear();
  free_slots_.push_back(static_cast<uint32_t>(&slot - slots_.data()));
  --in_flight_;
  replies.push_back(std::move(reply));
  return true;
}

}  // namespace cloudfs::nbd
