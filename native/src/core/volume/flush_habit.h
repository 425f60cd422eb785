// Foresees flushes. A client that writes n times and flushes, again and again, flushes behind the next n-th write too: the sync
// that it will ask for then begins with that write, beside its acknowledgement, and not a round trip later.
//
// A wrong guess costs a sync that nobody asked for, once: whatever breaks the habit ends the guessing until it is one again.
#pragma once

#include <cstdint>

namespace cloudfs {

class FlushHabit {
 public:
  /// A write has become records. @returns whether a flush is foreseen behind it
  [[nodiscard]] bool wrote() {
    ++writes_;
    if (writes_ > expected_) times_ = 0;
    return times_ >= kTimesSeen && writes_ == expected_;
  }
  void flushed() {
    if (writes_ == 0) return;
    times_ = writes_ == expected_ ? times_ + 1 : 1;
    expected_ = writes_;
    writes_ = 0;
  }

 private:
  /// Flushes behind as many writes each, before the next is foreseen.
  static constexpr uint32_t kTimesSeen = 4;

  uint64_t writes_ = 0;    // since the last flush
  uint64_t expected_ = 0;  // before it
  uint32_t times_ = 0;     // in a row, so many
};

}  // namespace cloudfs
