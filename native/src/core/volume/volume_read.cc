// Reads, block status, and the look-ups of partial writes.
#include <algorithm>
#include <cerrno>

#include "core/volume/volume.h"

namespace cloudfs {

namespace {

// Pieces of one block status answer; the client asks on from where it ends.
constexpr size_t kStatusPiecesMax = 512;
// What is bad again when it was repaired so often is EIO: its disk gives other bytes than it took.
constexpr uint32_t kRepairRoundsMax = 3;

}  // namespace

void Volume::submit(Operation& operation) {
  ++operations_;
  operation.volume = this;
  operation.role = role_;
  if (failed_) return answer(operation, EIO);
  if (replication_ != nullptr && !replication_->serving()) {
    parked_.push_back(&operation);
    return;
  }
  if (made_.deleted && operation.snapshot == 0) return answer(operation, ESHUTDOWN);
  if (is_over(operation)) return answer(operation, kUnanswered);
  switch (operation.request.kind) {
    case ClientOp::Kind::read:
    case ClientOp::Kind::block_status:
      return submit_read(operation);
    case ClientOp::Kind::write:
    case ClientOp::Kind::trim:
    case ClientOp::Kind::write_zeroes:
      return submit_write(operation);
    case ClientOp::Kind::flush:
      // Everything acknowledged before the FLUSH came is committed; snapshots are synced or their volume's matter.
      if (operation.snapshot != 0) return answer(operation, 0);
      flush_habit_.flushed();
      return wait_durable(committed_, &operation, 0);
    case ClientOp::Kind::cache:
      return answer(operation, 0);
  }
}

void Volume::submit_read(Operation& operation) {
  const ClientOp& request = operation.request;
  ExtentMap* map = map_of(operation);
  if (map == nullptr) return answer(operation, ESHUTDOWN);
  // Who reads a replica gets what is committed there as far as it knows: nobody was promised more.
  const bool settled_state = operation.snapshot != 0 || !writable();
  const uint64_t size_bytes = settled_state ? map->blocks() * kBlockBytes : made_.size_bytes;
  if (request.offset > size_bytes || request.length > size_bytes - request.offset)
    return answer(operation, EINVAL);
  if (request.length == 0) return answer(operation, 0);
  operation.first = request.offset / kBlockBytes;
  operation.end = (request.offset + request.length + kBlockBytes - 1) / kBlockBytes;
  operation.wait_lsn = settled_state ? 0 : newest_touch(operation.first, operation.end);
  // A resize that is made but not applied: the map has its size when it is.
  if (!settled_state && operation.end > map->blocks()) operation.wait_lsn = made_.lsn;
  settle(operation);
}

Lsn Volume::newest_touch(uint64_t first, uint64_t end) const {
  if (pending_.empty() || touched_.newest(first, end) <= applied_.lsn) return 0;
  for (size_t index = pending_.size(); index-- > 0;) {
    const PendingRecord& pending = pending_[index];
    if (pending.first < end && first < pending.end) return pending.lsn;
  }
  return 0;
}

void Volume::settle(Operation& operation) {
  if (operation.wait_lsn > applied_.lsn) {
    operation.stage = Operation::Stage::settle;
    settling_.push_back(&operation);
    return;
  }
  settled(operation);
}

void Volume::wake_settled() {
  for (size_t index = 0; index < settling_.size();) {
    Operation* operation = settling_[index];
    if (operation->wait_lsn > applied_.lsn) {
      ++index;
      continue;
    }
    settling_.erase(settling_.begin() + static_cast<std::ptrdiff_t>(index));
    settled(*operation);
  }
}

void Volume::settled(Operation& operation) {
  if (operation.is_write() && !operation.partial()) {
    // A request that was made before, sent again: what it wrote is applied.
    operation.request.fua ? wait_durable(committed_, &operation, 0) : answer(operation, 0);
    return;
  }
  look_up(operation);
}

ExtentMap* Volume::map_of(const Operation& operation) {
  const NodeId node = operation.snapshot == 0 ? head_ : operation.snapshot;
  return parts_.lineage.find(node) == nullptr ? nullptr : &parts_.lineage.node(node).map;
}

void Volume::look_up(Operation& operation) {
  operation.stage = Operation::Stage::lookup;
  ExtentMap* map = map_of(operation);
  if (map == nullptr || operation.end > map->blocks()) return fail_look_up(operation, ESHUTDOWN);
  // All of a read's blocks are looked up at once, from here on or anew from here.
  if (!operation.is_write())
    operation.version =
        operation.snapshot == 0 ? applied_.public_id : parts_.lineage.node(operation.snapshot).version;
  MissingPages missing;
  if (operation.request.kind == ClientOp::Kind::block_status) {
    uint64_t position = operation.status.empty()
                            ? operation.first
                            : operation.status.back().block + operation.status.back().count;
    // Looks at a bounded number of pages at a time; a part of the range is an answer too.
    missing = map->status(position, operation.end, kStatusPiecesMax, operation.status);
    if (missing.empty() || !operation.status.empty()) return answer_status(operation);
  } else {
    std::vector<MapRun>& runs = operation.read.runs;
    runs.clear();
    if (!operation.is_write()) {
      missing = map->lookup(operation.first, operation.end - operation.first, runs);
    } else {
      if (operation.head_partial) missing = map->lookup(operation.first, 1, runs);
      const uint64_t tail = operation.end - 1;
      if (missing.empty() && operation.tail_partial && !(operation.head_partial && tail == operation.first))
        missing = map->lookup(tail, 1, runs);
    }
    if (missing.empty()) {
      operation.stage = Operation::Stage::read;
      if (operation.read.start(parts_.segments, parts_.forwards, parts_.read_gate, operation))
        operation_has_blocks(operation, 0);
      return;
    }
  }
  parts_.page_reader.fetch(missing, operation);
}

void Volume::fail_look_up(Operation& operation, int error) {
  if (operation.is_write()) {
    refuse_write(operation, error);
  } else {
    answer(operation, error);
  }
}

void Volume::operation_has_pages(Operation& operation, int error) {
  if (failed_) error = EIO;
  if (is_over(operation)) error = kUnanswered;
  error != 0 ? fail_look_up(operation, error) : look_up(operation);
}

void Volume::operation_has_blocks(Operation& operation, int error) {
  if (operation.met_rot) {
    operation.stage = Operation::Stage::repair;
    if (operation.repairs_open == 0) operation_is_repaired(operation);
    return;
  }
  if (failed_) error = EIO;
  if (is_over(operation)) error = kUnanswered;
  if (error != 0) return fail_look_up(operation, error);
  if (!operation.is_write()) return answer_read(operation);
  merge_edges(operation);
  write_is_ready(operation);
}

void Volume::operation_met_corruption(Operation& operation, uint64_t block, const Entry& entry) {
  operation.met_rot = true;
  if (operation.repair_rounds < kRepairRoundsMax &&
      parts_.host.on_corrupt_block(*this, block, entry, operation)) {
    ++operation.repairs_open;
  } else {
    operation.is_rotten = true;
  }
}

/// All of its blocks that were bad are good somewhere now, or nobody has them.
void Volume::operation_is_repaired(Operation& operation) {
  operation.met_rot = false;
  ++operation.repair_rounds;
  // Where they are now the map knows, or a forward.
  operation_has_pages(operation, std::exchange(operation.is_rotten, false) ? EIO : 0);
}

/// It begins anew when clients are served again.
void Volume::park(Operation& operation) {
  operation.stage = Operation::Stage::idle;
  operation.status.clear();
  parked_.push_back(&operation);
}

void Volume::answer_read(Operation& operation) {
  if (operation.snapshot == 0 && !has_lease()) return park(operation);
  const ClientOp& request = operation.request;
  Reply reply;
  reply.client = request.client;
  reply.request = request.request;
  reply.version = operation.version;
  reply.pieces.reserve(operation.read.parts().size());
  const uint64_t request_end = request.offset + request.length;
  for (const BlockRead::Part& part : operation.read.parts()) {
    const uint64_t part_start = part.block * kBlockBytes;
    const uint64_t start = std::max(request.offset, part_start);
    const uint64_t end = std::min(request_end, part_start + part.count * kBlockBytes);
    Piece& piece = reply.pieces.emplace_back();
    piece.bytes = end - start;
    piece.hole = part.data == nullptr;
    if (!piece.hole)
      piece.data = {part.owner, part.data + (start - part_start), static_cast<size_t>(end - start)};
  }
  parts_.host.reply(std::move(reply));
  finish(operation);
}

void Volume::answer_status(Operation& operation) {
  if (operation.snapshot == 0 && !has_lease()) return park(operation);
  const ClientOp& request = operation.request;
  Reply reply;
  reply.client = request.client;
  reply.request = request.request;
  const uint64_t request_end = request.offset + request.length;
  for (const MapStatus& status : operation.status) {
    const uint64_t start = std::max(request.offset, status.block * kBlockBytes);
    const uint64_t end = std::min(request_end, (status.block + status.count) * kBlockBytes);
    Piece& piece = reply.pieces.emplace_back();
    piece.bytes = end - start;
    piece.hole = !status.stored;
  }
  parts_.host.reply(std::move(reply));
  finish(operation);
}

}  // namespace cloudfs
