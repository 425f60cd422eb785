#include "shell/device.h"

#include <sys/stat.h>

#include "shell/directory_device.h"
#include "shell/file_device.h"

namespace cloudfs::shell {

namespace {

bool is_directory(const std::string& path) {
  struct stat stat {};
  return ::stat(path.c_str(), &stat) == 0 && S_ISDIR(stat.st_mode);
}

bool exists(const std::string& path) {
  struct stat stat {};
  return ::stat(path.c_str(), &stat) == 0;
}

}  // namespace

std::unique_ptr<Device> open_device(const std::string& path) {
  return is_directory(path) ? DirectoryDevice::open(path) : FileDevice::open(path);
}

std::unique_ptr<Device> create_device(const CreateOptions& options) {
  const bool as_directory = is_directory(options.path) || (options.file_bytes == 0 && !exists(options.path));
  return as_directory ? DirectoryDevice::create(options) : FileDevice::create(options);
}

}  // namespace cloudfs::shell
