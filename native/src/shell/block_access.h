// Reads and writes of volumes for callers in this process that are no NBD clients (HTTP). They go the way of NBD's
// requests: the same exports, the same core, the same waits for commit and sync. Everything is called on the loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/store/core.h"

namespace cloudfs::shell {

/// Of one request; longer ones are refused before anything is allocated.
constexpr uint64_t kAccessBytesMax = 4 << 20;
/// Of all requests in flight at a store; past it requests are refused.
constexpr uint64_t kAccessInFlightBytesMax = 128 << 20;

struct AccessRequest {
  std::string name;     // of the export, as Core::open_export takes it
  uint64_t offset = 0;  // bytes
  uint64_t length = 0;
  // Write: `length` of them. No Slice: a buffer is touched by its thread alone, and the caller's is another one.
  std::vector<uint8_t> bytes;
  bool fua = false;                   // write: synced at a majority when answered
  std::optional<VersionId> expected;  // write: as ClientOp's
};

struct AccessAnswer {
  std::string error_code;  // empty = done
  std::string message;
  VersionId version;  // the state that was read; after a write: what it made
  std::vector<uint8_t> bytes;
};

class BlockAccess {
 public:
  /// The `client` of its ops; NBD's connections count from 1.
  static constexpr uint64_t kClient = 0;
  using Done = std::function<void(AccessAnswer)>;

  explicit BlockAccess(Core& core) : core_(core) {}

  /// `done` is called once: at once if the request is refused, else when the core has answered. Not at all if that never
  /// comes because the store ends first.
  void submit(ClientOp::Kind kind, AccessRequest request, Done done);
  void deliver(Reply reply);

 private:
  struct Waiting {
    uint64_t handle = 0;
    uint64_t length = 0;
    Done done;
  };

  Core& core_;
  uint64_t requests_ = 0;         // ever
  uint64_t in_flight_bytes_ = 0;  // of what waits
  std::unordered_map<uint64_t, Waiting> waiting_;
};

}  // namespace cloudfs::shell
