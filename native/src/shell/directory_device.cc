#include "shell/directory_device.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>

#include "core/base/assert.h"
#include "shell/error.h"
#include "shell/file_io.h"
#include "shell/lock.h"

namespace cloudfs::shell {

namespace {

using SegmentName = std::array<char, 16>;

SegmentName segment_name(uint32_t physical) {
  SegmentName name{};
  std::snprintf(name.data(), name.size(), "%08" PRIx32 ".seg", physical);
  return name;
}

[[noreturn]] void fail(const std::string& what, const char* syscall, int error) {
  throw Error("ERR_STORE_IO", what, error, syscall);
}

Fd open_or_fail(const std::string& path, int flags) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC, 0600));
  if (fd) return fd;
  const int error = errno;
  if (error == ENOENT) throw Error("ERR_STORE_NOT_FOUND", "no store at " + path, error, "open");
  fail("cannot open " + path, "open", error);
}

Fd lock_directory(const std::string& path) {
  Fd lock = open_or_fail(path + "/lock", O_RDWR | O_CREAT);
  lock_or_throw(lock.get(), path);
  return lock;
}

void make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) fail("cannot make " + path, "mkdir", errno);
}

void sync_or_fail(const std::string& path) {
  if (const int error = sync_directory(path.c_str())) fail("cannot sync " + path, "fsync", error);
}

/// Segments of an earlier store may have another size.
void remove_segments(const std::string& path) {
  DIR* const directory = ::opendir(path.c_str());
  if (directory == nullptr) fail("cannot list " + path, "opendir", errno);
  int error = 0;
  while (const dirent* const entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    if (!name.ends_with(".seg")) continue;
    if (::unlinkat(::dirfd(directory), name.c_str(), 0) != 0) error = errno;
  }
  ::closedir(directory);
  if (error != 0) fail("cannot empty " + path, "unlink", error);
}

}  // namespace

DirectoryDevice::DirectoryDevice(std::string path, Fd directory, Fd lock)
    : path_(std::move(path)), directory_(std::move(directory)), lock_(std::move(lock)) {}

std::unique_ptr<Device> DirectoryDevice::open(const std::string& path) {
  open_or_fail(path + "/superblock", O_RDONLY);  // before a lock file is left where no store is
  Fd lock = lock_directory(path);
  Fd segments = open_or_fail(path + "/segments", O_RDONLY | O_DIRECTORY);
  return std::unique_ptr<Device>(new DirectoryDevice(path, std::move(segments), std::move(lock)));
}

std::unique_ptr<Device> DirectoryDevice::create(const CreateOptions& options) {
  const std::string& path = options.path;
  make_directory(path);
  Fd lock = lock_directory(path);
  const bool exists = ::access((path + "/superblock").c_str(), F_OK) == 0;
  if (exists && !options.overwrite)
    throw Error("ERR_STORE_EXISTS", "there is a store at " + path + " already");

  // The superblock goes first: a crash on the way leaves no store, not half of one.
  const Fd superblock = open_or_fail(path + "/superblock", O_RDWR | O_CREAT);
  if (const int error = write_zeros(superblock.get(), 0, kSuperblockRegionBytes)) {
    fail("cannot write " + path + "/superblock", "pwrite", error);
  }
  if (::fsync(superblock.get()) != 0) fail("cannot sync " + path + "/superblock", "fsync", errno);
  make_directory(path + "/segments");
  remove_segments(path + "/segments");
  sync_or_fail(path + "/segments");
  sync_or_fail(path);
  sync_or_fail(path + "/..");
  Fd segments = open_or_fail(path + "/segments", O_RDONLY | O_DIRECTORY);
  return std::unique_ptr<Device>(new DirectoryDevice(path, std::move(segments), std::move(lock)));
}

int DirectoryDevice::locate(uint32_t physical, Place& place) {
  place.base = 0;
  if (const auto found = cache_.find(physical); found != cache_.end()) {
    ages_.splice(ages_.end(), ages_, found->second.age);
    place.file = found->second.file;
    return 0;
  }
  Fd fd(physical == kSuperblockRegion
            ? ::open((path_ + "/superblock").c_str(), O_RDWR | O_CLOEXEC)
            : ::openat(directory_.get(), segment_name(physical).data(), O_RDWR | O_CLOEXEC));
  if (!fd) return errno;
  if (cache_.size() >= kOpenFilesMax) forget_oldest();
  place.file = std::make_shared<StoreFile>(std::move(fd));
  cache_.emplace(physical, Cached{place.file, ages_.insert(ages_.end(), physical)});
  return 0;
}

void DirectoryDevice::forget_oldest() {
  for (auto age = ages_.begin(); age != ages_.end(); ++age) {
    const auto found = cache_.find(*age);
    ensure(found != cache_.end(), "each age belongs to a cached file");
    if (found->second.file.use_count() > 1) continue;  // read now, or written and not synced
    cache_.erase(found);
    ages_.erase(age);
    return;
  }
}

int DirectoryDevice::prepare(uint32_t physical) {
  ensure(segment_bytes() > 0, "the segment size is known before a segment is used");
  const Fd fd(::openat(directory_.get(), segment_name(physical).data(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return errno;
  int error = write_ahead(fd.get(), 0, segment_bytes(), is_direct_refused_);
  if (error == 0 && ::fsync(directory_.get()) != 0) error = errno;
  return error;
}

DeviceSpace DirectoryDevice::space() const {
  struct statvfs stat {};
  if (::fstatvfs(directory_.get(), &stat) != 0) return {};
  return {stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize};
}

uint32_t DirectoryDevice::segments_max(uint64_t) const {
  return UINT32_MAX - 1;
}

}  // namespace cloudfs::shell
