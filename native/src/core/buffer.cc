#include "core/buffer.h"

#include <cstdlib>
#include <new>

#include "core/assert.h"

namespace cloudfs {

namespace {

constexpr size_t kPageBytes = 4096;

}  // namespace

// The counts stand in an allocation of their own: in front of the data they would cost every buffer a page.
Buffer* Buffer::allocate(size_t bytes) {
  ensure(bytes <= SIZE_MAX - kPageBytes, "a buffer's size is bounded before it is allocated");
  const size_t rounded = bytes == 0 ? kPageBytes : (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  auto* data = static_cast<uint8_t*>(std::aligned_alloc(kPageBytes, rounded));
  if (data == nullptr) throw std::bad_alloc();
  return new Buffer(data, bytes);
}

void Buffer::release() {
  ensure(count_ > 0, "a buffer is released once for each reference");
  if (--count_ > 0) return;
  std::free(data_);
  delete this;
}

}  // namespace cloudfs
