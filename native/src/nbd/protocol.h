// Numbers of the NBD protocol document (NetworkBlockDevice/nbd, doc/proto.md) that this server knows. docs/nbd.md lists
// them with the document's names. All integers travel in network byte order.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cloudfs::nbd {

constexpr uint64_t kGreetingMagic = 0x4e42444d41474943;  // "NBDMAGIC"
constexpr uint64_t kOptionMagic = 0x49484156454f5054;    // "IHAVEOPT"
constexpr uint64_t kOptionReplyMagic = 0x0003e889045565a9;
constexpr uint32_t kRequestMagic = 0x25609513;
constexpr uint32_t kSimpleReplyMagic = 0x67446698;
constexpr uint32_t kStructuredReplyMagic = 0x668e33ef;

constexpr size_t kClientFlagsBytes = 4;
constexpr size_t kOptionHeaderBytes = 16;
constexpr size_t kOptionReplyHeaderBytes = 20;
constexpr size_t kRequestBytes = 28;
constexpr size_t kSimpleReplyBytes = 16;
constexpr size_t kChunkHeaderBytes = 20;
constexpr size_t kExportNameZeroes = 124;

// Handshake flags, ours and the client's answer to them.
constexpr uint16_t kFlagFixedNewstyle = 1 << 0;
constexpr uint16_t kFlagNoZeroes = 1 << 1;

// Transmission flags.
constexpr uint16_t kFlagHasFlags = 1 << 0;
constexpr uint16_t kFlagReadOnly = 1 << 1;
constexpr uint16_t kFlagSendFlush = 1 << 2;
constexpr uint16_t kFlagSendFua = 1 << 3;
constexpr uint16_t kFlagSendTrim = 1 << 5;
constexpr uint16_t kFlagSendWriteZeroes = 1 << 6;
constexpr uint16_t kFlagSendDf = 1 << 7;
constexpr uint16_t kFlagCanMultiConn = 1 << 8;
constexpr uint16_t kFlagSendCache = 1 << 10;
constexpr uint16_t kFlagSendFastZero = 1 << 11;

enum class Option : uint32_t {
  export_name = 1,
  abort = 2,
  list = 3,
  starttls = 5,
  info = 6,
  go = 7,
  structured_reply = 8,
  list_meta_context = 9,
  set_meta_context = 10,
  extended_headers = 11,
};

enum class OptionReply : uint32_t {
  ack = 1,
  server = 2,
  info = 3,
  meta_context = 4,
  err_unsup = 0x80000001,
  err_policy = 0x80000002,
  err_invalid = 0x80000003,
  err_unknown = 0x80000006,
  err_shutdown = 0x80000007,
  err_too_big = 0x80000009,
};

enum class Info : uint16_t { exported = 0, name = 1, description = 2, block_size = 3 };

enum class CommandType : uint16_t {
  read = 0,
  write = 1,
  disc = 2,
  flush = 3,
  trim = 4,
  cache = 5,
  write_zeroes = 6,
  block_status = 7,
  seen = 0x7300,  // of a session: docs/nbd.md
};

/// Set in the cookies of a session's requests that have no sequence.
constexpr uint64_t kCookieUnnumbered = uint64_t{1} << 63;

constexpr uint16_t kCommandFua = 1 << 0;
constexpr uint16_t kCommandNoHole = 1 << 1;
constexpr uint16_t kCommandDf = 1 << 2;
constexpr uint16_t kCommandReqOne = 1 << 3;
constexpr uint16_t kCommandFastZero = 1 << 4;

enum class ChunkType : uint16_t {
  none = 0,
  offset_data = 1,
  offset_hole = 2,
  block_status = 5,
  error = 0x8001,
  error_offset = 0x8002,
};

constexpr uint16_t kReplyDone = 1 << 0;

enum class WireError : uint32_t {
  none = 0,
  perm = 1,
  io = 5,
  nomem = 12,
  inval = 22,
  nospc = 28,
  overflow = 75,
  notsup = 95,
  shutdown = 108,
};

// Status flags of base:allocation.
constexpr uint32_t kStateHole = 1 << 0;
constexpr uint32_t kStateZero = 1 << 1;

}  // namespace cloudfs::nbd
