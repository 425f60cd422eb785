#include "core/format/run.h"

#include "core/format/payload.h"

namespace cloudfs {

namespace {

constexpr size_t kCrcOffset = 124;
constexpr uint64_t kExtentBlockMask = (uint64_t{1} << 56) - 1;

DecodeError corrupt(const char* message, uint64_t offset) {
  return {ErrorCode::record_corrupt, message, offset};
}

Extent load_extent(const uint8_t* at) {
  const uint64_t word = load<uint64_t>(at);
  return {word & kExtentBlockMask, load<uint32_t>(at + 8), static_cast<ExtentKind>(word >> 56)};
}

void store_extent(uint8_t* at, const Extent& extent) {
  store(at, extent.block | static_cast<uint64_t>(extent.kind) << 56);
  store(at + 8, extent.count);
}

BlockSum load_sum(const uint8_t* at) {
  BlockSum sum;
  sum.crc = load<uint32_t>(at);
  std::memcpy(sum.digest.data(), at + 4, sum.digest.size());
  return sum;
}

void store_sum(uint8_t* at, const BlockSum& sum) {
  store(at, sum.crc);
  std::memcpy(at + 4, sum.digest.data(), sum.digest.size());
}

/// What the descriptors of a run add up to, or why they are refused.
struct Checked {
  const char* fault = nullptr;
  uint64_t offset = 0;
  uint64_t body_bytes = 0;
};

/// The extents of a write and the sums they call for fill [36, recordBytes).
Checked check_write(const uint8_t* record, size_t record_bytes) {
  const size_t extent_count = load<uint16_t>(record + 2);
  if (extent_count == 0) return {"a write without extents", 2};
  if (kRecordHeaderBytes + kExtentBytes * extent_count > record_bytes)
    return {"the extents are longer than the record", 2};
  uint64_t end = 0;
  uint64_t data_blocks = 0;
  for (size_t index = 0; index < extent_count; ++index) {
    const size_t offset = kRecordHeaderBytes + kExtentBytes * index;
    const Extent extent = load_extent(record + offset);
    const auto kind = static_cast<uint8_t>(extent.kind);
    if (kind < 1 || kind > 3) return {"the extent's kind is unknown", offset};
    if (extent.count == 0 || extent.block < end || extent.end() > kBlockCountMax)
      return {"an extent is empty, out of order or out of range", offset};
    end = extent.end();
    if (extent.kind == ExtentKind::data) data_blocks += extent.count;
  }
  if (write_record_bytes(extent_count, data_blocks) != record_bytes)
    return {"the record's length does not fit its extents", 4};
  return {nullptr, 0, data_blocks * kBlockBytes};
}

/// The lsn a create has to have, or nullopt if its payload is refused.
std::optional<Lsn> create_lsn(ByteSpan payload) {
  const Result<CreatePayload> create = decode_create(payload);
  if (!create) return std::nullopt;
  return (create->parent ? create->parent->lsn : 0) + 1;
}

bool payload_valid(RecordKind kind, ByteSpan payload, Lsn lsn) {
  switch (kind) {
    case RecordKind::write:
      return false;
    case RecordKind::create:
      return create_lsn(payload) == lsn;
    case RecordKind::view:
      return decode_view(payload).ok();
    case RecordKind::snapshot:
    case RecordKind::snapshot_remove:
      return decode_snapshot_name(payload).ok();
    case RecordKind::resize:
      return decode_resize(payload).ok();
    case RecordKind::mode:
      return decode_mode(payload).ok();
    case RecordKind::remove:
      return payload.empty();
    case RecordKind::attach:
      return true;
  }
  return false;
}

/// One descriptor at the start of `bytes`, which end with the run. `first`: it is the run's first record.
Checked check_record(ByteSpan bytes, Lsn lsn, bool first) {
  if (bytes.size() < kRecordHeaderBytes) return {"a record is cut off", 0};
  const uint8_t* record = bytes.data();
  const size_t record_bytes = load<uint32_t>(record + 4);
  if (record_bytes < kRecordHeaderBytes || record_bytes % 4 != 0 || record_bytes > bytes.size())
    return {"the record's length does not fit the run", 4};
  if (record[0] < 1 || record[0] > 9) return {"the record's kind is unknown", 0};
  const auto kind = static_cast<RecordKind>(record[0]);
  const uint8_t flags_known = kind == RecordKind::view ? kFlagRestart | kFlagForce : 0;
  if ((record[1] & ~flags_known) != 0) return {"an unknown flag is set", 1};
  const bool starts_view = kind == RecordKind::create || kind == RecordKind::view;
  if (starts_view && !first) return {"a view begins inside a run", 0};
  if (load_id<Token>(record + 16).is_zero() != (kind == RecordKind::create))
    return {"the parent is zero in a create and nowhere else", 16};
  if (kind == RecordKind::write) return check_write(record, record_bytes);
  if (load<uint16_t>(record + 2) != 0) return {"a record that is no write has extents", 2};
  const ByteSpan payload = bytes.subspan(kRecordHeaderBytes, record_bytes - kRecordHeaderBytes);
  if (!payload_valid(kind, payload, lsn)) return {"the payload is not valid", kRecordHeaderBytes};
  return {};
}

Checked check_records(ByteSpan bytes, const RunHeader& header) {
  if (header.first_lsn == 0 || header.first_lsn > kLsnMax || header.count - 1 > kLsnMax - header.first_lsn)
    return {"the lsns are out of range", 56};
  uint64_t body_bytes = 0;
  size_t offset = kRunHeaderBytes;
  for (uint32_t index = 0; index < header.count; ++index) {
    const Checked record = check_record(bytes.subspan(offset), header.first_lsn + index, index == 0);
    if (record.fault != nullptr) return {record.fault, offset + record.offset};
    body_bytes += record.body_bytes;
    offset += load<uint32_t>(bytes.data() + offset + 4);
  }
  if (offset != bytes.size()) return {"the run does not end with its last record", offset};
  return {nullptr, 0, body_bytes};
}

Checked check_moved(ByteSpan bytes, const RunHeader& header) {
  if (bytes.size() - kRunHeaderBytes != uint64_t{kMovedBlockBytes} * header.count)
    return {"the run's length does not fit its count", 64};
  for (size_t offset = kRunHeaderBytes; offset < bytes.size(); offset += kMovedBlockBytes) {
    const uint8_t* at = bytes.data() + offset;
    if (load<uint64_t>(at) >= kBlockCountMax) return {"the block number is out of range", offset};
    const Lsn birth = load<uint64_t>(at + 8);
    if (birth == 0 || birth > kLsnMax) return {"the birth is out of range", offset + 8};
    if (load<uint32_t>(at + 16) == 0) return {"a block was moved from nowhere", offset + 16};
    if (load<uint16_t>(at + 22) != 0) return {"reserved bytes are not zero", offset + 22};
  }
  return {nullptr, 0, uint64_t{header.count} * kBlockBytes};
}

Checked check_local(ByteSpan bytes, const RunHeader& header) {
  ByteReader reader(bytes.subspan(kRunHeaderBytes));
  for (uint32_t index = 0; index < header.count; ++index) {
    const uint64_t offset = kRunHeaderBytes + reader.offset();
    const auto kind = static_cast<LocalKind>(reader.u16());
    reader.zeros(2);
    const uint32_t length = reader.u32();
    const ByteSpan content = reader.bytes(length);
    reader.zeros((4 - length % 4) % 4);
    if (!reader.ok() || !local_item_valid(kind, content)) return {"a local item is not valid", offset};
  }
  if (reader.remaining() != 0)
    return {"the run does not end with its last item", kRunHeaderBytes + reader.offset()};
  return {};
}

RunHeader load_header(const uint8_t* at) {
  RunHeader header;
  header.type = static_cast<RunType>(at[0]);
  header.run_bytes = load<uint32_t>(at + 4);
  header.volume = load_id<VolumeId>(at + 8);
  header.epoch.host = load_id<HostId>(at + 28);
  header.epoch.counter = load<uint64_t>(at + 48);
  header.first_lsn = load<uint64_t>(at + 56);
  header.count = load<uint32_t>(at + 64);
  header.body_bytes = load<uint32_t>(at + 68);
  header.commit_lsn = load<uint64_t>(at + 72);
  std::memcpy(header.session.data(), at + 80, header.session.size());
  header.last_public = load_id<VersionId>(at + 96);
  return header;
}

void store_header(uint8_t* at, const RunHeader& header) {
  at[0] = static_cast<uint8_t>(header.type);
  at[1] = kRunVersion;
  store(at + 2, uint16_t{0});
  store(at + 4, header.run_bytes);
  store_id(at + 8, header.volume);
  store_id(at + 28, header.epoch.host);
  store(at + 48, header.epoch.counter);
  store(at + 56, header.first_lsn);
  store(at + 64, header.count);
  store(at + 68, header.body_bytes);
  store(at + 72, header.commit_lsn);
  std::memcpy(at + 80, header.session.data(), header.session.size());
  store_id(at + 96, header.last_public);
  store(at + 116, uint64_t{0});
}

DecodeError refuse_block(const uint8_t* block, ByteSpan body) {
  const auto offset = static_cast<size_t>(block - body.data());
  return {ErrorCode::block_corrupt, "a block differs from its checksum", offset};
}

/// Calls check(sum, block) for each block of the body; false: the first that is refused.
template <class Check>
Result<void> each_body_block(const RunView& run, ByteSpan body, Check check) {
  if (body.size() < run.header().body_bytes)
    return DecodeError{ErrorCode::block_corrupt, "the body is cut off", body.size()};
  if (run.header().type == RunType::moved) {
    for (uint32_t index = 0; index < run.header().count; ++index) {
      const uint8_t* block = body.data() + size_t{index} * kBlockBytes;
      if (!check(run.moved_block(index).sum, block)) return refuse_block(block, body);
    }
  } else if (run.header().type == RunType::records) {
    for (const RecordView record : run.records()) {
      for (uint32_t index = 0; index < record.data_blocks(); ++index) {
        const uint8_t* block = body.data() + record.body_offset() + size_t{index} * kBlockBytes;
        if (!check(record.block_sum(index), block)) return refuse_block(block, body);
      }
    }
  }
  return {};
}

}  // namespace

bool local_item_valid(LocalKind kind, ByteSpan bytes) {
  switch (kind) {
    case LocalKind::stamp:
      return bytes.size() == sizeof(Stamp);
    case LocalKind::promise:
      return bytes.size() == 28 && load<uint64_t>(bytes.data()) <= kLsnMax;
    case LocalKind::commit:
      return bytes.size() == 8 && load<uint64_t>(bytes.data()) <= kLsnMax;
    case LocalKind::boot:
      return bytes.size() == 16;
    case LocalKind::stopped:
    case LocalKind::recovering:
      return bytes.size() == 1 && bytes[0] <= 1;
    case LocalKind::dropped:
      return bytes.empty();
    case LocalKind::attachment:
      return true;
  }
  return false;
}

Extent RecordView::extent(size_t index) const {
  return load_extent(at_ + kRecordHeaderBytes + kExtentBytes * index);
}

uint32_t RecordView::data_blocks() const {
  if (kind() != RecordKind::write) return 0;
  return (record_bytes() - static_cast<uint32_t>(kRecordHeaderBytes + kExtentBytes * extent_count())) /
         static_cast<uint32_t>(kBlockSumBytes);
}

BlockSum RecordView::block_sum(size_t index) const {
  return load_sum(at_ + write_record_bytes(extent_count(), index));
}

uint32_t RecordView::block_crc(size_t index) const {
  return load<uint32_t>(at_ + write_record_bytes(extent_count(), index));
}

ByteSpan RecordView::content() const {
  const size_t end = kind() == RecordKind::write ? write_record_bytes(extent_count(), 0) : record_bytes();
  return {at_ + kRecordHeaderBytes, end - kRecordHeaderBytes};
}

RunView::Records RunView::records() const {
  ensure(header_.type == RunType::records, "only a run of records has records");
  const uint8_t* start = bytes_.data();
  return {{start + kRunHeaderBytes, header_.first_lsn}, {start + bytes_.size(), 0}};
}

MovedBlock RunView::moved_block(size_t index) const {
  ensure(header_.type == RunType::moved && index < header_.count, "a moved block is inside its run");
  const uint8_t* at = bytes_.data() + kRunHeaderBytes + kMovedBlockBytes * index;
  return {load<uint64_t>(at), load<uint64_t>(at + 8), load<uint32_t>(at + 16), load<uint16_t>(at + 20),
          load_sum(at + 24)};
}

Result<RunLengths> peek_run(ByteSpan header) {
  if (header.size() < kRunHeaderBytes) return corrupt("the run's header is cut off", header.size());
  const RunLengths lengths{load<uint32_t>(header.data() + 4), load<uint32_t>(header.data() + 68)};
  if (lengths.run_bytes < kRunHeaderBytes || lengths.run_bytes % 4 != 0 || lengths.run_bytes > kRunBytesMax)
    return corrupt("the run's length is out of range", 4);
  if (lengths.body_bytes % kBlockBytes != 0 || lengths.body_bytes > kRunBytesMax)
    return corrupt("the body's length is out of range", 68);
  return lengths;
}

Result<RunView> decode_run(ByteSpan bytes) {
  if (bytes.size() < kRunHeaderBytes) return corrupt("the run's header is cut off", bytes.size());
  const uint8_t* at = bytes.data();
  const uint32_t run_bytes = load<uint32_t>(at + 4);
  if (run_bytes < kRunHeaderBytes || run_bytes % 4 != 0 || run_bytes > bytes.size())
    return corrupt("the run's length does not fit the bytes", 4);
  bytes = bytes.first(run_bytes);
  if (load<uint32_t>(at + kCrcOffset) != crc32c_without(bytes, kCrcOffset))
    return corrupt("the run fails its checksum", kCrcOffset);
  if (at[1] > kRunVersion)
    return DecodeError{ErrorCode::record_version, "the run is of a later format version", 1};
  if (at[1] == 0) return corrupt("the format version is 0", 1);

  const RunHeader header = load_header(at);
  if (at[0] < 1 || at[0] > 3) return corrupt("the run's type is unknown", 0);
  if (load<uint16_t>(at + 2) != 0 || load<uint64_t>(at + 116) != 0)
    return corrupt("reserved bytes are not zero", 2);
  if (header.epoch.counter > kLsnMax) return corrupt("the epoch is out of range", 48);
  if (header.commit_lsn > kLsnMax) return corrupt("the commit point is out of range", 72);
  if (header.count == 0) return corrupt("the run is empty", 64);
  if (header.type != RunType::records && (header.first_lsn != 0 || !header.last_public.is_zero()))
    return corrupt("a run without records has an lsn or a public id", 56);
  const Checked checked = header.type == RunType::records ? check_records(bytes, header)
                          : header.type == RunType::moved ? check_moved(bytes, header)
                                                          : check_local(bytes, header);
  if (checked.fault != nullptr) return corrupt(checked.fault, checked.offset);
  if (checked.body_bytes != header.body_bytes)
    return corrupt("the body's length does not fit the records", 68);

  RunView view;
  view.header_ = header;
  view.bytes_ = bytes;
  return view;
}

Result<void> verify_body_crcs(const RunView& run, ByteSpan body) {
  return each_body_block(
      run, body, [](const BlockSum& sum, const uint8_t* block) { return sum.crc == block_crc(block); });
}

Result<void> verify_body_digests(const RunView& run, ByteSpan body) {
  std::vector<const uint8_t*> blocks;
  std::vector<BlockDigest> told;
  const Result<void> whole = each_body_block(run, body, [&](const BlockSum& sum, const uint8_t* block) {
    blocks.push_back(block);
    told.push_back(sum.digest);
    return true;
  });
  if (!whole) return whole;
  std::vector<BlockDigest> digests(blocks.size());
  block_digests(blocks, digests);
  const auto differ = std::mismatch(digests.begin(), digests.end(), told.begin()).first;
  if (differ == digests.end()) return {};
  return refuse_block(blocks[static_cast<size_t>(differ - digests.begin())], body);
}

RunBuilder::RunBuilder(std::span<uint8_t> out, const RunHeader& header) : out_(out), header_(header) {
  ensure(out.size() >= kRunHeaderBytes, "there is room for the run's header");
  header_.run_bytes = kRunHeaderBytes;
  header_.count = 0;
  header_.body_bytes = 0;
  header_.last_public = {};
}

RecordView RunBuilder::add_write(const Token& parent, uint64_t request_sequence, uint64_t first_block,
                                 ByteSpan bytes, std::span<const BlockDigest> digests) {
  const size_t blocks = bytes.size() / kBlockBytes;
  ensure(blocks > 0 && bytes.size() % kBlockBytes == 0, "a write record is of whole blocks");
  ensure(digests.empty() || digests.size() == blocks, "each block has its digest");
  ensure(room() >= write_record_bytes_max(blocks), "there is room for the record");
  ensure(!parent.is_zero(), "a write follows another record");
  uint8_t* at = out_.data() + header_.run_bytes;

  // Extents first, since the sums stand behind all of them; zeros are found in passing.
  size_t extent_count = 0;
  uint32_t data_blocks = 0;
  Extent extent;
  for (size_t index = 0; index < blocks; ++index) {
    const bool zero = is_zero_block(bytes.data() + index * kBlockBytes);
    const ExtentKind kind = zero ? ExtentKind::zeroed : ExtentKind::data;
    data_blocks += zero ? 0 : 1;
    if (extent.count != 0 && kind == extent.kind) {
      ++extent.count;
    } else {
      if (extent.count != 0) store_extent(at + write_record_bytes(extent_count++, 0), extent);
      extent = {first_block + index, 1, kind};
    }
  }
  store_extent(at + write_record_bytes(extent_count++, 0), extent);
  ensure(extent_count <= UINT16_MAX, "a record has at most 65535 extents");

  uint8_t* sum_at = at + write_record_bytes(extent_count, 0);
  for (size_t index = 0; index < extent_count; ++index) {
    const Extent written = load_extent(at + write_record_bytes(index, 0));
    if (written.kind != ExtentKind::data) continue;
    const size_t from = written.block - first_block;
    for (size_t at_block = from; at_block < from + written.count; ++at_block, sum_at += kBlockSumBytes) {
      const uint8_t* block = bytes.data() + at_block * kBlockBytes;
      store_sum(sum_at, digests.empty() ? sum_block(block) : BlockSum{block_crc(block), digests[at_block]});
    }
  }
  return add_record(RecordKind::write, 0, static_cast<uint16_t>(extent_count), parent, request_sequence,
                    write_record_bytes(extent_count, data_blocks), data_blocks);
}

RecordView RunBuilder::add_extents(const Token& parent, uint64_t request_sequence,
                                   std::span<const Extent> extents, std::span<const BlockSum> sums) {
  ensure(!extents.empty() && extents.size() <= UINT16_MAX, "a record has 1 to 65535 extents");
  ensure(!parent.is_zero(), "a write follows another record");
  const size_t record_bytes = write_record_bytes(extents.size(), sums.size());
  ensure(room() >= record_bytes, "there is room for the record");
  uint8_t* at = out_.data() + header_.run_bytes;
  uint64_t data_blocks = 0;
  for (size_t index = 0; index < extents.size(); ++index) {
    if (extents[index].kind == ExtentKind::data) data_blocks += extents[index].count;
    store_extent(at + write_record_bytes(index, 0), extents[index]);
  }
  ensure(data_blocks == sums.size(), "each data block has its sums");
  for (size_t index = 0; index < sums.size(); ++index)
    store_sum(at + write_record_bytes(extents.size(), index), sums[index]);
  return add_record(RecordKind::write, 0, static_cast<uint16_t>(extents.size()), parent, request_sequence,
                    record_bytes, static_cast<uint32_t>(data_blocks));
}

RecordView RunBuilder::add_control(RecordKind kind, uint8_t flags, const Token& parent,
                                   uint64_t request_sequence, ByteSpan payload) {
  ensure(kind != RecordKind::write, "a write has extents");
  ensure(parent.is_zero() == (kind == RecordKind::create), "only a create has no record before it");
  const size_t record_bytes = control_record_bytes(payload.size());
  ensure(room() >= record_bytes, "there is room for the record");
  uint8_t* at = out_.data() + header_.run_bytes + kRecordHeaderBytes;
  if (!payload.empty()) std::memcpy(at, payload.data(), payload.size());
  std::memset(at + payload.size(), 0, record_bytes - kRecordHeaderBytes - payload.size());
  return add_record(kind, flags, 0, parent, request_sequence, record_bytes, 0);
}

RecordView RunBuilder::add_record(RecordKind kind, uint8_t flags, uint16_t extent_count, const Token& parent,
                                  uint64_t request_sequence, size_t record_bytes, uint32_t data_blocks) {
  ensure(header_.type == RunType::records, "records stand in a run of records");
  uint8_t* at = out_.data() + header_.run_bytes;
  at[0] = static_cast<uint8_t>(kind);
  at[1] = flags;
  store(at + 2, extent_count);
  store(at + 4, static_cast<uint32_t>(record_bytes));
  store(at + 8, request_sequence);
  store_id(at + 16, parent);
  const RecordView record(at, header_.first_lsn + header_.count, header_.body_bytes);
  grow(record_bytes, data_blocks);
  return record;
}

void RunBuilder::add_moved(const MovedBlock& block) {
  ensure(header_.type == RunType::moved, "moved blocks stand in a run of moved blocks");
  ensure(room() >= kMovedBlockBytes, "there is room for the moved block");
  uint8_t* at = out_.data() + header_.run_bytes;
  store(at, block.block);
  store(at + 8, block.birth);
  store(at + 16, block.from_segment);
  store(at + 20, block.from_slot);
  store(at + 22, uint16_t{0});
  store_sum(at + 24, block.sum);
  grow(kMovedBlockBytes, 1);
}

void RunBuilder::add_local(LocalKind kind, ByteSpan bytes) {
  ensure(header_.type == RunType::local, "local items stand in a run of local items");
  ensure(local_item_valid(kind, bytes), "a local item has the length of its kind");
  const size_t item_bytes = local_item_bytes(bytes.size());
  ensure(room() >= item_bytes, "there is room for the local item");
  uint8_t* at = out_.data() + header_.run_bytes;
  store(at, static_cast<uint16_t>(kind));
  store(at + 2, uint16_t{0});
  store(at + 4, static_cast<uint32_t>(bytes.size()));
  if (!bytes.empty()) std::memcpy(at + kLocalHeaderBytes, bytes.data(), bytes.size());
  std::memset(at + kLocalHeaderBytes + bytes.size(), 0, item_bytes - kLocalHeaderBytes - bytes.size());
  grow(item_bytes, 0);
}

void RunBuilder::grow(size_t bytes, uint32_t data_blocks) {
  ensure(header_.body_bytes + uint64_t{data_blocks} * kBlockBytes <= kRunBytesMax, "a run fits a segment");
  header_.run_bytes += static_cast<uint32_t>(bytes);
  ++header_.count;
  header_.body_bytes += data_blocks * kBlockBytes;
}

ByteSpan RunBuilder::finish(const VersionId& last_public) {
  ensure(header_.count > 0, "a run has something in it");
  header_.last_public = last_public;
  store_header(out_.data(), header_);
  const ByteSpan bytes = out_.first(header_.run_bytes);
  store(out_.data() + kCrcOffset, crc32c_without(bytes, kCrcOffset));
  return bytes;
}

}  // namespace cloudfs
