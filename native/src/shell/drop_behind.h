// Keeps what a store has written from filling the page cache: only the newest WINDOW bytes stay there, the rest is
// dropped once it is synced. Guests cache what they read, so a host's memory is worth more to them; and memory that is
// used again is warm, where memory taken from all of the host costs faults.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "shell/device.h"

namespace cloudfs::shell {

constexpr uint64_t kDropBehindWindowBytes = 256ull << 20;

/// Belongs to the loop's thread; drop() may run on any.
class DropBehind {
 public:
  struct Range {
    std::shared_ptr<StoreFile> file;
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };

  explicit DropBehind(uint64_t window_bytes = kDropBehindWindowBytes) : window_bytes_(window_bytes) {}

  void wrote(const std::shared_ptr<StoreFile>& file, uint64_t offset, uint64_t bytes);

  /// The oldest ranges, beyond the window. They are to be dropped when a sync that starts now has ended.
  std::vector<Range> take();

  static void drop(const std::vector<Range>& ranges);

 private:
  const uint64_t window_bytes_;
  std::deque<Range> ranges_;  // oldest first
  uint64_t bytes_ = 0;        // of all
};

}  // namespace cloudfs::shell
