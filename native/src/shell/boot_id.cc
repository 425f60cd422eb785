#include "shell/boot_id.h"

#include <algorithm>
#include <fstream>
#include <string>

#include "core/base/hex.h"
#include "shell/error.h"

namespace cloudfs::shell {

std::array<uint8_t, 16> kernel_boot_id() {
  std::string text;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> text;
  std::erase(text, '-');
  const auto bytes = parse_hex(text);
  std::array<uint8_t, 16> id{};
  if (!bytes || bytes->size() != id.size())
    throw Error("ERR_STORE_IO", "/proc/sys/kernel/random/boot_id does not tell this boot from others");
  std::copy(bytes->begin(), bytes->end(), id.begin());
  return id;
}

}  // namespace cloudfs::shell
