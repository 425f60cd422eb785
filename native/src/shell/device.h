// Where a store's bytes lie (docs/disk-format.md, "Where things lie"): a directory of segment files, or a block device or
// one big file. Both are behind one interface, and neither decides anything.
//
// A segment is written in full, with zeros, before it is used, so that no append pays for metadata of the file system.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/base/effects.h"
#include "shell/fd.h"

namespace cloudfs::shell {

constexpr uint64_t kSuperblockRegionBytes = 8192;
constexpr uint64_t kFileDeviceFirstSegment = 1ull << 20;  // of a device or big file: where segment 0 starts

/// An open file of a store. The device may forget it at any time; whoever holds it keeps the descriptor open.
struct StoreFile {
  explicit StoreFile(Fd file) : fd(std::move(file)) {}
  Fd fd;
  uint64_t last_write = 0;  // number of the newest write to it; belongs to the loop's thread
};

/// A segment's place: byte 0 of it is byte `base` of `file`.
struct Place {
  std::shared_ptr<StoreFile> file;
  uint64_t base = 0;
};

struct DeviceSpace {
  uint64_t total_bytes = 0;      // of the file system, or of the device
  uint64_t available_bytes = 0;  // more that the store could be given
};

/// A store's place, locked against every other process for as long as this object lives.
class Device {
 public:
  virtual ~Device() = default;

  /// Known once the superblock is read, or given at format; before that only the superblock region can be located.
  void set_segment_bytes(uint64_t bytes) { segment_bytes_ = bytes; }
  uint64_t segment_bytes() const { return segment_bytes_; }

  /// Finds segment `physical`, or the superblock region (kSuperblockRegion). For one thread, the loop's.
  /// @returns 0, or an errno; ENOENT = never prepared, reads as zeros
  virtual int locate(uint32_t physical, Place& place) = 0;

  /// Makes `physical` exist at full size, written and on stable storage. Blocks; another thread than locate()'s may call
  /// it, one at a time. A segment that is whole already keeps its bytes. @returns 0, or an errno
  virtual int prepare(uint32_t physical) = 0;

  virtual DeviceSpace space() const = 0;
  virtual bool is_directory() const = 0;

  /// How many segments of this size fit, whatever the file system has left. UINT32_MAX - 1 at most.
  virtual uint32_t segments_max(uint64_t segment_bytes) const = 0;

 private:
  uint64_t segment_bytes_ = 0;
};

/// Opens and locks what is at `path`.
/// @throws Error ERR_STORE_LOCKED another process has it; ERR_STORE_NOT_FOUND no store's files are there; ERR_STORE_IO
std::unique_ptr<Device> open_device(const std::string& path);

struct CreateOptions {
  std::string path;
  bool overwrite = false;   // gives up a store that is there already
  uint64_t file_bytes = 0;  // 0: a directory, or the device that is there; else one big file of this size
};

/// Makes an empty place for a store: no superblock, no segment of an earlier store.
/// @throws Error as open_device, and ERR_STORE_EXISTS if a store is there and `overwrite` is false
std::unique_ptr<Device> create_device(const CreateOptions& options);

}  // namespace cloudfs::shell
