// A queue in one power-of-two array: pending records and batches come and go at its ends millions of times a second.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "core/base/assert.h"

namespace cloudfs {

template <class T>
class Ring {
 public:
  bool empty() const { return count_ == 0; }
  size_t size() const { return count_; }
  T& operator[](size_t index) {
    ensure(index < count_, "a ring is read inside its bounds");
    return items_[(head_ + index) & (items_.size() - 1)];
  }
  const T& operator[](size_t index) const {
    ensure(index < count_, "a ring is read inside its bounds");
    return items_[(head_ + index) & (items_.size() - 1)];
  }
  T& front() { return (*this)[0]; }
  const T& front() const { return (*this)[0]; }
  T& back() { return (*this)[count_ - 1]; }
  const T& back() const { return (*this)[count_ - 1]; }

  T& push_back(T value) {
    if (count_ == items_.size()) grow();
    T& place = items_[(head_ + count_) & (items_.size() - 1)];
    place = std::move(value);
    ++count_;
    return place;
  }
  void push_front(T value) {
    if (count_ == items_.size()) grow();
    head_ = (head_ + items_.size() - 1) & (items_.size() - 1);
    items_[head_] = std::move(value);
    ++count_;
  }
  /// The item's resources are released at once, not when its place is used again.
  void pop_front() {
    front() = T{};
    head_ = (head_ + 1) & (items_.size() - 1);
    --count_;
  }
  void pop_back() {
    back() = T{};
    --count_;
  }
  void clear() {
    while (!empty()) pop_front();
  }

 private:
  void grow() {
    std::vector<T> items(items_.empty() ? 16 : items_.size() * 2);
    for (size_t index = 0; index < count_; ++index) items[index] = std::move((*this)[index]);
    items_ = std::move(items);
    head_ = 0;
  }

  std::vector<T> items_;
  size_t head_ = 0;
  size_t count_ = 0;
};

}  // namespace cloudfs
