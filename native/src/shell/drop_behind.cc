#include "shell/drop_behind.h"

#include <fcntl.h>

#include <algorithm>

namespace cloudfs::shell {

namespace {

// A range ends here, so that a window is cut about this fine.
constexpr uint64_t kRangeBytesMax = 4ull << 20;
// Appends to several segments take turns: this many of the newest ranges may grow.
constexpr size_t kOpenRanges = 4;

}  // namespace

void DropBehind::wrote(const std::shared_ptr<StoreFile>& file, uint64_t offset, uint64_t bytes) {
  bytes_ += bytes;
  const size_t open = std::min(ranges_.size(), kOpenRanges);
  for (auto range = ranges_.rbegin(); range != ranges_.rbegin() + static_cast<ptrdiff_t>(open); ++range) {
    if (range->file != file || range->offset + range->bytes != offset || range->bytes >= kRangeBytesMax)
      continue;
    range->bytes += bytes;
    return;
  }
  ranges_.push_back({file, offset, bytes});
}

std::vector<DropBehind::Range> DropBehind::take() {
  std::vector<Range> taken;
  while (!ranges_.empty() && bytes_ - ranges_.front().bytes >= window_bytes_) {
    bytes_ -= ranges_.front().bytes;
    taken.push_back(std::move(ranges_.front()));
    ranges_.pop_front();
  }
  return taken;
}

void DropBehind::drop(const std::vector<Range>& ranges) {
  for (const Range& range : ranges) {
    // Advice: if it is not taken, memory is used, nothing more.
    (void)::posix_fadvise(range.file->fd.get(), static_cast<off_t>(range.offset),
                          static_cast<off_t>(range.bytes), POSIX_FADV_DONTNEED);
  }
}

}  // namespace cloudfs::shell
