// Reference-counted bytes. A Slice keeps its buffer alive, so a client's payload can be checksummed,
// appended, sent to replicas and answered from one copy. Counts are plain integers: buffers of a core are
// touched by its thread alone; the shell hands slices to other threads only between an effect and its
// completion and never copies them there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace cloudfs {

/// One allocation. Use through BufferRef.
class Buffer {
 public:
  static Buffer* allocate(size_t bytes);  // page-aligned; count starts at 1
  uint8_t* data() { return data_; }
  size_t size() const { return size_; }
  uint32_t count() const { return count_; }
  void add_ref() { ++count_; }
  void release();

 private:
  Buffer(uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint8_t* data_;
  size_t size_;
  uint32_t count_ = 1;
};

class BufferRef {
 public:
  BufferRef() = default;
  explicit BufferRef(size_t bytes) : buffer_(Buffer::allocate(bytes)) {}
  BufferRef(const BufferRef& other) : buffer_(other.buffer_) {
    if (buffer_ != nullptr) buffer_->add_ref();
  }
  BufferRef(BufferRef&& other) noexcept : buffer_(std::exchange(other.buffer_, nullptr)) {}
  BufferRef& operator=(BufferRef other) noexcept {
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~BufferRef() {
    if (buffer_ != nullptr) buffer_->release();
  }
  uint8_t* data() const { return buffer_->data(); }
  size_t size() const { return buffer_ == nullptr ? 0 : buffer_->size(); }
  explicit operator bool() const { return buffer_ != nullptr; }
  /// The same buffer, not equal bytes.
  bool operator==(const BufferRef& other) const { return buffer_ == other.buffer_; }
  /// Nobody else refers to these bytes: they may be written again.
  bool unique() const { return buffer_ != nullptr && buffer_->count() == 1; }

 private:
  Buffer* buffer_ = nullptr;
};

/// Bytes [data, data + size) inside `owner`, or static bytes if `owner` is empty.
struct Slice {
  BufferRef owner;
  const uint8_t* data = nullptr;
  size_t size = 0;
};

}  // namespace cloudfs
