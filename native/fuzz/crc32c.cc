// Splitting the input anywhere does not change its checksum. The first byte says where.
#include "core/crc32c.h"

#include <algorithm>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const std::size_t split = size == 0 ? 0 : std::min<std::size_t>(data[0], size);
  if (cloudfs::crc32c(bytes) != cloudfs::crc32c(bytes.subspan(split), cloudfs::crc32c(bytes.first(split))))
    std::abort();
  return 0;
}
