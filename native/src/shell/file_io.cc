#include "shell/file_io.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "shell/fd.h"

namespace cloudfs::shell {

namespace {

// Writing ahead syncs this often, so that a commit's sync never waits behind a whole segment of zeros.
constexpr uint64_t kWriteAheadSyncBytes = 4ull << 20;
constexpr size_t kZerosBytes = 1u << 20;
constexpr size_t kDirectAlignment = 4096;

/// Drops `bytes` from the front of `parts`.
std::span<iovec> drop_front(std::span<iovec> parts, size_t bytes) {
  while (!parts.empty() && bytes >= parts.front().iov_len) {
    bytes -= parts.front().iov_len;
    parts = parts.subspan(1);
  }
  if (!parts.empty()) {
    parts.front().iov_base = static_cast<char*>(parts.front().iov_base) + bytes;
    parts.front().iov_len -= bytes;
  }
  return parts;
}

bool has_hole(int fd, uint64_t offset, uint64_t bytes) {
  const off_t hole = ::lseek(fd, static_cast<off_t>(offset), SEEK_HOLE);
  if (hole < 0) return true;  // ENXIO: at or behind the end of the file
  return static_cast<uint64_t>(hole) < offset + bytes;
}

/// The file of `fd` opened past the page cache; none where its file system cannot.
Fd open_direct(int fd) {
  return Fd(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
}

}  // namespace

int write_fully(int fd, std::span<iovec> parts, uint64_t offset) {
  parts = drop_front(parts, 0);
  while (!parts.empty()) {
    const int count = static_cast<int>(std::min<size_t>(parts.size(), IOV_MAX));
    const ssize_t written = ::pwritev(fd, parts.data(), count, static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    if (written == 0) return ENOSPC;  // the end of a block device
    offset += static_cast<uint64_t>(written);
    parts = drop_front(parts, static_cast<size_t>(written));
  }
  return 0;
}

int read_fully(int fd, uint8_t* target, size_t bytes, uint64_t offset) {
  while (bytes > 0) {
    const ssize_t got = ::pread(fd, target, bytes, static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    if (got == 0) {
      std::memset(target, 0, bytes);
      return 0;
    }
    target += got;
    bytes -= static_cast<size_t>(got);
    offset += static_cast<uint64_t>(got);
  }
  return 0;
}

size_t read_cached(int fd, uint8_t* target, size_t bytes, uint64_t offset) {
  iovec part{target, bytes};
  const ssize_t got = ::preadv2(fd, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  return got < 0 ? 0 : static_cast<size_t>(got);  // EAGAIN, EOPNOTSUPP: nothing; an error shows in read_fully
}

int write_zeros(int fd, uint64_t offset, uint64_t bytes) {
  alignas(kDirectAlignment) static const std::array<uint8_t, kZerosBytes> zeros{};
  uint64_t unsynced = 0;
  while (bytes > 0) {
    const size_t step = static_cast<size_t>(std::min<uint64_t>(bytes, zeros.size()));
    iovec part{const_cast<uint8_t*>(zeros.data()), step};
    if (const int error = write_fully(fd, {&part, 1}, offset)) return error;
    offset += step;
    bytes -= step;
    unsynced += step;
    if (unsynced >= kWriteAheadSyncBytes) {
      if (::fdatasync(fd) != 0) return errno;
      unsynced = 0;
    }
  }
  return 0;
}

int write_ahead(int fd, uint64_t offset, uint64_t bytes, std::atomic<bool>& is_direct_refused) {
  if (has_hole(fd, offset, bytes)) {
    // Space first: a full file system says so before anything is written, and the extents come in one piece.
    if (::fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes)) != 0 &&
        errno != EOPNOTSUPP) {
      return errno;
    }
    // Zeros that nobody reads would fill the page cache, and take a core for as long as a fresh store is written to.
    const Fd direct = is_direct_refused.load(std::memory_order_relaxed) ? Fd() : open_direct(fd);
    int error = write_zeros(direct ? direct.get() : fd, offset, bytes);
    if (direct && error == EINVAL) {
      // It can be opened so and not written: no use trying again.
      is_direct_refused.store(true, std::memory_order_relaxed);
      error = write_zeros(fd, offset, bytes);
    }
    if (error != 0) return error;
  }
  return ::fsync(fd) == 0 ? 0 : errno;
}

int sync_directory(const char* path) {
  const Fd directory(::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return errno;
  return ::fsync(directory.get()) == 0 ? 0 : errno;
}

}  // namespace cloudfs::shell
