// What the NBD tests and the fuzzer share: a client's messages as bytes, exports in memory, and a loop around a
// connection such as the shell has. The bytes are spelled out here from the protocol document, not from the server's
// headers, so that a wrong number there is noticed.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nbd/connection.h"

namespace nbd_test {

using cloudfs::BufferRef;
using cloudfs::ClientOp;
using cloudfs::Export;
using cloudfs::Piece;
using cloudfs::Reply;
using cloudfs::Slice;
using cloudfs::nbd::Connection;

// --- Bytes -------------------------------------------------------------------------------------------------------

template <class Integer>
std::string be(Integer value) {
  std::string bytes(sizeof value, '\0');
  for (size_t i = 0; i < sizeof value; ++i)
    bytes[sizeof value - 1 - i] = static_cast<char>(static_cast<uint64_t>(value) >> 8 * i & 0xff);
  return bytes;
}

template <class Integer>
Integer from_be(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(Integer); ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return static_cast<Integer>(value);
}

inline std::string sized(std::string_view text) {
  return be(static_cast<uint32_t>(text.size())) + std::string(text);
}

constexpr uint32_t kOptExportName = 1;
constexpr uint32_t kOptAbort = 2;
constexpr uint32_t kOptList = 3;
constexpr uint32_t kOptPeekExport = 4;
constexpr uint32_t kOptStarttls = 5;
constexpr uint32_t kOptInfo = 6;
constexpr uint32_t kOptGo = 7;
constexpr uint32_t kOptStructuredReply = 8;
constexpr uint32_t kOptListMetaContext = 9;
constexpr uint32_t kOptSetMetaContext = 10;
constexpr uint32_t kOptExtendedHeaders = 11;

constexpr uint32_t kRepAck = 1;
constexpr uint32_t kRepServer = 2;
constexpr uint32_t kRepInfo = 3;
constexpr uint32_t kRepMetaContext = 4;
constexpr uint32_t kRepErrUnsup = 0x80000001;
constexpr uint32_t kRepErrInvalid = 0x80000003;
constexpr uint32_t kRepErrUnknown = 0x80000006;
constexpr uint32_t kRepErrShutdown = 0x80000007;
constexpr uint32_t kRepErrTooBig = 0x80000009;

constexpr uint16_t kRead = 0;
constexpr uint16_t kWrite = 1;
constexpr uint16_t kDisc = 2;
constexpr uint16_t kFlush = 3;
constexpr uint16_t kTrim = 4;
constexpr uint16_t kCache = 5;
constexpr uint16_t kWriteZeroes = 6;
constexpr uint16_t kBlockStatus = 7;

constexpr uint16_t kSeen = 0x7300;
constexpr uint64_t kUnnumbered = uint64_t{1} << 63;

constexpr uint16_t kFua = 1;
constexpr uint16_t kNoHole = 2;
constexpr uint16_t kDf = 4;
constexpr uint16_t kReqOne = 8;
constexpr uint16_t kFastZero = 16;

constexpr uint32_t kEperm = 1;
constexpr uint32_t kEio = 5;
constexpr uint32_t kEinval = 22;
constexpr uint32_t kEnospc = 28;
constexpr uint32_t kEoverflow = 75;
constexpr uint32_t kEnotsup = 95;
constexpr uint32_t kEshutdown = 108;

inline std::string hello(uint32_t flags = 3) {
  return be(flags);
}

inline std::string option(uint32_t type, std::string_view data = {}) {
  return "IHAVEOPT" + be(type) + sized(data);
}

inline std::string info_data(std::string_view name, const std::vector<uint16_t>& items) {
  std::string data = sized(name) + be(static_cast<uint16_t>(items.size()));
  for (uint16_t item : items) data += be(item);
  return data;
}

inline std::string go(std::string_view name, const std::vector<uint16_t>& items = {}) {
  return option(kOptGo, info_data(name, items));
}

inline std::string meta(uint32_t type, std::string_view name, const std::vector<std::string>& queries) {
  std::string data = sized(name) + be(static_cast<uint32_t>(queries.size()));
  for (const std::string& query : queries) data += sized(query);
  return option(type, data);
}

inline std::string request(uint16_t type, uint64_t cookie, uint64_t offset, uint32_t length,
                           uint16_t flags = 0) {
  return be(0x25609513u) + be(flags) + be(type) + be(cookie) + be(offset) + be(length);
}

inline std::string write(uint64_t cookie, uint64_t offset, std::string_view payload, uint16_t flags = 0) {
  return request(kWrite, cookie, offset, static_cast<uint32_t>(payload.size()), flags) + std::string(payload);
}

// What the server is to say.

inline std::string greeting() {
  return "NBDMAGICIHAVEOPT" + be(uint16_t{3});
}

inline std::string option_reply(uint32_t type, uint32_t reply, std::string_view data = {}) {
  return be(uint64_t{0x3e889045565a9}) + be(type) + be(reply) + sized(data);
}

inline std::string simple(uint64_t cookie, uint32_t error = 0, std::string_view data = {}) {
  return be(0x67446698u) + be(error) + be(cookie) + std::string(data);
}

inline std::string chunk(uint16_t flags, uint16_t type, uint64_t cookie, std::string_view payload) {
  return be(0x668e33efu) + be(flags) + be(type) + be(cookie) + sized(payload);
}

// --- Exports -----------------------------------------------------------------------------------------------------

/// A disk of any size that keeps what was written, in blocks; what was not is holes.
class MemoryDisk {
 public:
  static constexpr uint64_t kBlock = 512;

  explicit MemoryDisk(uint64_t size_bytes) : size_bytes_(size_bytes) {}
  uint64_t size_bytes() const { return size_bytes_; }

  void write(uint64_t offset, std::string_view bytes) {
    while (!bytes.empty()) {
      const uint64_t in_block = offset % kBlock;
      const size_t part = std::min<size_t>(bytes.size(), kBlock - in_block);
      std::memcpy(blocks_[offset / kBlock].data() + in_block, bytes.data(), part);
      bytes.remove_prefix(part);
      offset += part;
    }
  }

  void zero(uint64_t offset, uint64_t bytes) {
    const uint64_t first_whole = (offset + kBlock - 1) / kBlock;
    const uint64_t end_whole = (offset + bytes) / kBlock;
    if (first_whole > end_whole) {  // within one block
      zero_part(offset, bytes);
      return;
    }
    zero_part(offset, first_whole * kBlock - offset);
    zero_part(end_whole * kBlock, offset + bytes - end_whole * kBlock);
    blocks_.erase(blocks_.lower_bound(first_whole), blocks_.lower_bound(end_whole));
  }

  /// Data and holes of a range, in as few pieces as there are changes between them.
  std::vector<Piece> pieces(uint64_t offset, uint64_t bytes) const {
    std::vector<Piece> found;
    while (bytes > 0) {
      const auto next = blocks_.lower_bound(offset / kBlock);
      const bool hole = next == blocks_.end() || next->first != offset / kBlock;
      uint64_t part = bytes;
      if (hole) {
        if (next != blocks_.end()) part = std::min(bytes, next->first * kBlock - offset);
        found.push_back({part, true, {}});
      } else {
        part = std::min(bytes, kBlock - offset % kBlock);
        found.push_back({part, false, copy(next->second.data() + offset % kBlock, part)});
      }
      offset += part;
      bytes -= part;
    }
    return found;
  }

  static Slice copy(const uint8_t* data, size_t bytes) {
    BufferRef buffer(bytes);
    if (bytes > 0) std::memcpy(buffer.data(), data, bytes);
    const uint8_t* at = buffer.data();
    return {std::move(buffer), at, bytes};
  }

 private:
  void zero_part(uint64_t offset, uint64_t bytes) {
    const auto block = blocks_.find(offset / kBlock);
    if (block != blocks_.end() && bytes > 0) std::memset(block->second.data() + offset % kBlock, 0, bytes);
  }

  uint64_t size_bytes_;
  std::map<uint64_t, std::array<uint8_t, kBlock>> blocks_;
};

/// What a disk answers at once.
inline Reply carry_out(MemoryDisk& disk, const ClientOp& op) {
  Reply reply{op.client, op.request, 0, {}};
  switch (op.kind) {
    case ClientOp::Kind::read:
    case ClientOp::Kind::block_status:
      reply.pieces = disk.pieces(op.offset, op.length);
      break;
    case ClientOp::Kind::write:
      disk.write(op.offset, {reinterpret_cast<const char*>(op.payload.data), op.payload.size});
      break;
    case ClientOp::Kind::trim:
    case ClientOp::Kind::write_zeroes:
      disk.zero(op.offset, op.length);
      break;
    case ClientOp::Kind::flush:
    case ClientOp::Kind::cache:
      break;
  }
  return reply;
}

constexpr uint64_t kDiskBytes = 1 << 20;
constexpr uint64_t kLargeBytes = uint64_t{1} << 40;

class MemoryExports : public cloudfs::nbd::ExportSource {
 public:
  std::vector<Export> exports{{1, kDiskBytes, false, "disk", "a disk"},
                              {2, kDiskBytes, true, "disk@monday", ""},
                              {3, kLargeBytes, false, "large", "a large disk"}};
  std::vector<uint64_t> opened;
  std::vector<uint64_t> closed;

  std::optional<Export> find(std::string_view name) override {
    if (name.empty()) name = "disk";
    for (const Export& each : exports)
      if (each.name == name) return each;
    return std::nullopt;
  }
  std::vector<Export> list() override { return exports; }
  std::optional<Export> open(std::string_view name) override {
    std::optional<Export> found = find(name);
    if (found) opened.push_back(found->handle);
    return found;
  }
  void close(uint64_t handle) override { closed.push_back(handle); }
  std::string refusal(std::string_view name) override { return "no export " + std::string(name); }
};

// --- The loop around a connection --------------------------------------------------------------------------------

class Peer {
 public:
  static constexpr uint64_t kClient = 7;

  Peer() : connection(kClient, exports) {}
  /// Of a session.
  explicit Peer(Export exported) : connection(kClient, exports, std::move(exported)) {}

  MemoryExports exports;
  Connection connection;
  std::vector<ClientOp> ops;

  /// Gives the server `bytes`, at most `cut` at once, as long as it wants some; what it does not want is kept for the next
  /// call. @returns what it sends meanwhile
  std::string feed(std::string_view bytes, size_t cut = SIZE_MAX) {
    waiting_ += bytes;
    std::string output = drain();
    size_t fed = 0;
    while (fed < waiting_.size()) {
      const cloudfs::nbd::Window window = connection.receive_target();
      if (window.bytes == 0) break;
      const size_t part = std::min({window.bytes, cut, waiting_.size() - fed});
      std::memcpy(window.data, waiting_.data() + fed, part);
      connection.received(part);
      fed += part;
      output += drain();
    }
    waiting_.erase(0, fed);
    return output;
  }

  /// Parses and sends until there is nothing more to parse and to send.
  std::string drain() {
    std::string output;
    do {
      connection.advance(ops);
      output += send();
    } while (connection.can_advance());
    return output;
  }

  std::string send() {
    std::string output;
    cloudfs::nbd::OutgoingPiece pieces[3];
    while (size_t count = connection.outgoing(pieces)) {
      size_t bytes = 0;
      for (size_t i = 0; i < count; ++i) {
        output.append(reinterpret_cast<const char*>(pieces[i].data), pieces[i].bytes);
        bytes += pieces[i].bytes;
      }
      connection.sent(bytes);
    }
    return output;
  }

  /// @returns what the server sends for it
  std::string answer(Reply reply) {
    connection.answer(std::move(reply));
    return drain();
  }
  std::string answer(const ClientOp& op, int error = 0) {
    return answer(Reply{op.client, op.request, error, {}});
  }

  ClientOp take_op() {
    ClientOp op = ops.at(0);
    ops.erase(ops.begin());
    return op;
  }

  /// Bytes that the server does not want yet.
  size_t waiting_bytes() const { return waiting_.size(); }

 private:
  std::string waiting_;
};

/// A client in the transmission phase of `name`.
class Client : public Peer {
 public:
  explicit Client(std::string_view name = "disk", bool structured = false,
                  const std::vector<std::string>& contexts = {}) {
    feed(hello());
    if (structured) feed(option(kOptStructuredReply));
    if (!contexts.empty()) feed(meta(kOptSetMetaContext, name, contexts));
    feed(go(name));
  }
};

inline std::string text_of(const Slice& slice) {
  return {reinterpret_cast<const char*>(slice.data), slice.size};
}

}  // namespace nbd_test
