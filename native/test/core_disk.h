// A disk for the core's tests: what the page cache has, what is on stable storage, and every way in which the two come
// apart when a process is killed or the power goes.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "core/base/effects.h"

namespace cloudfs::test {

using Random = std::mt19937_64;

inline uint64_t below(Random& random, uint64_t limit) {
  return random() % limit;
}
inline bool chance(Random& random, uint32_t percent) {
  return random() % 100 < percent;
}

class SimDisk {
 public:
  static constexpr size_t kSectorBytes = 512;

  explicit SimDisk(uint32_t segment_bytes) : segment_bytes_(segment_bytes) {}

  /// Takes effects over from the core.
  void issue(std::vector<IoEffect>&& effects) {
    for (IoEffect& effect : effects) {
      Flight flight;
      // A sync covers what was written before it was issued, in whatever state it stands when it completes.
      if (effect.kind == IoEffect::Kind::sync)
        for (const uint32_t physical : effect.physicals) note_dirty(physical, flight);
      flight.effect = std::move(effect);
      flights_.push_back(std::move(flight));
    }
  }
  bool busy() const { return !flights_.empty(); }
  size_t in_flight() const { return flights_.size(); }
  const IoEffect& effect(size_t index) const { return flights_[index].effect; }

  /// Carries out the effect at `index` of those in flight.
  IoResult complete(size_t index) {
    Flight flight = std::move(flights_[index]);
    flights_.erase(flights_.begin() + static_cast<std::ptrdiff_t>(index));
    IoEffect& effect = flight.effect;
    IoResult result{effect.id, 0};
    switch (effect.kind) {
      case IoEffect::Kind::write: {
        if (fail_writes > 0 && --fail_writes == 0) {
          result.error = EIO;
          break;
        }
        uint64_t offset = effect.offset;
        for (const Slice& slice : effect.slices) {
          write_cache(effect.physical, offset, slice.data, slice.size);
          offset += slice.size;
        }
        break;
      }
      case IoEffect::Kind::sync:
        ++syncs;
        if (fail_syncs > 0 && --fail_syncs == 0) {
          result.error = EIO;
          break;
        }
        for (const Dirty& dirty : flight.dirty) settle(dirty);
        break;
      case IoEffect::Kind::read: {
        const File& file = files_[effect.physical];
        uint8_t* out = effect.target.data();
        for (uint64_t done = 0; done < effect.bytes; ++done) {
          const uint64_t at = effect.offset + done;
          out[done] = at < file.cache.size() ? file.cache[at] : 0;
        }
        break;
      }
      case IoEffect::Kind::prepare: {
        if (full) {
          result.error = ENOSPC;
          break;
        }
        File& file = files_[effect.physical];
        if (file.cache.size() < segment_bytes_) {
          file.cache.resize(segment_bytes_);
          file.durable.resize(segment_bytes_);
        }
        break;
      }
    }
    return result;
  }

  /// The process is killed: the kernel keeps what it has; of writes under way any part is there.
  void kill(Random& random) {
    for (const Flight& flight : flights_) {
      if (flight.effect.kind != IoEffect::Kind::write) continue;
      const std::vector<uint8_t> bytes = gather(flight.effect);
      const size_t length =
          chance(random, 50) ? bytes.size() : below(random, bytes.size() / kSectorBytes + 1) * kSectorBytes;
      if (chance(random, 70)) write_cache(flight.effect.physical, flight.effect.offset, bytes.data(), length);
    }
    flights_.clear();
  }

  /// The power goes: every sector written since the last sync that covered it is there or not, in no order.
  void power_cut(Random& random) {
    for (const Flight& flight : flights_) {
      if (flight.effect.kind != IoEffect::Kind::write || chance(random, 50)) continue;
      const std::vector<uint8_t> bytes = gather(flight.effect);
      write_cache(flight.effect.physical, flight.effect.offset, bytes.data(), bytes.size());
    }
    flights_.clear();
    // Mostly all or nothing of a file's dirty sectors, sometimes a mixture.
    for (auto& [physical, file] : files_) {
      const uint32_t survive_percent = chance(random, 30)   ? 0
                                       : chance(random, 30) ? 100
                                                            : static_cast<uint32_t>(below(random, 101));
      for (const uint64_t sector : file.dirty) {
        uint8_t* durable = file.durable.data() + sector * kSectorBytes;
        if (chance(random, survive_percent))
          std::memcpy(durable, file.cache.data() + sector * kSectorBytes, kSectorBytes);
      }
      file.dirty.clear();
      file.cache = file.durable;
    }
  }

  /// Flips a bit of what is stored.
  void corrupt(uint32_t physical, uint64_t offset) {
    files_[physical].cache[offset] ^= 1;
    files_[physical].durable[offset] ^= 1;
  }
  std::vector<uint8_t>& cache(uint32_t physical) { return files_[physical].cache; }
  size_t bytes() const {
    size_t total = 0;
    for (const auto& [physical, file] : files_) total += file.cache.size();
    return total;
  }

  int fail_writes = 0;  // n: the n-th write from now on fails
  int fail_syncs = 0;
  int syncs = 0;      // asked for
  bool full = false;  // no segment can be prepared

 private:
  struct File {
    std::vector<uint8_t> cache;
    std::vector<uint8_t> durable;
    std::set<uint64_t> dirty;  // sectors in which they differ, perhaps
  };
  struct Dirty {
    uint32_t physical = 0;
    uint64_t sector = 0;
    std::vector<uint8_t> bytes;
  };
  struct Flight {
    IoEffect effect;
    std::vector<Dirty> dirty;
  };

  static std::vector<uint8_t> gather(const IoEffect& effect) {
    std::vector<uint8_t> bytes;
    for (const Slice& slice : effect.slices) bytes.insert(bytes.end(), slice.data, slice.data + slice.size);
    return bytes;
  }
  void write_cache(uint32_t physical, uint64_t offset, const uint8_t* bytes, size_t length) {
    if (length == 0) return;
    File& file = files_[physical];
    if (file.cache.size() < offset + length) {
      file.cache.resize(offset + length);
      file.durable.resize(offset + length);
    }
    std::memcpy(file.cache.data() + offset, bytes, length);
    for (uint64_t sector = offset / kSectorBytes; sector <= (offset + length - 1) / kSectorBytes; ++sector)
      file.dirty.insert(sector);
  }
  void note_dirty(uint32_t physical, Flight& flight) {
    File& file = files_[physical];
    for (const uint64_t sector : file.dirty) {
      const uint8_t* bytes = file.cache.data() + sector * kSectorBytes;
      flight.dirty.push_back({physical, sector, {bytes, bytes + kSectorBytes}});
    }
  }
  void settle(const Dirty& dirty) {
    File& file = files_[dirty.physical];
    uint8_t* durable = file.durable.data() + dirty.sector * kSectorBytes;
    std::memcpy(durable, dirty.bytes.data(), kSectorBytes);
    if (std::memcmp(durable, file.cache.data() + dirty.sector * kSectorBytes, kSectorBytes) == 0)
      file.dirty.erase(dirty.sector);
  }

  uint32_t segment_bytes_;
  std::map<uint32_t, File> files_;
  std::vector<Flight> flights_;
};

}  // namespace cloudfs::test
