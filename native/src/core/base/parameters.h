// What is fixed for a store from the outside: its sizes, and who it is.
#pragma once

#include <array>
#include <cstdint>

#include "core/base/ids.h"

namespace cloudfs {

/// A bug that simulations have to find: each is one line where it would be made. None can be had but through `SimCore`.
enum class Plant : uint8_t {
  none,
  ack_before_majority,
  flush_without_sync,
  freed_before_commit,
  torn_tail_accepted,
  trim_lost_in_catch_up,
  commit_before_own_append,
  own_tail_acknowledged,
  lease_ignored,
  boot_ignored,
  retried_request_applied_twice,
  old_view_commit,
  unsynced_promise,
  stale_replica_set,
  repair_unchecked,
  witness_counted_as_data,
  heir_leads_at_first_word,
};

/// Sizes and distances; tests use small ones. Defaults are what production uses.
struct CoreParams {
  uint32_t segment_log2 = 25;                 // 32 MiB
  uint32_t segment_limit = 512;               // physical segments, fixed at format
  uint8_t align_log2 = 12;                    // batch alignment (docs/disk-format.md)
  uint64_t checkpoint_bytes = 2ull << 30;     // log bytes between checkpoints
  uint64_t sync_bytes_max = 64ull << 20;      // unsynced bytes before a sync is issued by itself
  uint64_t sync_interval_ns = 1'000'000'000;  // unsynced age before a sync is issued by itself
  uint32_t record_body_bytes_max = 1u << 20;  // longer writes are split into several records
  uint32_t batch_body_bytes_max = 4u << 20;
  uint32_t prepared_segments = 2;  // written ahead of use
  uint32_t reserved_segments = 4;  // kept for cleaning and checkpoints; writes get ENOSPC before
  uint32_t reads_in_flight_max = 256;
  uint64_t map_bytes_max = 512ull << 20;  // of map pages in memory; past this clean ones are dropped
  Plant plant = Plant::none;
  // Views are decided by elections (docs/protocol.md). Without, a primary that starts again goes on in its old view.
  bool elections = false;
  // The kernel's; another one than before means that what was not synced may be lost (R1). With elections.
  std::array<uint8_t, 16> boot_id{};
};

/// Identity given at format.
struct StoreIdentity {
  StoreId store;
  HostId host;
  uint64_t generation = 1;
};

}  // namespace cloudfs
