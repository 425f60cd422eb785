// A run: consecutive records of one volume, moved blocks, or local items (docs/disk-format.md, Run).
//
// Decoding is a view: decode_run checks every byte once, against every rule of the page, and what it returns
// is read in place without further checks for as long as the bytes stay where they are. Encoding writes
// straight into the header area of a batch (batch.h): no value is built first and copied later, for a run is
// made per turn and a record per I/O.
#pragma once

#include <optional>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/checksum.h"
#include "core/base/error.h"
#include "core/base/ids.h"
#include "core/format/entry.h"

namespace cloudfs {

constexpr uint8_t kRunVersion = 1;
constexpr size_t kRunHeaderBytes = 128;
constexpr size_t kRecordHeaderBytes = 36;
constexpr size_t kExtentBytes = 12;
constexpr size_t kBlockSumBytes = 20;
constexpr size_t kMovedBlockBytes = 44;
constexpr size_t kLocalHeaderBytes = 8;
constexpr uint64_t kBlockCountMax = uint64_t{1} << 50;  // blocks of the largest volume
constexpr uint32_t kRunBytesMax = 64u << 20;            // no run is longer than a segment

enum class RunType : uint8_t { records = 1, moved = 2, local = 3 };
enum class RecordKind : uint8_t {
  write = 1,
  create = 2,
  view = 3,
  snapshot = 4,
  resize = 5,
  mode = 6,
  remove = 7,
  snapshot_remove = 8,
  attach = 9,
};
enum class ExtentKind : uint8_t { data = 1, zeroed = 2, trimmed = 3 };
enum class LocalKind : uint16_t {
  stamp = 1,
  promise = 2,
  commit = 3,
  boot = 4,
  stopped = 5,
  recovering = 6,
  dropped = 7,
  attachment = 8,
};

constexpr uint8_t kFlagRestart = 1;
constexpr uint8_t kFlagForce = 2;

struct RunHeader {
  RunType type = RunType::records;
  uint32_t run_bytes = 0;
  VolumeId volume;
  Epoch epoch;
  Lsn first_lsn = 0;
  uint32_t count = 0;
  uint32_t body_bytes = 0;
  Lsn commit_lsn = 0;
  SessionId session{};
  VersionId last_public;
  bool operator==(const RunHeader&) const = default;
};

/// Blocks [block, block + count).
struct Extent {
  uint64_t block = 0;
  uint32_t count = 0;
  ExtentKind kind = ExtentKind::data;
  uint64_t end() const { return block + count; }
  bool operator==(const Extent&) const = default;
};

/// `from_segment` of a block that came from another host; no segment has this id.
constexpr uint32_t kFromElsewhere = UINT32_MAX;

struct MovedBlock {
  uint64_t block = 0;
  Lsn birth = 0;
  uint32_t from_segment = 0;
  uint16_t from_slot = 0;
  BlockSum sum;
  bool operator==(const MovedBlock&) const = default;
};

struct LocalItem {
  LocalKind kind{};
  ByteSpan bytes;
};

/// True if `bytes` is what a local item of this kind may hold (docs/disk-format.md, Local item).
bool local_item_valid(LocalKind kind, ByteSpan bytes);

/// One record, read in place.
class RecordView {
 public:
  RecordView(const uint8_t* at, Lsn lsn, uint32_t body_offset)
      : at_(at), lsn_(lsn), body_offset_(body_offset) {}

  RecordKind kind() const { return static_cast<RecordKind>(at_[0]); }
  uint8_t flags() const { return at_[1]; }
  uint16_t extent_count() const { return load<uint16_t>(at_ + 2); }
  uint32_t record_bytes() const { return load<uint32_t>(at_ + 4); }
  uint64_t request_sequence() const { return load<uint64_t>(at_ + 8); }
  Token parent() const { return load_id<Token>(at_ + 16); }
  Lsn lsn() const { return lsn_; }

  Extent extent(size_t index) const;       // index < extent_count()
  uint32_t data_blocks() const;            // blocks stored in the body
  BlockSum block_sum(size_t index) const;  // index < data_blocks()
  uint32_t block_crc(size_t index) const;
  /// Where the record's first block stands in the body of its run; block i of data_blocks() is 4096 × i
  /// further.
  uint32_t body_offset() const { return body_offset_; }

  /// Extents, or payload with its padding, as stored: what the token covers.
  ByteSpan content() const;
  /// Payload of a control record, with its padding.
  ByteSpan payload() const { return content(); }
  /// All bytes of the descriptor.
  ByteSpan bytes() const { return {at_, record_bytes()}; }

 private:
  const uint8_t* at_;
  Lsn lsn_;
  uint32_t body_offset_;
};

/// A run that was checked. Copies are cheap; the bytes must outlive them.
class RunView {
 public:
  const RunHeader& header() const { return header_; }
  ByteSpan bytes() const { return bytes_; }
  Lsn last_lsn() const { return header_.first_lsn + header_.count - 1; }  // type records

  class RecordIterator {
   public:
    using value_type = RecordView;
    using difference_type = std::ptrdiff_t;
    RecordIterator(const uint8_t* at, Lsn lsn) : at_(at), lsn_(lsn) {}
    RecordView operator*() const { return {at_, lsn_, body_offset_}; }
    RecordIterator& operator++() {
      const RecordView record = **this;
      body_offset_ += record.data_blocks() * kBlockBytes;
      at_ += record.record_bytes();
      ++lsn_;
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(const RecordIterator& other) const { return at_ == other.at_; }

   private:
    const uint8_t* at_;
    Lsn lsn_;
    uint32_t body_offset_ = 0;
  };
  struct Records {
    RecordIterator first, last;
    RecordIterator begin() const { return first; }
    RecordIterator end() const { return last; }
  };
  /// Type records: for (const RecordView record : run.records()).
  Records records() const;

  /// Type moved: index < header().count; the block stands at 4096 × index in the body.
  MovedBlock moved_block(size_t index) const;

  /// Type local: calls visit(LocalItem) for each in order.
  template <class Visit>
  void each_local_item(Visit visit) const {
    ByteReader reader(bytes_.subspan(kRunHeaderBytes));
    for (uint32_t index = 0; index < header_.count; ++index) {
      const auto kind = static_cast<LocalKind>(reader.u16());
      reader.u16();
      const uint32_t length = reader.u32();
      const ByteSpan content = reader.bytes(length);
      reader.bytes((4 - length % 4) % 4);
      visit(LocalItem{kind, content});
    }
  }

 private:
  friend Result<RunView> decode_run(ByteSpan bytes);
  RunHeader header_;
  ByteSpan bytes_;
};

/// Checks and views the run at the start of `bytes`; more may follow it. Fails with ERR_RECORD_CORRUPT
/// (a malformed payload of a control record included), ERR_RECORD_VERSION.
Result<RunView> decode_run(ByteSpan bytes);

/// `runBytes` and `bodyBytes` of the run whose first kRunHeaderBytes these are, within bounds but not
/// verified: how much to receive before decode_run can be asked.
struct RunLengths {
  uint32_t run_bytes = 0;
  uint32_t body_bytes = 0;
};
Result<RunLengths> peek_run(ByteSpan header);

/// crc of every block of a run's body (records and moved blocks): what a reader of the log and a replica
/// check. ERR_BLOCK_CORRUPT with the offset in the body.
Result<void> verify_body_crcs(const RunView& run, ByteSpan body);

/// The digests: scrub, catch-up, and a replica before it leads.
Result<void> verify_body_digests(const RunView& run, ByteSpan body);

/// Descriptor bytes of a write of so many extents and data blocks.
constexpr size_t write_record_bytes(size_t extents, size_t data_blocks) {
  return kRecordHeaderBytes + kExtentBytes * extents + kBlockSumBytes * data_blocks;
}
/// The most that RunBuilder::add_write needs for a write of `blocks` blocks, wherever zeros lie in it.
constexpr size_t write_record_bytes_max(size_t blocks) {
  return write_record_bytes(blocks, blocks);
}
constexpr size_t control_record_bytes(size_t payload_bytes) {
  return kRecordHeaderBytes + static_cast<size_t>(align_up(payload_bytes, 4));
}
constexpr size_t local_item_bytes(size_t length) {
  return kLocalHeaderBytes + static_cast<size_t>(align_up(length, 4));
}

/// Writes one run into memory of the caller, who has made sure of the room (the constants and functions
/// above); running out of it is a bug. Items follow one another; finish() completes header and checksum.
class RunBuilder {
 public:
  /// Of `header` the type, volume, epoch, first_lsn, commit_lsn and session are taken; the rest is filled in.
  RunBuilder(std::span<uint8_t> out, const RunHeader& header);

  // Type records. Each returns the record as written; its views hold until the bytes move. Lsns count up by
  // themselves.

  /// A write of whole blocks: `bytes` goes to `first_block` on. Blocks of zeros become zeroed extents, the
  /// others data extents with crc and digest. The body is the data extents' bytes in order: no copy is made,
  /// the caller gathers them from `bytes` (the extents of the record returned say which). `digests`: one per block, if
  /// they are made already; what it says of a block of zeros is not looked at.
  RecordView add_write(const Token& parent, uint64_t request_sequence, uint64_t first_block, ByteSpan bytes,
                       std::span<const BlockDigest> digests = {});

  /// A write given by extents: trims, zeroes, and data whose sums (one per data block, in order) are known
  /// already.
  RecordView add_extents(const Token& parent, uint64_t request_sequence, std::span<const Extent> extents,
                         std::span<const BlockSum> sums = {});

  /// Any other kind. `payload` is padded here.
  RecordView add_control(RecordKind kind, uint8_t flags, const Token& parent, uint64_t request_sequence,
                         ByteSpan payload);

  /// Type moved.
  void add_moved(const MovedBlock& block);

  /// Type local.
  void add_local(LocalKind kind, ByteSpan bytes);

  /// Completes the run: at least one item was added; `last_public` is zero for moved and local.
  /// @returns its bytes, runBytes long, at the start of `out`
  ByteSpan finish(const VersionId& last_public = {});

  /// What is filled in so far: run_bytes, count, body_bytes; last_public only after finish().
  const RunHeader& header() const { return header_; }
  size_t room() const { return out_.size() - header_.run_bytes; }

 private:
  RecordView add_record(RecordKind kind, uint8_t flags, uint16_t extent_count, const Token& parent,
                        uint64_t request_sequence, size_t record_bytes, uint32_t data_blocks);
  void grow(size_t bytes, uint32_t data_blocks);

  std::span<uint8_t> out_;
  RunHeader header_;
};

}  // namespace cloudfs
