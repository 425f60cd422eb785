// The one clock of the data path.
#pragma once

#include <cstdint>

namespace cloudfs::shell {

/// Nanoseconds that never go back and go on while the host is suspended (CLOCK_BOOTTIME): a lease measured by it is over
/// when it is over, laptop lid or not.
uint64_t now_ns();

}  // namespace cloudfs::shell
