// One process per store.
#pragma once

#include <string>

namespace cloudfs::shell {

/// Locks `fd`, until it is closed, against every other open of the same file. @returns 0, or an errno (EWOULDBLOCK)
int try_lock(int fd);

/// Locks `fd`, until it is closed, against every other open of the same file.
/// @throws Error ERR_STORE_LOCKED if another has it
void lock_or_throw(int fd, const std::string& path);

}  // namespace cloudfs::shell
