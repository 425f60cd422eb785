// Whoever met a rotten block, and waits for what becomes of it.
#pragma once

namespace cloudfs {

class RepairWaiter {
 public:
  /// Once for each block asked for, never from within the asking. `is_good`: look the block up again. Else nobody who could be
  /// asked has a good copy.
  virtual void on_repair_ended(bool is_good) = 0;

 protected:
  ~RepairWaiter() = default;
};

}  // namespace cloudfs
