// Breadth-first search of every state a model can reach, exact: visited states are kept and compared whole.
//
// It knows nothing of what is modelled. A Model gives
//
//   using State, Step                          plain bytes, without padding whose value varies
//   size_t state_bytes() const                 how much of a State differs between states; the rest stays as it began
//   State initial()
//   void each_step(const State&, F)            calls F(step, next) for all that can happen next
//   const char* broken(const State&)           the invariant that the state breaks, or nullptr
//   size_t bytes() const                       memory that the model itself uses
//
// Breadth first, so that the first violation found is one of the fewest steps. The search has one bound, memory: past it
// it stops and says so, and a search that stopped has shown nothing.
#pragma once

#include <time.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace cloudfs::model {

/// Processor time of this thread: others on the machine do not change it.
inline double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

/// What a search came to.
template <class Model>
struct Outcome {
  enum class End { kHolds, kBroken, kOutOfMemory };
  struct Event {
    typename Model::Step step;
    typename Model::State after;
  };

  End end = End::kHolds;
  const char* broken = nullptr;  ///< the invariant
  std::vector<Event> trace;      ///< how its state is reached, in the fewest steps
  uint64_t state_count = 0;
  uint32_t depth = 0;
  double cpu_seconds = 0;
};

/// Byte strings of one size, each kept once and numbered in the order they came.
class StateSet {
 public:
  explicit StateSet(size_t state_bytes) : state_bytes_(state_bytes), slots_(1U << 16) {}

  uint32_t count() const { return count_; }
  const uint8_t* at(uint32_t index) const {
    return chunks_[index / kChunkStates].get() + size_t{index % kChunkStates} * state_bytes_;
  }
  size_t bytes() const { return chunks_.size() * kChunkStates * state_bytes_ + slots_.size() * sizeof(Slot); }

  /// Returns whether the state is new.
  bool insert(const void* state) {
    if (uint64_t{count_} * 2 > slots_.size()) grow();
    const uint64_t hash = hash_of(state);
    const auto tag = static_cast<uint32_t>(hash >> 32);
    size_t at_slot = hash & (slots_.size() - 1);
    for (; slots_[at_slot].number != 0; at_slot = (at_slot + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[at_slot];
      if (slot.tag == tag && std::memcmp(at(slot.number - 1), state, state_bytes_) == 0) return false;
    }
    if (count_ % kChunkStates == 0)
      chunks_.push_back(std::make_unique<uint8_t[]>(size_t{kChunkStates} * state_bytes_));
    std::memcpy(chunks_.back().get() + size_t{count_ % kChunkStates} * state_bytes_, state, state_bytes_);
    slots_[at_slot] = {++count_, tag};
    return true;
  }

 private:
  static constexpr uint32_t kChunkStates = 1U << 14;
  struct Slot {
    uint32_t number = 0;  ///< 1 + index; 0 is free
    uint32_t tag = 0;     ///< high half of the hash: most others differ here already
  };

  uint64_t hash_of(const void* state) const {
    const auto* bytes = static_cast<const uint8_t*>(state);
    uint64_t hash = 0x9E37'79B9'7F4A'7C15;
    for (size_t i = 0; i < state_bytes_; i += 8) {
      uint64_t word = 0;
      std::memcpy(&word, bytes + i, state_bytes_ - i < 8 ? state_bytes_ - i : 8);
      hash = (hash ^ word) * 0xFF51'AFD7'ED55'8CCD;
      hash ^= hash >> 32;
    }
    return hash;
  }

  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.number == 0) continue;
      size_t at_slot = hash_of(at(slot.number - 1)) & (slots_.size() - 1);
      while (slots_[at_slot].number != 0) at_slot = (at_slot + 1) & (slots_.size() - 1);
      slots_[at_slot] = slot;
    }
  }

  size_t state_bytes_;
  std::vector<std::unique_ptr<uint8_t[]>> chunks_;
  std::vector<Slot> slots_;
  uint32_t count_ = 0;
};

/// Searches until everything is seen, an invariant breaks, or `memory_bytes_max` is used.
template <class Model>
Outcome<Model> search(Model& model, size_t memory_bytes_max) {
  using State = typename Model::State;
  using Step = typename Model::Step;
  struct Origin {
    uint32_t from;
    Step step;
  };

  const double started = cpu_seconds();
  const State initial = model.initial();
  StateSet seen(model.state_bytes());
  std::vector<Origin> origins;
  Outcome<Model> outcome;

  auto state_at = [&](uint32_t index) {
    State state = initial;
    std::memcpy(&state, seen.at(index), model.state_bytes());
    return state;
  };
  auto broken = [&](const State& state, uint32_t from, Step step) {
    outcome.broken = model.broken(state);
    if (outcome.broken == nullptr) return false;
    outcome.end = Outcome<Model>::End::kBroken;
    outcome.trace.push_back({step, state});
    for (uint32_t index = from; index != 0; index = origins[index].from)
      outcome.trace.insert(outcome.trace.begin(), {origins[index].step, state_at(index)});
    return true;
  };

  seen.insert(&initial);
  origins.push_back({0, Step{}});
  uint32_t next_level = 1;
  for (uint32_t index = 0; index < seen.count() && outcome.end == Outcome<Model>::End::kHolds; ++index) {
    if (index == next_level) {
      ++outcome.depth;
      next_level = seen.count();
    }
    if (model.bytes() + seen.bytes() + origins.capacity() * sizeof(Origin) > memory_bytes_max) {
      outcome.end = Outcome<Model>::End::kOutOfMemory;
      break;
    }
    model.each_step(state_at(index), [&](Step step, const State& next) {
      if (outcome.end != Outcome<Model>::End::kHolds || !seen.insert(&next)) return;
      origins.push_back({index, step});
      broken(next, index, step);
    });
  }
  outcome.state_count = seen.count();
  outcome.cpu_seconds = cpu_seconds() - started;
  return outcome;
}

}  // namespace cloudfs::model
