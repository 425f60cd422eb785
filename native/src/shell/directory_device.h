// A store as a directory: `superblock`, `lock`, `segments/PPPPPPPP.seg`.
#pragma once

#include <atomic>
#include <list>
#include <unordered_map>

#include "shell/device.h"

namespace cloudfs::shell {

/// Descriptors kept open. Past this the one unused longest is closed, unless it has writes that are not synced: a file
/// opened anew might not be told that writing them back failed.
constexpr size_t kOpenFilesMax = 512;

class DirectoryDevice final : public Device {
 public:
  static std::unique_ptr<Device> open(const std::string& path);
  static std::unique_ptr<Device> create(const CreateOptions& options);

  int locate(uint32_t physical, Place& place) override;
  int prepare(uint32_t physical) override;
  DeviceSpace space() const override;
  bool is_directory() const override { return true; }
  uint32_t segments_max(uint64_t segment_bytes) const override;

 private:
  struct Cached {
    std::shared_ptr<StoreFile> file;
    std::list<uint32_t>::iterator age;
  };

  DirectoryDevice(std::string path, Fd directory, Fd lock);
  void forget_oldest();

  const std::string path_;
  const Fd directory_;  // of the segments
  const Fd lock_;
  std::atomic<bool> is_direct_refused_{false};  // write_ahead's
  std::unordered_map<uint32_t, Cached> cache_;
  std::list<uint32_t> ages_;  // least recently used first
};

}  // namespace cloudfs::shell
