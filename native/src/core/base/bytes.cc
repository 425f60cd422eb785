#include "core/base/bytes.h"

namespace cloudfs {

bool all_zero(ByteSpan bytes) {
  if (bytes.empty()) return true;
  // Compared with itself one byte further on: all bytes equal the first.
  return bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace cloudfs
