// A hash map of unsigned keys (0 excepted) in one array: look-ups on the read path cost one or two cache lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/base/assert.h"

namespace cloudfs {

template <class Key, class Value>
  requires std::is_unsigned_v<Key>
class FlatMap {
 public:
  Value* find(Key key) {
    if (count_ == 0 || key == 0) return nullptr;
    for (size_t index = home(key);; index = (index + 1) & mask()) {
      if (cells_[index].first == key) return &cells_[index].second;
      if (cells_[index].first == 0) return nullptr;
    }
  }
  const Value* find(Key key) const { return const_cast<FlatMap*>(this)->find(key); }

  /// The key must not be there.
  Value& insert(Key key, Value value) {
    ensure(key != 0 && find(key) == nullptr, "a key is inserted once");
    if (cells_.size() < (count_ + 1) * 2) grow();
    ++count_;
    return place(key, std::move(value));
  }

  /// The key must be there.
  void erase(Key key) {
    Value* found = find(key);
    ensure(found != nullptr, "what is erased is there");
    size_t hole = home(key);
    while (cells_[hole].first != key) hole = (hole + 1) & mask();
    // Moves back what probed past the hole, so that no search ends early.
    for (size_t index = (hole + 1) & mask(); cells_[index].first != 0; index = (index + 1) & mask()) {
      const size_t wanted = home(cells_[index].first);
      if (((index - wanted) & mask()) < ((index - hole) & mask())) continue;
      cells_[hole] = std::move(cells_[index]);
      hole = index;
    }
    cells_[hole] = {};
    --count_;
  }

  size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }

  template <class Visit>
  void each(Visit visit) const {
    for (const auto& [key, value] : cells_)
      if (key != 0) visit(key, value);
  }

 private:
  size_t mask() const { return cells_.size() - 1; }
  size_t home(Key key) const {
    return static_cast<size_t>((uint64_t{key} * 0x9e3779b97f4a7c15) >> 20) & mask();
  }
  Value& place(Key key, Value value) {
    size_t index = home(key);
    while (cells_[index].first != 0) index = (index + 1) & mask();
    cells_[index] = {key, std::move(value)};
    return cells_[index].second;
  }
  void grow() {
    std::vector<std::pair<Key, Value>> old(cells_.empty() ? 16 : cells_.size() * 2);
    old.swap(cells_);
    for (auto& [key, value] : old)
      if (key != 0) place(key, std::move(value));
  }

  std::vector<std::pair<Key, Value>> cells_;
  size_t count_ = 0;
};

}  // namespace cloudfs
