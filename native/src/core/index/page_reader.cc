#include "core/index/page_reader.h"

#include <cerrno>
#include <utility>

namespace cloudfs {

PageReader::PageReader(IoQueue& io, Segments& segments, PageCache& pages, CorruptionListener& listener)
    : io_(io), segments_(segments), pages_(pages), listener_(listener) {}

void PageReader::fetch(const MissingPages& missing, PageWaiter& waiter) {
  ensure(!missing.empty() && waiter.pages_missing == 0, "an operation waits for pages once at a time");
  waiter.pages_error = 0;
  for (const MissingPage& page : missing) {
    const uint64_t key = uint64_t{page.entry.segment} << 16 | page.entry.slot;
    const auto [at, added] = reads_.try_emplace(key);
    Read& read = at->second;
    ensure(added || read.page.level == page.level, "one place holds one page");
    read.waiters.push_back(&waiter);
    ++waiter.pages_missing;
    if (!added) continue;
    // The pin keeps the place from being given to other pages once a checkpoint no longer reaches this one.
    Segment& segment = segments_.at(page.entry.segment);
    ++segment.pins;
    read.page = page;
    read.buffer = BufferRef(pages_.page_bytes());
    io_.read(*this, key, segment.physical, uint64_t{page.entry.slot} * kSlotBytes, pages_.page_bytes(),
             read.buffer);
  }
}

void PageReader::on_io(uint64_t cookie, int error) {
  const auto at = reads_.find(cookie);
  ensure(at != reads_.end(), "a page that was asked for is read");
  const Read read = std::move(at->second);
  reads_.erase(at);
  --segments_.at(read.page.entry.segment).pins;
  if (error == 0 && !pages_.install(read.page, read.buffer.data())) {
    listener_.on_corrupt_page(read.page.entry, read.page.level);
    error = EIO;
  }
  for (PageWaiter* waiter : read.waiters) {
    if (error != 0) waiter->pages_error = error;
    if (--waiter->pages_missing == 0) waiter->on_pages(waiter->pages_error);
  }
}

}  // namespace cloudfs
