#include "core/volume/operation.h"

#include "core/volume/volume.h"

namespace cloudfs {

void Operation::on_pages(int page_error) {
  volume->operation_has_pages(*this, page_error);
}

void Operation::on_blocks(BlockRead&, int block_error) {
  volume->operation_has_blocks(*this, block_error);
}

void Operation::on_corrupt_block(uint64_t block, const Entry& entry) {
  volume->operation_met_corruption(*this, block, entry);
}

void Operation::on_repair_ended(bool is_good) {
  is_rotten |= !is_good;
  --repairs_open;
  // Else others of its blocks are being read still.
  if (repairs_open == 0 && stage == Stage::repair) volume->operation_is_repaired(*this);
}

void Operation::restart() {
  ensure(open_records == 0 && !holds_locks && pages_missing == 0 && repairs_open == 0,
         "what begins anew has nothing under way");
  stage = Stage::idle;
  first = end = 0;
  head_partial = tail_partial = false;
  wait_lsn = 0;
  data = {};
  cursor = 0;
  digests.clear();
  last_lsn = 0;
  version = {};
  error = 0;
  waiting_since_ns = 0;
  read.clear();
  status.clear();
  repair_rounds = 0;
  met_rot = is_rotten = false;
}

Operation& OperationPool::take() {
  if (vacant_.empty()) return operations_.emplace_back();
  Operation& operation = *vacant_.back();
  vacant_.pop_back();
  return operation;
}

void OperationPool::give_back(Operation& operation) {
  operation.restart();
  operation.request = {};
  operation.volume = nullptr;
  operation.snapshot = 0;
  vacant_.push_back(&operation);
}

}  // namespace cloudfs
