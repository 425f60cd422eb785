// Splitting the input anywhere does not change its checksum. The first byte says where.
#include <algorithm>
#include <cstdlib>

#include "core/base/checksum.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const cloudfs::ByteSpan bytes(data, size);
  const size_t split = size == 0 ? 0 : std::min<size_t>(data[0], size);
  const uint32_t halves = cloudfs::crc32c(bytes.subspan(split), cloudfs::crc32c(bytes.first(split)));
  if (cloudfs::crc32c(bytes) != halves) std::abort();
  return 0;
}
