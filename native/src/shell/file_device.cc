#include "shell/file_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "core/base/assert.h"
#include "shell/error.h"
#include "shell/file_io.h"
#include "shell/lock.h"

namespace cloudfs::shell {

namespace {

[[noreturn]] void fail(const std::string& what, const char* syscall, int error) {
  throw Error("ERR_STORE_IO", what, error, syscall);
}

struct Opened {
  Fd fd;
  uint64_t bytes = 0;
  bool is_block_device = false;
};

Opened open_and_lock(const std::string& path, int flags) {
  struct stat stat {};
  Opened opened;
  if (::stat(path.c_str(), &stat) == 0 && S_ISBLK(stat.st_mode)) {
    opened.is_block_device = true;
    flags |= O_EXCL;  // refused while it is mounted, or part of an array
    flags &= ~O_CREAT;
  }
  opened.fd = Fd(::open(path.c_str(), flags | O_RDWR | O_CLOEXEC, 0600));
  if (!opened.fd) {
    const int error = errno;
    if (error == ENOENT) throw Error("ERR_STORE_NOT_FOUND", "no store at " + path, error, "open");
    if (error == EBUSY) throw Error("ERR_STORE_LOCKED", path + " is in use", error, "open");
    fail("cannot open " + path, "open", error);
  }
  lock_or_throw(opened.fd.get(), path);
  if (::fstat(opened.fd.get(), &stat) != 0) fail("cannot stat " + path, "fstat", errno);
  if (opened.is_block_device) {
    if (::ioctl(opened.fd.get(), BLKGETSIZE64, &opened.bytes) != 0)
      fail("cannot size " + path, "ioctl", errno);
  } else if (S_ISREG(stat.st_mode)) {
    opened.bytes = static_cast<uint64_t>(stat.st_size);
  } else {
    throw Error("ERR_STORE_NOT_FOUND", path + " is neither a directory, a block device nor a file");
  }
  return opened;
}

}  // namespace

FileDevice::FileDevice(Fd fd, uint64_t bytes, bool is_block_device)
    : file_(std::make_shared<StoreFile>(std::move(fd))),
      fd_(file_->fd.get()),
      bytes_(bytes),
      is_block_device_(is_block_device) {}

std::unique_ptr<Device> FileDevice::open(const std::string& path) {
  Opened opened = open_and_lock(path, 0);
  if (opened.bytes < kFileDeviceFirstSegment) {
    throw Error("ERR_STORE_NOT_FOUND", path + " is too small to hold a store");
  }
  return std::unique_ptr<Device>(new FileDevice(std::move(opened.fd), opened.bytes, opened.is_block_device));
}

std::unique_ptr<Device> FileDevice::create(const CreateOptions& options) {
  Opened opened = open_and_lock(options.path, options.file_bytes > 0 ? O_CREAT : 0);
  if (!opened.is_block_device && options.file_bytes > opened.bytes) {
    if (::ftruncate(opened.fd.get(), static_cast<off_t>(options.file_bytes)) != 0) {
      fail("cannot make " + options.path + " larger", "ftruncate", errno);
    }
    opened.bytes = options.file_bytes;
  }
  if (opened.bytes < kFileDeviceFirstSegment) {
    throw Error("ERR_STORE_NOT_FOUND", options.path + " is too small to hold a store");
  }
  std::array<uint8_t, kSuperblockRegionBytes> region{};
  if (const int error = read_fully(opened.fd.get(), region.data(), region.size(), 0)) {
    fail("cannot read " + options.path, "pread", error);
  }
  // Whatever is there, a file system say, is somebody's: not only a store asks for `overwrite`.
  const bool empty = std::all_of(region.begin(), region.end(), [](uint8_t byte) { return byte == 0; });
  if (!empty && !options.overwrite) throw Error("ERR_STORE_EXISTS", options.path + " is not empty");
  if (const int error = write_zeros(opened.fd.get(), 0, kSuperblockRegionBytes)) {
    fail("cannot write " + options.path, "pwrite", error);
  }
  if (::fsync(opened.fd.get()) != 0) fail("cannot sync " + options.path, "fsync", errno);
  const size_t slash = options.path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : options.path.substr(0, slash + 1);
  if (const int error = sync_directory(parent.c_str())) fail("cannot sync " + parent, "fsync", error);
  return std::unique_ptr<Device>(new FileDevice(std::move(opened.fd), opened.bytes, opened.is_block_device));
}

int FileDevice::locate(uint32_t physical, Place& place) {
  place.file = file_;
  if (physical == kSuperblockRegion) {
    place.base = 0;
    return 0;
  }
  ensure(segment_bytes() > 0, "the segment size is known before a segment is used");
  place.base = base_of(physical);
  return place.base + segment_bytes() <= bytes_ ? 0 : ENOENT;
}

int FileDevice::prepare(uint32_t physical) {
  ensure(segment_bytes() > 0, "the segment size is known before a segment is used");
  if (base_of(physical) + segment_bytes() > bytes_) return ENOSPC;
  if (is_block_device_) return 0;  // nothing to allocate, and stale bytes are told by their segment header
  return write_ahead(fd_, base_of(physical), segment_bytes(), is_direct_refused_);
}

DeviceSpace FileDevice::space() const {
  if (is_block_device_) return {bytes_, 0};
  struct statvfs stat {};
  if (::fstatvfs(fd_, &stat) != 0) return {bytes_, 0};
  return {bytes_, stat.f_bavail * stat.f_frsize};
}

uint32_t FileDevice::segments_max(uint64_t segment_bytes) const {
  if (bytes_ < kFileDeviceFirstSegment) return 0;
  return static_cast<uint32_t>(
      std::min<uint64_t>((bytes_ - kFileDeviceFirstSegment) / segment_bytes, UINT32_MAX - 1));
}

}  // namespace cloudfs::shell
