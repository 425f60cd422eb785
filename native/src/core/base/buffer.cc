#include "core/base/buffer.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <new>
#include <vector>

#include "core/base/assert.h"

namespace cloudfs {

namespace {

constexpr size_t kPageBytes = 4096;
// Buffers of up to this size are kept for their next user: memory fresh from the kernel costs a page fault for each page,
// several times what is done with it here.
constexpr size_t kPooledBytesMax = 4u << 20;
constexpr size_t kPoolBytesMax = 16u << 20;  // kept by a thread
constexpr size_t kClasses = std::countr_zero(kPooledBytesMax / kPageBytes) + 1;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kPooling = false;  // so that a use after the end is seen
#else
constexpr bool kPooling = true;
#endif

/// Memory of one thread for buffers of 1, 2, 4, … pages.
class Pool {
 public:
  ~Pool() {
    gone = true;
    for (std::vector<uint8_t*>& spares : spares_)
      for (uint8_t* const spare : spares) std::free(spare);
  }

  uint8_t* take(size_t size_class) {
    std::vector<uint8_t*>& spares = spares_[size_class];
    if (spares.empty()) return nullptr;
    uint8_t* const data = spares.back();
    spares.pop_back();
    bytes_ -= kPageBytes << size_class;
    return data;
  }

  /// @returns whether the pool took it
  bool give(size_t size_class, uint8_t* data) {
    const size_t bytes = kPageBytes << size_class;
    if (bytes_ + bytes > kPoolBytesMax) return false;
    spares_[size_class].push_back(data);
    bytes_ += bytes;
    return true;
  }

  static thread_local bool gone;  // a buffer may outlive its thread's pool while a process ends

 private:
  std::array<std::vector<uint8_t*>, kClasses> spares_;
  size_t bytes_ = 0;
};

thread_local bool Pool::gone = false;
thread_local Pool pool;

bool is_pooled(size_t bytes) {
  return kPooling && bytes <= kPooledBytesMax && !Pool::gone;
}

size_t class_of(size_t bytes) {
  const size_t pages = bytes == 0 ? 1 : (bytes + kPageBytes - 1) / kPageBytes;
  return std::bit_width(pages - 1);
}

uint8_t* allocate_pages(size_t bytes) {
  size_t rounded = bytes == 0 ? kPageBytes : (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  if (is_pooled(bytes)) {
    const size_t size_class = class_of(bytes);
    if (uint8_t* const spare = pool.take(size_class)) return spare;
    rounded = kPageBytes << size_class;
  }
  auto* const data = static_cast<uint8_t*>(std::aligned_alloc(kPageBytes, rounded));
  if (data == nullptr) throw std::bad_alloc();
  return data;
}

}  // namespace

// The counts stand in an allocation of their own: in front of the data they would cost every buffer a page.
Buffer* Buffer::allocate(size_t bytes) {
  ensure(bytes <= SIZE_MAX - kPageBytes, "a buffer's size is bounded before it is allocated");
  return new Buffer(allocate_pages(bytes), bytes);
}

void Buffer::release() {
  ensure(count_ > 0, "a buffer is released once for each reference");
  if (--count_ > 0) return;
  if (!is_pooled(size_) || !pool.give(class_of(size_), data_)) std::free(data_);
  delete this;
}

}  // namespace cloudfs
