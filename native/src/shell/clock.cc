#include "shell/clock.h"

#include <time.h>

namespace cloudfs::shell {

uint64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

}  // namespace cloudfs::shell
