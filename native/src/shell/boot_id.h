// Which boot of the kernel this is: after another one than before, what was not synced may be lost (docs/protocol.md, R1).
#pragma once

#include <array>
#include <cstdint>

namespace cloudfs::shell {

/// @throws Error ERR_STORE_IO: the kernel does not tell
std::array<uint8_t, 16> kernel_boot_id();

}  // namespace cloudfs::shell
