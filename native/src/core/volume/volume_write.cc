// Writes: conflicts, partial blocks, records.
#include <algorithm>
#include <array>
#include <cerrno>

#include "core/volume/volume.h"

namespace cloudfs {

namespace {

// Blocks that one trim or zeroing record covers; a longer request becomes several.
constexpr uint64_t kZeroBlocksMax = uint64_t{1} << 31;
// Blocks whose digests are made together, unless one record has more: a longer wait before the first record gains nothing.
constexpr size_t kDigestsTogether = 64;

}  // namespace

// --- From request to whole blocks ---------------------------------------------------------------------------------

void Volume::submit_write(Operation& operation) {
  const ClientOp& request = operation.request;
  if (operation.connection != 0 && sessions_.holds(request.session, request.sequence))
    return hold_back(operation);
  if (operation.snapshot != 0 || !writable()) return answer(operation, EPERM);
  const bool trim = request.kind == ClientOp::Kind::trim;
  if (request.offset > made_.size_bytes || request.length > made_.size_bytes - request.offset)
    return answer(operation, trim ? EINVAL : ENOSPC);
  if (request.kind == ClientOp::Kind::write && request.payload.size != request.length)
    return answer(operation, EINVAL);
  if (request.length == 0) return answer(operation, 0);
  if (request.sequence != 0 && request.sequence <= made_.last_request(request.session) &&
      parts_.plant != Plant::retried_request_applied_twice) {
    // Sent again after a lost answer: it was made once, and is answered once that is safe.
    operation.wait_lsn = made_.lsn;
    return settle(operation);
  }
  const uint64_t end_byte = request.offset + request.length;
  if (trim) {
    // A hint: edges that cover a block in part are left alone.
    operation.first = (request.offset + kBlockBytes - 1) / kBlockBytes;
    operation.end = end_byte / kBlockBytes;
    if (operation.first >= operation.end) return answer(operation, 0);
  } else {
    operation.first = request.offset / kBlockBytes;
    operation.end = (end_byte + kBlockBytes - 1) / kBlockBytes;
    operation.head_partial = request.offset % kBlockBytes != 0;
    operation.tail_partial = end_byte % kBlockBytes != 0;
  }
  if (request.expected && operation.end - operation.first > parts_.appender.record_blocks_max())
    return answer(operation, EFBIG);
  if (conflicts(operation)) {
    operation.stage = Operation::Stage::blocked;
    blocked_.push_back(&operation);
    return;
  }
  begin_write(operation);
}

bool Volume::conflicts(const Operation& operation) const {
  if (locks_.empty() && blocked_.empty() && !operation.partial()) return false;
  // Requests of one session that carry numbers become records in their order, for a number stands for all before it.
  const auto same_session = [&](const Operation& other) {
    return operation.request.sequence != 0 && other.request.sequence != 0 &&
           operation.request.session == other.request.session;
  };
  for (const Lock& lock : locks_) {
    if (lock.block >= operation.first && lock.block < operation.end) return true;
    // Likewise the whole blocks of a write whose edges are being read.
    if (operation.partial() && operation.overlaps(*lock.holder)) return true;
    if (same_session(*lock.holder)) return true;
  }
  for (const Operation* other : blocked_) {
    if (other == &operation) break;  // those behind it came later
    if (operation.overlaps(*other) || same_session(*other)) return true;
  }
  // A block must not be read for modification while a write of it waits to become a record.
  if (operation.partial())
    for (size_t index = 0; index < ready_.size(); ++index)
      if (operation.overlaps(*ready_[index])) return true;
  return false;
}

void Volume::begin_write(Operation& operation) {
  if (!operation.partial()) return write_is_ready(operation);
  operation.holds_locks = true;
  Lsn wait = 0;
  const uint64_t tail = operation.end - 1;
  if (operation.head_partial) {
    locks_.push_back({operation.first, &operation});
    wait = newest_touch(operation.first, operation.first + 1);
  }
  if (operation.tail_partial && !(operation.head_partial && tail == operation.first)) {
    locks_.push_back({tail, &operation});
    wait = std::max(wait, newest_touch(tail, tail + 1));
  }
  operation.wait_lsn = wait;
  settle(operation);
}

void Volume::retry_blocked() {
  if (sessions_.any_refused()) release_held();
  for (size_t index = 0; index < blocked_.size();) {
    Operation* operation = blocked_[index];
    if (conflicts(*operation)) {
      ++index;
      continue;
    }
    blocked_.erase(blocked_.begin() + static_cast<std::ptrdiff_t>(index));
    begin_write(*operation);
  }
}

void Volume::unlock(Operation& operation) {
  if (!std::exchange(operation.holds_locks, false)) return;
  std::erase_if(locks_, [&](const Lock& lock) { return lock.holder == &operation; });
}

void Volume::merge_edges(Operation& operation) {
  const ClientOp& request = operation.request;
  const uint64_t start_byte = operation.first * kBlockBytes;
  const uint64_t end_byte = operation.end * kBlockBytes;
  // The blocks of the edges as they are, by their numbers.
  const auto read_edge = [&](uint64_t block, uint8_t* out) {
    for (const BlockRead::Part& part : operation.read.parts()) {
      if (block < part.block || block >= part.block + part.count) continue;
      if (part.data == nullptr) {
        std::memset(out, 0, kBlockBytes);
      } else {
        std::memcpy(out, part.data + (block - part.block) * kBlockBytes, kBlockBytes);
      }
      return;
    }
    ensure(false, "an edge that is modified was read");
  };
  const uint64_t blocks = operation.end - operation.first;
  if (request.kind == ClientOp::Kind::write) {
    BufferRef merged(static_cast<size_t>(end_byte - start_byte));
    if (operation.head_partial) read_edge(operation.first, merged.data());
    if (operation.tail_partial && !(operation.head_partial && blocks == 1))
      read_edge(operation.end - 1, merged.data() + (blocks - 1) * kBlockBytes);
    std::memcpy(merged.data() + (request.offset - start_byte), request.payload.data, request.payload.size);
    operation.data = {merged, merged.data(), merged.size()};
    return;
  }
  // Zeroing: the edges alone, the first block's and the last one's.
  BufferRef merged(2 * kBlockBytes);
  const uint64_t request_end = request.offset + request.length;
  if (operation.head_partial) {
    read_edge(operation.first, merged.data());
    const uint64_t from = request.offset - start_byte;
    std::memset(merged.data() + from, 0, std::min<uint64_t>(kBlockBytes - from, request.length));
  }
  if (operation.tail_partial && !(operation.head_partial && blocks == 1)) {
    uint8_t* tail = merged.data() + kBlockBytes;
    read_edge(operation.end - 1, tail);
    std::memset(tail, 0, static_cast<size_t>(request_end - (end_byte - kBlockBytes)));
  }
  operation.data = {merged, merged.data(), merged.size()};
}

void Volume::write_is_ready(Operation& operation) {
  if (operation.connection != 0 && sessions_.holds(operation.request.session, operation.request.sequence)) {
    hold_back(operation);
    return retry_blocked();
  }
  if (operation.request.kind == ClientOp::Kind::write && !operation.partial())
    operation.data = operation.request.payload;
  operation.stage = Operation::Stage::ready;
  operation.cursor = operation.first;
  ready_.push_back(&operation);
  parts_.host.make_soon(*this);
}

void Volume::refuse_write(Operation& operation, int error) {
  unlock(operation);
  if (operation.open_records == 0) {
    answer(operation, error);
  } else {
    operation.error = error;
    operation.stage = Operation::Stage::made;
  }
  retry_blocked();
}

// --- From whole blocks to records ---------------------------------------------------------------------------------

Room Volume::make_records() {
  if (failed_) return Room::ok;
  if (new_view_) {
    if (const Room room = make_view(); room != Room::ok) return room;
  }
  if (replication_ != nullptr && !replication_->serving()) return Room::ok;
  for (;;) {
    if (holds_ > 0) return Room::wait;
    if (!controls_.empty() && pending_controls_ == 0) {
      if (const Room room = make_control(); room != Room::ok) return room;
      continue;
    }
    if (ready_.empty()) break;
    Operation& operation = *ready_.front();
    if (made_.deleted || operation.end > made_.size_bytes / kBlockBytes) {
      ready_.pop_front();
      refuse_write(operation, made_.deleted ? ESHUTDOWN : ENOSPC);
      continue;
    }
    // Asked here, where nothing can come between the answer and the record: also not what is made and not committed yet.
    if (operation.request.expected && *operation.request.expected != made_.public_id) {
      ready_.pop_front();
      refuse_write(operation, ESTALE);
      continue;
    }
    // The map takes updates more slowly than clients make them where its pages come from the disk: they wait then.
    if (acknowledged_ >= kUnappliedMax) return Room::wait;
    const Room room = make_run();
    if (room == Room::ok) continue;
    if (room == Room::wait || parts_.host.may_wait_for_space(operation)) return room;
    ready_.pop_front();
    refuse_write(operation, ENOSPC);
  }
  retry_blocked();
  return Room::ok;
}

uint64_t Volume::next_record_blocks(const Operation& operation) const {
  const uint64_t left = operation.end - operation.cursor;
  if (operation.request.kind == ClientOp::Kind::write)
    return std::min<uint64_t>(left, parts_.appender.record_blocks_max());
  return std::min(left, kZeroBlocksMax);
}

size_t Volume::next_record_bytes(const Operation& operation, uint64_t& body_bytes) const {
  if (operation.request.kind == ClientOp::Kind::write) {
    const uint64_t blocks = next_record_blocks(operation);
    body_bytes = blocks * kBlockBytes;
    return write_record_bytes_max(static_cast<size_t>(blocks));
  }
  body_bytes = operation.partial() ? 2 * kBlockBytes : 0;
  return write_record_bytes(3, operation.partial() ? 2 : 0);
}

Room Volume::make_run() {
  constexpr SegmentKind kStream = SegmentKind::user;
  const Operation& first = *ready_.front();
  uint64_t body_bytes = 0;
  size_t record_bytes = next_record_bytes(first, body_bytes);
  const bool data = first.request.kind == ClientOp::Kind::write;
  const Room room = parts_.appender.reserve(kStream, data ? SpaceClass::data : SpaceClass::shrink,
                                            kRunHeaderBytes + record_bytes, body_bytes);
  if (room != Room::ok) return room;

  RunHeader header;
  header.volume = id_;
  header.epoch = made_.epoch();
  header.first_lsn = made_.lsn + 1;
  header.commit_lsn = committed_;
  header.session = first.request.session;
  RunBuilder run(parts_.appender.run_room(kStream), header);
  if (replication_ != nullptr) run_bodies_.push_back({});
  do {
    Operation& operation = *ready_.front();
    if (data && operation.digests.empty()) make_digests();
    make_record(run, operation);
    if (operation.cursor == operation.end) {
      ready_.pop_front();
      operation_is_made(operation);
    }
    if (ready_.empty() || ready_.front()->end > made_.size_bytes / kBlockBytes) break;
    if (ready_.front()->request.expected) break;  // make_records() looks at that
    record_bytes = next_record_bytes(*ready_.front(), body_bytes);
    // One class of space in a run: what was reserved for trims must not carry data into the reserve.
  } while (ready_.front()->request.session == header.session &&
           (ready_.front()->request.kind == ClientOp::Kind::write) == data &&
           parts_.appender.fits(kStream, run.header().run_bytes + record_bytes,
                                run.header().body_bytes + body_bytes));
  run.finish(made_.public_id);
  parts_.appender.add_run(kStream, run.header(), *this, cookie(made_.lsn));
  return Room::ok;
}

/// For the writes that are next, together: side by side two cost as much as one.
void Volume::make_digests() {
  digest_blocks_.clear();
  digest_owners_.clear();
  for (size_t next = 0; next < ready_.size(); ++next) {
    Operation* operation = ready_[next];
    if (operation->request.kind != ClientOp::Kind::write || !operation->digests.empty()) continue;
    const size_t blocks = next_record_blocks(*operation);
    if (!digest_owners_.empty() && digest_blocks_.size() + blocks > kDigestsTogether) break;
    operation->digests.resize(blocks);
    const uint8_t* at = operation->data.data + (operation->cursor - operation->first) * kBlockBytes;
    for (size_t index = 0; index < blocks; ++index, at += kBlockBytes) {
      if (is_zero_block(at)) continue;
      digest_blocks_.push_back(at);
      digest_owners_.push_back({operation, index});
    }
  }
  digests_.resize(digest_blocks_.size());
  block_digests(digest_blocks_, digests_);
  for (size_t index = 0; index < digests_.size(); ++index)
    digest_owners_[index].operation->digests[digest_owners_[index].block] = digests_[index];
}

void Volume::make_record(RunBuilder& run, Operation& operation) {
  const ClientOp& request = operation.request;
  const uint64_t blocks = next_record_blocks(operation);
  // Only the last record of a request carries its number: a request is done when all of it is.
  const uint64_t sequence = operation.cursor + blocks == operation.end ? request.sequence : 0;
  const Lsn lsn = made_.lsn + 1;
  RecordView record(nullptr, 0, 0);
  if (request.kind == ClientOp::Kind::write) {
    const ByteSpan bytes(operation.data.data + (operation.cursor - operation.first) * kBlockBytes,
                         blocks * kBlockBytes);
    record = run.add_write(*made_token_, sequence, operation.cursor, bytes, operation.digests);
    operation.digests.clear();
  } else {
    record = add_zeros(run, operation, blocks, sequence);
  }
  ensure(record.lsn() == lsn, "records of a volume are numbered without gaps");
  add_body(record, operation);
  const ChainLink link = link_record(*stamp_, run.header(), record);
  PendingRecord& pending = note_made(record, run.header(), link.public_id);
  made_token_ = link.token;
  pending.operation = &operation;
  ++operation.open_records;
  operation.last_lsn = lsn;
  operation.version = link.public_id;
  operation.cursor += blocks;
}

RecordView Volume::add_zeros(RunBuilder& run, const Operation& operation, uint64_t blocks,
                             uint64_t sequence) {
  std::array<Extent, 3> extents;
  std::array<BlockSum, 2> sums;
  size_t extent_count = 0;
  size_t sum_count = 0;
  const ExtentKind zero =
      operation.request.kind == ClientOp::Kind::trim ? ExtentKind::trimmed : ExtentKind::zeroed;
  const auto add = [&](uint64_t block, uint64_t count, ExtentKind kind) {
    if (extent_count > 0 && kind != ExtentKind::data && extents[extent_count - 1].kind == kind) {
      extents[extent_count - 1].count += static_cast<uint32_t>(count);
    } else {
      extents[extent_count++] = {block, static_cast<uint32_t>(count), kind};
    }
  };
  const auto add_edge = [&](uint64_t block, const uint8_t* bytes) {
    if (is_zero_block(bytes)) return add(block, 1, zero);
    sums[sum_count++] = sum_block(bytes);
    add(block, 1, ExtentKind::data);
  };
  uint64_t first = operation.cursor;
  uint64_t end = operation.cursor + blocks;
  const bool head = operation.head_partial && first == operation.first;
  const bool tail = operation.tail_partial && end == operation.end && !(head && blocks == 1);
  if (head) add_edge(first++, operation.data.data);
  if (tail) --end;
  if (first < end) add(first, end - first, zero);
  if (tail) add_edge(end, operation.data.data + kBlockBytes);
  return run.add_extents(*made_token_, sequence, std::span(extents.data(), extent_count),
                         std::span(sums.data(), sum_count));
}

void Volume::add_body(const RecordView& record, const Operation& operation) {
  const bool write = operation.request.kind == ClientOp::Kind::write;
  for (size_t index = 0; index < record.extent_count(); ++index) {
    const Extent extent = record.extent(index);
    if (extent.kind != ExtentKind::data) continue;
    const uint64_t offset = write ? (extent.block - operation.first) * kBlockBytes
                            : extent.block == operation.first && operation.head_partial ? 0
                                                                                        : kBlockBytes;
    Slice body{operation.data.owner, operation.data.data + offset,
               static_cast<size_t>(extent.count) * kBlockBytes};
    if (replication_ != nullptr) run_bodies_.back().push_back(body);
    parts_.appender.add_body(SegmentKind::user, std::move(body));
  }
}

void Volume::operation_is_made(Operation& operation) {
  operation.stage = Operation::Stage::made;
  unlock(operation);
}

}  // namespace cloudfs
