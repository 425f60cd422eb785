// Which pages of index segments are in use. A checkpoint takes slots that are free in the published one, marks what it
// reaches, and once it is published what is not marked is free: no other accounting (docs/core.md, Checkpoint).
//
// `Segment::bits` of an index segment are the pages that the published checkpoint reaches; a bit more while a read that
// began under an earlier one needs the page.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "core/base/io_queue.h"
#include "core/base/parameters.h"
#include "core/log/appender.h"
#include "core/log/segments.h"

namespace cloudfs {

class IndexSlots {
 public:
  IndexSlots(IoQueue& io, Segments& segments) : io_(io), segments_(segments) {}

  /// Index segments, and which of their pages are in use, are known.
  void begin(const StoreIdentity& identity, uint64_t start);

  /// From here on slots are taken and marked for a new checkpoint.
  void start_marking();
  /// A free page, marked. Opens a segment where needed; its header is written by `owner`, who is told with `cookie`.
  /// @returns nothing if no segment is ready
  std::optional<Entry> take(IoOwner& owner, uint64_t cookie, uint32_t& headers_written);
  /// The checkpoint reaches this page. @returns whether that is news
  bool mark(const Entry& entry);
  void unmark(const Entry& entry);
  bool marked(const Segment& segment) const { return marks_.contains(segment.logical); }
  /// Places that were written for this checkpoint.
  const std::vector<uint32_t>& written() const { return written_; }
  /// The checkpoint is published: what is not marked is free.
  void publish();

  /// Pages that can be taken without opening a segment.
  uint64_t free_pages() const { return free_pages_; }
  uint64_t pages_per_segment() const { return segments_.segment_bytes() / kBlockBytes - 1; }

 private:
  using Bits = std::vector<uint64_t>;
  Bits& marks_of(const Segment& segment);
  void note_written(uint32_t physical);
  void recount();

  IoQueue& io_;
  Segments& segments_;
  StoreIdentity identity_;
  uint64_t start_ = 0;
  uint64_t free_pages_ = 0;
  std::map<uint32_t, Bits> marks_;  // by logical id
  std::vector<uint32_t> written_;
  // Where the search for a free page goes on.
  uint32_t physical_ = 0;
  uint32_t page_ = 1;
};

}  // namespace cloudfs
