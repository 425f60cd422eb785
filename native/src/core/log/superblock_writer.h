// Replaces the older of the two superblock copies, then syncs: a torn write costs the newer state only.
#pragma once

#include "core/base/io_queue.h"
#include "core/format/superblock.h"

namespace cloudfs {

class SuperblockListener {
 public:
  /// The superblock of the last write() is on stable storage; or the store has failed.
  virtual void on_superblock(int error) = 0;

 protected:
  ~SuperblockListener() = default;
};

class SuperblockWriter final : IoOwner {
 public:
  explicit SuperblockWriter(IoQueue& io) : io_(io) {}

  /// What is on stable storage, as far as is known.
  const Superblock& current() const { return current_; }
  bool busy() const { return listener_ != nullptr; }

  /// An empty store: both copies, so that none of an earlier store counts any more.
  void format(const Superblock& superblock, SuperblockListener& listener);
  /// Takes over what was read: the valid copy of the greater sequence, at `copy` (0 or 1).
  void adopt(const Superblock& superblock, uint32_t copy);
  /// Writes `next`, giving it the next sequence. One at a time.
  void write(Superblock next, SuperblockListener& listener);

 private:
  void on_io(uint64_t cookie, int error) override;

  IoQueue& io_;
  SuperblockListener* listener_ = nullptr;
  Superblock current_;
  Superblock next_;
  uint32_t current_copy_ = 0;
  uint32_t next_copy_ = 0;
};

}  // namespace cloudfs
