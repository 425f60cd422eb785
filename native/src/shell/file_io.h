// System calls repeated until all bytes are through. All return 0 or an errno.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace cloudfs::shell {

/// Writes all of `parts` (which it uses up) at `offset`.
int write_fully(int fd, std::span<iovec> parts, uint64_t offset);

/// Reads `bytes` at `offset`; what lies behind the end of the file is zeros.
int read_fully(int fd, uint8_t* target, size_t bytes, uint64_t offset);

/// Reads what the page cache holds, from `offset` on, without waiting for a disk. @returns bytes read
size_t read_cached(int fd, uint8_t* target, size_t bytes, uint64_t offset);

/// Makes [offset, offset + bytes) of `fd` allocated, written and synced. Bytes that are there keep their value unless
/// the range has a hole; then all of it becomes zeros, past the page cache where the file system takes that. What it says
/// is remembered in `is_direct_refused`, which belongs to the device.
int write_ahead(int fd, uint64_t offset, uint64_t bytes, std::atomic<bool>& is_direct_refused);

/// Overwrites a range with zeros.
int write_zeros(int fd, uint64_t offset, uint64_t bytes);

/// fsync of the directory at `path`, so that the names in it last.
int sync_directory(const char* path);

}  // namespace cloudfs::shell
