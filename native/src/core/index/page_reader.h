// Brings map pages that are not in memory. A page that several operations lack is read once.
#pragma once

#include <unordered_map>
#include <vector>

#include "core/base/io_queue.h"
#include "core/index/page_cache.h"
#include "core/log/segments.h"

namespace cloudfs {

/// An operation that lacks pages: told once, when all of them came or could not.
class PageWaiter {
 public:
  /// `error` is 0 or an errno (EIO: the disk's, or bytes that fail their checksum). The operation starts again.
  virtual void on_pages(int error) = 0;

  uint32_t pages_missing = 0;  // PageReader's
  int pages_error = 0;

 protected:
  ~PageWaiter() = default;
};

/// Told of pages whose bytes fail their checksum.
class CorruptionListener {
 public:
  virtual void on_corrupt_page(const Entry& entry, uint8_t level) = 0;

 protected:
  ~CorruptionListener() = default;
};

class PageReader final : IoOwner {
 public:
  PageReader(IoQueue& io, Segments& segments, PageCache& pages, CorruptionListener& listener);

  /// Reads what is missing (at least one page). The waiter must outlive its answer.
  void fetch(const MissingPages& missing, PageWaiter& waiter);
  /// Pages are on their way: what they are read from must stay.
  bool busy() const { return !reads_.empty(); }

 private:
  struct Read {
    MissingPage page;
    BufferRef buffer;
    std::vector<PageWaiter*> waiters;
  };
  void on_io(uint64_t cookie, int error) override;

  IoQueue& io_;
  Segments& segments_;
  PageCache& pages_;
  CorruptionListener& listener_;
  std::unordered_map<uint64_t, Read> reads_;  // by place
};

}  // namespace cloudfs
