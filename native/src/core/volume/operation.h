// A client's request on its way through the core. Operations are pooled: their vectors keep their memory.
#pragma once

#include <deque>
#include <vector>

#include "core/base/checksum.h"
#include "core/base/effects.h"
#include "core/index/block_read.h"
#include "core/index/lineage.h"
#include "core/index/page_reader.h"
#include "core/index/repair_waiter.h"

namespace cloudfs {

class Volume;

class Operation final : public PageWaiter, public BlockReadOwner, public RepairWaiter {
 public:
  enum class Stage : uint8_t {
    idle,
    blocked,  // a write that waits for a block that another one modifies
    settle,   // waits until what touches its blocks is applied
    lookup,   // waits for map pages
    read,     // waits for blocks
    repair,   // waits for blocks that were bad
    ready,    // a write whose blocks are whole: waits for its records to be made
    made,     // waits for its records' commit
    sync,     // FLUSH, FUA: waits for a sync
  };

  ClientOp request;
  Volume* volume = nullptr;
  NodeId snapshot = 0;  // version to read; 0 = the head
  Stage stage = Stage::idle;
  uint64_t role = 0;        // of the volume when it came
  uint64_t connection = 0;  // by which it came, of its session

  // Blocks touched: [first, end), the edges included that are covered in part.
  uint64_t first = 0;
  uint64_t end = 0;
  bool head_partial = false;
  bool tail_partial = false;
  bool holds_locks = false;

  Lsn wait_lsn = 0;  // settle: this must be applied; sync: this must be durable

  // Writes. `data` is the bytes of [first, end), whole blocks: the client's, or those of `merged`.
  Slice data;
  uint64_t cursor = 0;               // first block not recorded yet
  std::vector<BlockDigest> digests;  // of the blocks of its next record, once they are made
  uint32_t open_records = 0;         // made, not committed
  Lsn last_lsn = 0;                  // of the records made so far
  VersionId version;                 // after the newest of them; of a read: what it reads
  int error = 0;
  uint64_t waiting_since_ns = 0;  // for space

  BlockRead read;
  std::vector<MapStatus> status;
  uint32_t repairs_open = 0;
  uint32_t repair_rounds = 0;
  bool met_rot = false;
  bool is_rotten = false;  // of what it met something cannot be repaired

  void on_pages(int page_error) override;
  void on_blocks(BlockRead& done, int block_error) override;
  void on_corrupt_block(uint64_t block, const Entry& entry) override;
  void on_repair_ended(bool is_good) override;

  bool is_write() const {
    return request.kind == ClientOp::Kind::write || request.kind == ClientOp::Kind::trim ||
           request.kind == ClientOp::Kind::write_zeroes;
  }
  bool partial() const { return head_partial || tail_partial; }
  /// As it was when it came. It has no records, locks or reads.
  void restart();
  bool overlaps(const Operation& other) const { return first < other.end && other.first < end; }
};

class OperationPool {
 public:
  Operation& take();
  void give_back(Operation& operation);
  size_t in_use() const { return operations_.size() - vacant_.size(); }

 private:
  std::deque<Operation> operations_;
  std::vector<Operation*> vacant_;
};

}  // namespace cloudfs
