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
  volume->operation_met_corruption(block, entry);
}

Operation& OperationPool::take() {
  if (vacant_.empty()) return operations_.emplace_back();
  Operation& operation = *vacant_.back();
  vacant_.pop_back();
  return operation;
}

void OperationPool::give_back(Operation& operation) {
  ensure(operation.open_records == 0 && !operation.holds_locks && operation.pages_missing == 0,
         "an operation that ends has nothing under way");
  operation.request = {};
  operation.volume = nullptr;
  operation.snapshot = 0;
  operation.stage = Operation::Stage::idle;
  operation.first = operation.end = 0;
  operation.head_partial = operation.tail_partial = false;
  operation.wait_lsn = 0;
  operation.data = {};
  operation.cursor = 0;
  operation.last_lsn = 0;
  operation.version = {};
  operation.error = 0;
  operation.waiting_since_ns = 0;
  operation.read.clear();
  operation.status.clear();
  vacant_.push_back(&operation);
}

}  // namespace cloudfs
