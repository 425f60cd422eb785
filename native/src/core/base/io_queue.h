// The effects of one turn, and who waits for each. An effect's id is a slot of a table and a count of its uses, so that
// routing a completion is an array access and a completion that comes twice is noticed.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/effects.h"

namespace cloudfs {

/// Told when an effect that it issued is done. `error` is 0 or an errno.
class IoOwner {
 public:
  virtual void on_io(uint64_t cookie, int error) = 0;

 protected:
  ~IoOwner() = default;
};

class IoQueue {
 public:
  /// The slices stay referenced by the effect until it completes.
  void write(IoOwner& owner, uint64_t cookie, uint32_t physical, uint64_t offset,
             std::vector<Slice>&& slices);
  void sync(IoOwner& owner, uint64_t cookie, std::vector<uint32_t>&& physicals);
  /// Fills `target` from its start.
  void read(IoOwner& owner, uint64_t cookie, uint32_t physical, uint64_t offset, uint32_t bytes,
            BufferRef target);
  /// The same on another thread, whatever the page cache has: clients are served meanwhile.
  void read_aside(IoOwner& owner, uint64_t cookie, uint32_t physical, uint64_t offset, uint32_t bytes,
                  BufferRef target);
  void prepare(IoOwner& owner, uint64_t cookie, uint32_t physical);

  /// Routes a completion to the owner.
  void complete(const IoResult& result);

  /// The effects since the last call, in the order of their issue.
  std::vector<IoEffect> take();
  /// The core ends: nothing completes any more, so whoever waits may go.
  void close() { closed_ = true; }
  bool closed() const { return closed_; }
  bool pending() const { return !effects_.empty(); }
  size_t in_flight() const { return in_flight_; }

 private:
  struct Waiter {
    IoOwner* owner = nullptr;
    uint64_t cookie = 0;
    uint32_t uses = 0;
  };
  IoEffect& issue(IoEffect::Kind kind, IoOwner& owner, uint64_t cookie);

  std::vector<IoEffect> effects_;
  std::vector<Waiter> waiters_;
  std::vector<uint32_t> vacant_;
  size_t in_flight_ = 0;
  bool closed_ = false;
};

}  // namespace cloudfs
