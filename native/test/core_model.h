// What clients of volumes may see: for each 512-byte unit the writes that may be its content, from when they were issued to
// when they were acknowledged, and whether a sync covers them.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace cloudfs::test {

constexpr uint64_t kUnitBytes = 512;
constexpr uint64_t kNever = UINT64_MAX;

/// A write's mark: each unit that it covers repeats it. 0 = zeros.
inline void fill_unit(uint8_t* unit, uint64_t id) {
  for (uint64_t word = 0; word < kUnitBytes / 8; ++word) {
    const uint64_t value = id == 0 ? 0 : id ^ (word * 0x9e3779b97f4a7c15);
    std::memcpy(unit + word * 8, &value, 8);
  }
}
/// @returns false if the unit is no write's
inline bool read_unit(const uint8_t* unit, uint64_t& id) {
  std::memcpy(&id, unit, 8);
  for (uint64_t word = 1; word < kUnitBytes / 8; ++word) {
    uint64_t value = 0;
    std::memcpy(&value, unit + word * 8, 8);
    if (value != (id == 0 ? 0 : id ^ (word * 0x9e3779b97f4a7c15))) return false;
  }
  return true;
}

class UnitModel {
 public:
  struct Value {
    uint64_t id = 0;
    uint64_t issued = 0;
    uint64_t acknowledged = kNever;
    bool durable = false;
  };

  UnitModel() { values_.push_back({0, 0, 0, true}); }

  void issue(uint64_t id, uint64_t now) { values_.push_back({id, now, kNever, false}); }
  /// `oldest`: when the oldest read under way was issued; what it may see is kept.
  void acknowledge(uint64_t id, uint64_t issued, uint64_t now, bool durable, uint64_t oldest) {
    for (Value& value : values_) {
      if (value.id != id || value.issued != issued) continue;
      value.acknowledged = now;
      value.durable = durable;
    }
    prune(oldest);
  }
  /// All that was acknowledged before `when` is durable.
  void flushed(uint64_t when, uint64_t oldest) {
    for (Value& value : values_) value.durable |= value.acknowledged < when;
    prune(oldest);
  }
  /// May a read issued at `read_issued` see `id`?
  bool allows(uint64_t id, uint64_t read_issued) const {
    for (const Value& value : values_)
      if (value.id == id && !superseded(value, read_issued, false)) return true;
    return false;
  }
  /// May `id` be there after a crash? A power cut leaves only what was durable for certain.
  bool survives(uint64_t id, bool power_cut) const {
    for (const Value& value : values_)
      if (value.id == id && !superseded(value, kNever, power_cut)) return true;
    return false;
  }
  void collapse(uint64_t id, uint64_t now) { values_.assign(1, {id, now, now, true}); }
  std::string describe() const {
    std::string out;
    for (const Value& value : values_)
      out += " " + std::to_string(value.id) + "[" + std::to_string(value.issued) + "," +
             (value.acknowledged == kNever ? "-" : std::to_string(value.acknowledged)) +
             (value.durable ? ",d]" : "]");
    return out;
  }

 private:
  bool superseded(const Value& value, uint64_t before, bool durable_only) const {
    for (const Value& later : values_)
      if (later.issued > value.acknowledged && later.acknowledged < before &&
          (later.durable || !durable_only))
        return true;
    return false;
  }
  void prune(uint64_t oldest) {
    std::erase_if(values_, [&](const Value& value) { return superseded(value, oldest, true); });
  }
  std::vector<Value> values_;
};

}  // namespace cloudfs::test
