// A core on a simulated disk, driven step by step: for tests that tell one story each.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/base/checksum.h"
#include "core/base/hex.h"
#include "core/format/payload.h"
#include "core/store/core.h"
#include "core_disk.h"

namespace cloudfs::test {

inline CoreParams small_params() {
  CoreParams params;
  params.segment_log2 = 16;
  params.segment_limit = 64;
  params.checkpoint_bytes = 1u << 20;
  params.reserved_segments = 4;
  return params;
}

inline Stamp sample_stamp(uint8_t seed) {
  Stamp stamp;
  stamp.fill(seed);
  return stamp;
}

/// The store that tests of one store are about.
inline StoreIdentity sample_identity() {
  StoreIdentity identity;
  identity.store.bytes.fill(0x51);
  return identity;
}

inline CreatePayload sample_create(uint64_t size_bytes, std::string name, uint8_t seed,
                                   Mode mode = Mode::quorum) {
  CreatePayload payload;
  payload.size_bytes = size_bytes;
  payload.mode = mode;
  payload.name = std::move(name);
  payload.nonce.fill(seed);
  payload.view.stamp_hash = hash160<StampHash>(sample_stamp(seed));
  payload.view.lease_ms = 500;
  payload.view.members.push_back({});
  payload.view.members.back().store = sample_identity().store;
  return payload;
}

inline std::string create_arguments(const CreatePayload& payload, uint8_t seed,
                                    const std::string& from = "") {
  std::string out = "{";
  if (!from.empty()) out += "\"from\":\"" + from + "\",";
  return out + "\"stamp\":\"" + to_hex(ByteSpan(sample_stamp(seed))) + "\",\"payload\":\"" +
         to_hex(ByteSpan(encode_create(payload))) + "\",\"epoch\":{\"counter\":1,\"host\":\"" +
         to_hex(HostId{}) + "\"}}";
}

/// The text of a string or number field of a flat JSON object.
inline std::string field(const std::string& json, const std::string& name) {
  const size_t at = json.find("\"" + name + "\":");
  if (at == std::string::npos) return "";
  size_t start = at + name.size() + 3;
  if (json[start] == '"') {
    ++start;
    return json.substr(start, json.find('"', start) - start);
  }
  return json.substr(start, json.find_first_of(",}]", start) - start);
}

inline Slice slice_of(const std::vector<uint8_t>& bytes) {
  BufferRef buffer(bytes.size());
  std::memcpy(buffer.data(), bytes.data(), bytes.size());
  return {buffer, buffer.data(), bytes.size()};
}

inline std::vector<uint8_t> pattern(size_t bytes, uint64_t seed) {
  std::vector<uint8_t> out(bytes);
  Random random(seed);
  for (size_t at = 0; at + 8 <= bytes; at += 8) {
    const uint64_t word = random();
    std::memcpy(out.data() + at, &word, 8);
  }
  for (size_t at = bytes / 8 * 8; at < bytes; ++at) out[at] = static_cast<uint8_t>(seed * 7 + at);
  return out;
}

class Driver {
 public:
  explicit Driver(const CoreParams& given = small_params()) : params(given), disk(1u << given.segment_log2) {}

  void format() {
    core = std::make_unique<Core>(params);
    core->format(sample_identity(), now_ns);
    run();
    CHECK(saw_event("ready"));
  }
  void start() {
    core = std::make_unique<Core>(params);
    events.clear();
    core->start(now_ns);
    run();
  }
  void restart_after_kill(Random& random) {
    core.reset();
    disk.kill(random);
    start();
  }

  /// One turn; effects wait in the disk.
  void turn() {
    now_ns += 1000;
    Effects effects = core->turn(now_ns);
    disk.issue(std::move(effects.io));
    for (Reply& reply : effects.replies) replies.push_back(std::move(reply));
    for (Event& event : effects.events) events.push_back(std::move(event));
    for (CommandReply& reply : core->take_command_replies()) command_replies.push_back(std::move(reply));
  }
  /// Turns until nothing is under way.
  void run() {
    for (int count = 0; count < 100000; ++count) {
      turn();
      if (!disk.busy() && !(core->next_deadline_ns() && *core->next_deadline_ns() <= now_ns)) {
        turn();
        if (!disk.busy()) return;
      }
      while (disk.busy()) core->complete(disk.complete(0));
    }
    FAIL("the core never comes to rest");
  }

  bool saw_event(const std::string& name) const {
    for (const Event& event : events)
      if (event.name == name) return true;
    return false;
  }

  CommandReply command(const std::string& verb, const std::string& arguments) {
    core->command({++next_request, verb, arguments, {}});
    run();
    for (size_t index = 0; index < command_replies.size(); ++index) {
      if (command_replies[index].id != next_request) continue;
      CommandReply reply = std::move(command_replies[index]);
      command_replies.erase(command_replies.begin() + static_cast<std::ptrdiff_t>(index));
      return reply;
    }
    FAIL("a command was not answered: " << verb);
    return {};
  }
  std::string must(const std::string& verb, const std::string& arguments) {
    const CommandReply reply = command(verb, arguments);
    INFO(verb << ": " << reply.error_code << " " << reply.message);
    CHECK(reply.error_code.empty());
    return reply.result;
  }
  std::string create(uint64_t size_bytes, const std::string& name, uint8_t seed = 1,
                     Mode mode = Mode::quorum) {
    return field(must("create", create_arguments(sample_create(size_bytes, name, seed, mode), seed)),
                 "volume");
  }

  Export open(const std::string& name) {
    const auto found = core->open_export(name);
    REQUIRE(found.has_value());
    return *found;
  }

  uint64_t submit(ClientOp op) {
    op.client = 1;
    op.request = ++next_request;
    core->submit(std::move(op));
    return next_request;
  }
  std::optional<Reply> reply_to(uint64_t request) {
    for (size_t index = 0; index < replies.size(); ++index) {
      if (replies[index].request != request) continue;
      Reply reply = std::move(replies[index]);
      replies.erase(replies.begin() + static_cast<std::ptrdiff_t>(index));
      return reply;
    }
    return std::nullopt;
  }
  Reply call(ClientOp op) {
    const uint64_t request = submit(std::move(op));
    run();
    auto reply = reply_to(request);
    REQUIRE(reply.has_value());
    return std::move(*reply);
  }
  int write(uint64_t target, uint64_t offset, const std::vector<uint8_t>& bytes, bool fua = false) {
    return call(write_op(target, offset, bytes, fua)).error;
  }
  static ClientOp write_op(uint64_t target, uint64_t offset, const std::vector<uint8_t>& bytes,
                           bool fua = false) {
    ClientOp op;
    op.kind = ClientOp::Kind::write;
    op.target = target;
    op.offset = offset;
    op.length = bytes.size();
    op.payload = slice_of(bytes);
    op.fua = fua;
    return op;
  }
  static ClientOp range_op(ClientOp::Kind kind, uint64_t target, uint64_t offset, uint64_t length) {
    ClientOp op;
    op.kind = kind;
    op.target = target;
    op.offset = offset;
    op.length = length;
    return op;
  }
  std::vector<uint8_t> read(uint64_t target, uint64_t offset, uint64_t length) {
    const Reply reply = call(range_op(ClientOp::Kind::read, target, offset, length));
    CHECK(reply.error == 0);
    std::vector<uint8_t> out = bytes_of(reply);
    CHECK(out.size() == (reply.error == 0 ? length : 0));
    return out;
  }
  static std::vector<uint8_t> bytes_of(const Reply& reply) {
    std::vector<uint8_t> out;
    for (const Piece& piece : reply.pieces) {
      if (piece.hole) {
        out.resize(out.size() + piece.bytes);
      } else {
        CHECK(piece.data.size == piece.bytes);
        out.insert(out.end(), piece.data.data, piece.data.data + piece.data.size);
      }
    }
    return out;
  }

  CoreParams params;
  SimDisk disk;
  std::unique_ptr<Core> core;
  uint64_t now_ns = 1000;
  uint64_t next_request = 0;
  std::vector<Reply> replies;
  std::vector<Event> events;
  std::vector<CommandReply> command_replies;
};

}  // namespace cloudfs::test
