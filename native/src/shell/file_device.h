// A store as one block device or one big file.
#pragma once

#include <atomic>

#include "shell/device.h"

namespace cloudfs::shell {

class FileDevice final : public Device {
 public:
  static std::unique_ptr<Device> open(const std::string& path);
  static std::unique_ptr<Device> create(const CreateOptions& options);

  int locate(uint32_t physical, Place& place) override;
  int prepare(uint32_t physical) override;
  DeviceSpace space() const override;
  bool is_directory() const override { return false; }
  uint32_t segments_max(uint64_t segment_bytes) const override;

 private:
  FileDevice(Fd fd, uint64_t bytes, bool is_block_device);
  uint64_t base_of(uint32_t physical) const { return kFileDeviceFirstSegment + physical * segment_bytes(); }

  const std::shared_ptr<StoreFile> file_;
  const int fd_;
  const uint64_t bytes_;
  const bool is_block_device_;
  std::atomic<bool> is_direct_refused_{false};  // write_ahead's
};

}  // namespace cloudfs::shell
