// Puts any bytes to a stream between engines, in arbitrary cuts: to a primary as from a follower, to a follower as from a
// primary. Whatever they are, the store goes on, its space is accounted for, and it comes back after a crash.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/checksum.h"
#include "core/base/hex.h"
#include "core/format/chain.h"
#include "core/format/frame.h"
#include "core/format/payload.h"
#include "core/format/run.h"
#include "core/store/core.h"
#include "core_disk.h"

namespace cloudfs::test {

/// A core on its disk, without a test around it.
struct OrdealNode {
  static CoreParams params() {
    CoreParams params;
    params.segment_log2 = 16;
    params.segment_limit = 48;
    return params;
  }
  static HostId host_of(uint8_t index) {
    HostId host;
    host.bytes.fill(static_cast<uint8_t>(0x10 + index));
    return host;
  }
  static StoreId store_of(uint8_t index) {
    StoreId store;
    store.bytes.fill(static_cast<uint8_t>(0x50 + index));
    return store;
  }

  void format(uint8_t index) {
    core = std::make_unique<Core>(params());
    core->format({store_of(index), host_of(index), 1}, now_ns);
    run();
  }
  void restart() {
    core = std::make_unique<Core>(params());
    core->start(now_ns);
    run();
    if (!ready) throw std::runtime_error("the store does not come back");
  }
  void turn() {
    now_ns += 1'000'000;
    Effects effects = core->turn(now_ns);
    disk.issue(std::move(effects.io));
    for (const Event& event : effects.events) {
      if (event.name == "ready") ready = true;
      if (event.name == "store-failed") throw std::runtime_error("the store failed: " + event.detail);
      if (event.name == "volume-created") volume = event.detail.substr(11, 40);
    }
    for (CommandReply& reply : core->take_command_replies()) answers.push_back(std::move(reply));
    for (StreamSend& send : effects.sends) {
      size_t bytes = 0;
      for (const Slice& slice : send.slices) {
        sent.insert(sent.end(), slice.data, slice.data + slice.size);
        bytes += slice.size;
      }
      core->stream_sent(send.stream, bytes);
    }
    for (const uint64_t stream : effects.closes) closes.push_back(stream);
  }
  void run(int turns = 24) {
    for (int count = 0; count < turns; ++count) {
      turn();
      while (disk.busy()) core->complete(disk.complete(0));
    }
  }
  CommandReply command(const std::string& verb, const std::string& arguments) {
    core->command({++next, verb, arguments, {}});
    for (int count = 0; count < 200; ++count) {
      run(1);
      for (const CommandReply& reply : answers)
        if (reply.id == next) return reply;
    }
    throw std::runtime_error(verb + " is not answered");
  }
  void write(uint64_t first, uint64_t count, uint8_t fill) {
    const auto disk_export = core->open_export(volume);
    if (!disk_export) throw std::runtime_error("the volume cannot be opened");
    ClientOp op;
    op.kind = ClientOp::Kind::write;
    op.request = ++next;
    op.target = disk_export->handle;
    op.offset = first * kBlockBytes;
    op.length = count * kBlockBytes;
    const BufferRef buffer(static_cast<size_t>(op.length));
    std::memset(buffer.data(), fill, buffer.size());
    op.payload = {buffer, buffer.data(), buffer.size()};
    core->submit(std::move(op));
  }
  /// Bytes for a stream, as far as it takes them.
  size_t receive(uint64_t stream, const uint8_t* bytes, size_t size) {
    size_t taken = 0;
    while (taken < size) {
      const ReceiveWindow window = core->stream_receive_target(stream);
      if (window.bytes == 0) break;
      const size_t count = std::min(window.bytes, size - taken);
      std::memcpy(window.data, bytes + taken, count);
      core->stream_received(stream, count);
      taken += count;
    }
    return taken;
  }

  SimDisk disk{1u << 16};
  std::unique_ptr<Core> core;
  uint64_t now_ns = 1000;
  uint64_t next = 0;
  bool ready = false;
  std::string volume;
  std::vector<CommandReply> answers;
  std::vector<uint8_t> sent;
  std::vector<uint64_t> closes;
};

class StreamOrdeal {
 public:
  /// `heir`: a follower that expects to be handed the volume.
  enum class Victim : uint8_t { leader, restarted_leader, follower, new_follower, heir };

  /// A volume of three members at two of them, alike; and the conversation that made it so.
  StreamOrdeal() {
    nodes_[0].format(0);
    nodes_[1].format(1);
    nodes_[2].format(2);
    const Stamp stamp = stamp_of(7);
    CreatePayload payload;
    payload.size_bytes = 64 * kBlockBytes;
    payload.mode = Mode::quorum;
    payload.view.stamp_hash = hash160<StampHash>(stamp);
    payload.view.primary = OrdealNode::host_of(0);
    for (uint8_t index = 0; index < 3; ++index) {
      ViewMember member;
      member.host = OrdealNode::host_of(index);
      member.store = OrdealNode::store_of(index);
      payload.view.members.push_back(member);
    }
    view_ = payload.view;
    nodes_[0].core->command({++nodes_[0].next,
                             "create",
                             "{\"stamp\":\"" + to_hex(ByteSpan(stamp)) + "\",\"payload\":\"" +
                                 to_hex(ByteSpan(encode_create(payload))) +
                                 "\",\"epoch\":{\"counter\":1,\"host\":\"" + to_hex(OrdealNode::host_of(0)) +
                                 "\"}}",
                             {}});
    nodes_[0].run();
    join(1, 40);
    nodes_[0].write(0, 8, 1);
    join(1, 60);
    nodes_[0].write(4, 8, 2);
    join(1, 200);
  }

  /// What each side says while a follower is brought from nothing to the end: the corpus is made of this.
  struct Conversation {
    std::vector<uint8_t> by_leader;
    std::vector<uint8_t> by_follower;
  };
  Conversation converse(uint8_t follower, int turns, const std::function<void()>& midway = {}) {
    nodes_[0].sent.clear();
    nodes_[follower].sent.clear();
    join(follower, turns, midway);
    return {said_[0], said_[1]};
  }
  /// Node 1 is to lead in epoch 2, when the primary's core says so.
  void expect_hand() {
    ViewPayload view = view_;
    view.primary = OrdealNode::host_of(1);
    view.stamp_hash = stamp_hash(stamp_of(8));
    const CommandReply reply = nodes_[1].command(
        "expect-hand", "{\"volume\":\"" + nodes_[0].volume + "\",\"epoch\":" + next_epoch() +
                           ",\"stamp\":\"" + to_hex(ByteSpan(stamp_of(8))) + "\",\"payload\":\"" +
                           to_hex(ByteSpan(encode_view(view))) + "\",\"pad\":\"" +
                           to_hex(ByteSpan(stamp_of(9))) + "\"}");
    if (!reply.error_code.empty()) throw std::runtime_error("no heir: " + reply.error_code);
  }
  void resign() {
    nodes_[0].core->command({++nodes_[0].next,
                             "resign",
                             "{\"volume\":\"" + nodes_[0].volume + "\",\"next\":" + next_epoch() +
                                 ",\"pad\":\"" + to_hex(ByteSpan(stamp_of(9))) + "\"}",
                             {}});
  }
  OrdealNode& node(uint8_t index) { return nodes_[index]; }

  void attack(Victim victim, const std::vector<uint8_t>& bytes, uint64_t seed) {
    Random random(seed);
    const bool leads = victim == Victim::leader || victim == Victim::restarted_leader;
    OrdealNode& node = nodes_[leads ? 0 : victim == Victim::new_follower ? 2 : 1];
    if (victim == Victim::heir) expect_hand();
    if (victim == Victim::restarted_leader) {
      node.core.reset();
      node.restart();
    } else if (leads) {
      node.write(20, 4, 9);
      node.run(2);
    }
    const auto id = parse_id<VolumeId>(nodes_[0].volume);
    std::string refusal;
    const uint64_t stream =
        node.core->open_stream(leads ? StreamRole::leader : StreamRole::follower, *id, refusal);
    if (stream == 0) throw std::runtime_error("a stream is refused: " + refusal);
    node.closes.clear();
    size_t at = 0;
    for (int idle = 0; idle < 8 && node.closes.empty();) {
      const size_t piece = std::min<size_t>(bytes.size() - at, 1 + below(random, 1u << below(random, 16)));
      const size_t taken = node.receive(stream, bytes.data() + at, piece);
      at += taken;
      idle = taken == 0 ? idle + 1 : 0;
      node.run(1 + static_cast<int>(below(random, 3)));
    }
    node.core->stream_closed(stream);
    node.run(8);
    audit(node);
    node.core.reset();
    node.disk.kill(random);
    node.restart();
    audit(node);
  }

  /// Makes the checksums of frames, and of runs in them, right: else hardly any changed byte would get behind them.
  static void seal(std::vector<uint8_t>& bytes) {
    for (size_t at = 0; bytes.size() - at >= kFrameHeaderBytes;) {
      uint8_t* frame = bytes.data() + at;
      const uint32_t length = load<uint32_t>(frame);
      if (length < kFrameHeaderBytes || length > bytes.size() - at) return;
      const size_t payload = length - kFrameHeaderBytes;
      size_t head = payload;
      if (frame[4] == static_cast<uint8_t>(FrameType::runs)) {
        head = std::min<size_t>(payload, 16);
        seal_run(frame + kFrameHeaderBytes + head, payload - head);
      } else if (frame[4] == static_cast<uint8_t>(FrameType::blocks) && payload >= 8) {
        head = std::min<uint64_t>(payload, 8 + uint64_t{load<uint32_t>(frame + kFrameHeaderBytes)} * 40);
      }
      store(frame + 36, crc32c({frame + kFrameHeaderBytes, head}, crc32c({frame, 36})));
      at += length;
    }
  }

 private:
  static Stamp stamp_of(uint8_t fill) {
    Stamp stamp;
    stamp.fill(fill);
    return stamp;
  }
  static std::string next_epoch() {
    return "{\"counter\":2,\"host\":\"" + to_hex(OrdealNode::host_of(1)) + "\"}";
  }
  static void seal_run(uint8_t* run, size_t size) {
    if (size < kRunHeaderBytes) return;
    const uint32_t length = load<uint32_t>(run + 4);
    if (length < kRunHeaderBytes || length > size) return;
    store(run + 124, uint32_t{0});
    store(run + 124, crc32c({run, length}));
  }
  static void audit(OrdealNode& node) {
    const CommandReply reply = node.command("audit", "{}");
    if (!reply.error_code.empty()) throw std::runtime_error("space is miscounted: " + reply.message);
  }
  /// A stream from the leader to a follower, for so many turns.
  void join(uint8_t index, int turns, const std::function<void()>& midway = {}) {
    const auto id = parse_id<VolumeId>(nodes_[0].volume);
    std::string refusal;
    const std::array<uint64_t, 2> streams{
        nodes_[0].core->open_stream(StreamRole::leader, *id, refusal, OrdealNode::host_of(index)),
        nodes_[index].core->open_stream(StreamRole::follower, *id, refusal)};
    if (streams[0] == 0 || streams[1] == 0) throw std::runtime_error("a stream is refused: " + refusal);
    said_ = {};
    const std::array<OrdealNode*, 2> ends{&nodes_[0], &nodes_[index]};
    std::array<size_t, 2> given{};
    for (int turn = 0; turn < turns; ++turn) {
      if (turn == turns / 2 && midway) midway();
      for (size_t end : {0u, 1u}) {
        ends[end]->run(1);
        std::vector<uint8_t>& sent = ends[end]->sent;
        said_[end].insert(said_[end].end(), sent.begin(), sent.end());
        sent.clear();
        OrdealNode& other = *ends[1 - end];
        given[end] +=
            other.receive(streams[1 - end], said_[end].data() + given[end], said_[end].size() - given[end]);
      }
    }
    nodes_[0].core->stream_closed(streams[0]);
    nodes_[index].core->stream_closed(streams[1]);
    nodes_[0].run(2);
    nodes_[index].run(2);
  }

  std::array<OrdealNode, 3> nodes_;
  ViewPayload view_;
  std::array<std::vector<uint8_t>, 2> said_;
};

}  // namespace cloudfs::test
