// What the core asks of the world, and what the world answers. The core is sans-I/O: it fills an Effects, the shell (or
// the simulator) carries it out and reports completions. The order within `io` is the order in which they were decided;
// the world may complete them in any order, except that a Sync covers every Write that completed before it was issued.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/buffer.h"
#include "core/base/ids.h"

namespace cloudfs {

/// `physical` of the superblock region (8192 bytes).
constexpr uint32_t kSuperblockRegion = 0xffffffff;

struct IoEffect {
  enum class Kind : uint8_t {
    write,  // slices at (physical, offset); complete when the kernel has all bytes
    sync,   // the listed places, with all writes completed before, are on stable storage
    read,   // `bytes` from (physical, offset) into target
    prepare,  // segment `physical` exists at full size, written and synced, so that no later append pays for metadata
  };
  Kind kind = Kind::write;
  uint64_t id = 0;
  uint32_t physical = 0;
  uint64_t offset = 0;
  std::vector<Slice> slices;        // write
  std::vector<uint32_t> physicals;  // sync
  BufferRef target;                 // read: filled from its start
  uint32_t bytes = 0;               // read
  bool aside = false;  // read: long, and nobody waits for it in this turn: not on the caller's thread
};

/// Completion of an IoEffect. `error` is 0 or an errno. A short read past the end of a segment is zero-filled.
struct IoResult {
  uint64_t id = 0;
  int error = 0;
};

/// A piece of read data or block status, in order of offset.
struct Piece {
  uint64_t bytes = 0;
  bool hole = false;  // reads as zeros, not stored; `data` is empty
  Slice data;
};

/// In place of an errno: there is no answer, and the client's session ends. Its host is no longer the volume's primary, or has
/// no disk any more, so whether the request was carried out is for the next one to say.
constexpr int kUnanswered = -1;

/// The answer to a ClientOp. `error` is 0 or a Linux errno (EIO, ENOSPC, EINVAL, EPERM, ESHUTDOWN, ENOTSUP, EOVERFLOW;
/// of a write that expected a version: ESTALE, EFBIG), or kUnanswered.
struct Reply {
  uint64_t client = 0;
  uint64_t request = 0;
  int error = 0;
  std::vector<Piece> pieces;  // read, block_status
  VersionId version{};        // the state that was read; after a write: what it made
};

/// Something policy wants to know; rare (never per I/O).
struct Event {
  std::string
      name;  // 'segment-sealed', 'store-failed', 'block-corrupt', 'space-low', …: docs/core.md lists them
  std::string detail;  // JSON object
};

/// What one side of a stream said when it ended it.
struct StreamRefusal {
  std::string code;  // empty: nothing
  std::string message;
};

/// Bytes for a stream to another engine, behind those given before; the shell reports what its socket took.
struct StreamSend {
  uint64_t stream = 0;
  std::vector<Slice> slices;
};

struct Effects {
  std::vector<IoEffect> io;
  std::vector<Reply> replies;
  std::vector<Event> events;
  std::vector<StreamSend> sends;
  std::vector<uint64_t> closes;  // streams to end once what was given before is sent
  bool empty() const {
    return io.empty() && replies.empty() && events.empty() && sends.empty() && closes.empty();
  }
};

/// One request of a client of a volume (NBD, bridge, HTTP /blocks).
struct ClientOp {
  enum class Kind : uint8_t { read, write, flush, trim, write_zeroes, cache, block_status };
  Kind kind = Kind::read;
  uint64_t client = 0;   // who asked; the reply carries it back
  uint64_t request = 0;  // chosen by the client layer; unique among the client's requests in flight
  uint64_t target = 0;   // handle from Core::open_export
  uint64_t offset = 0;   // bytes
  uint64_t length = 0;   // bytes
  bool fua = false;
  bool no_hole = false;
  bool fast_zero = false;
  Slice payload;        // write: exactly `length` bytes, owned until the reply
  SessionId session{};  // the core fills it in: the one with which the target was opened
  uint64_t sequence =
      0;  // the session's number for this request; 0 = none. Numbers ascend, in order of submission
  // Write: it is made only if this is the version its record would follow, else ESTALE. It must fit in one record (EFBIG),
  // so that it is there whole or not at all.
  std::optional<VersionId> expected;
};

/// What a client learns when it opens an export.
struct Export {
  uint64_t handle = 0;
  uint64_t size_bytes = 0;
  bool read_only = false;
  std::string name;
  std::string description;
  // A write whose whole blocks are at most this many bytes becomes one record: it is there whole or not at all.
  uint64_t record_bytes_max = 0;
};

}  // namespace cloudfs
