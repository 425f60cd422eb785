// Epochs promised, by volume (docs/protocol.md, E1): upwards only, kept in local item 2, and nobody is told before that is
// synced.
#pragma once

#include <unordered_map>
#include <vector>

#include "core/volume/local_items.h"

namespace cloudfs {

class Promises {
 public:
  explicit Promises(const LocalItems& locals) : locals_(locals) {}

  /// Zero: none is recorded.
  Epoch of(const VolumeId& volume) const;
  bool is_synced(const VolumeId& volume) const;
  bool is_under_way(const VolumeId& volume) const;
  /// Was promised to a candidate by this life of the store, and no leader was made of it: no other life uses an epoch of
  /// this host's again, nor does this one use it twice.
  bool is_fresh(const VolumeId& volume, const Epoch& epoch) const;
  void use(const VolumeId& volume) { promised_.at(volume).is_fresh = false; }

  /// Promises; the caller logs item() under the number returned.
  uint64_t raise(const VolumeId& volume, const Epoch& epoch, bool to_candidate);
  static std::vector<uint8_t> item(const Epoch& epoch);
  /// The command is answered once the promise is synced.
  void wait(const VolumeId& volume, uint64_t command) { promised_.at(volume).waiting.push_back(command); }

  struct Settled {
    VolumeId volume;
    std::vector<uint64_t> waiting;
  };
  /// The item of this number is synced; or could not be logged, and may be asked for again.
  Settled settle(uint64_t number, bool is_synced);

 private:
  struct One {
    Epoch epoch;
    uint64_t number = 0;  // of the item under way; 0 = none
    bool is_synced = false;
    bool is_fresh = false;
    std::vector<uint64_t> waiting;
  };
  const LocalItems& locals_;
  std::unordered_map<VolumeId, One> promised_;  // of this life; older ones are in the items
  std::unordered_map<uint64_t, VolumeId> under_way_;
  uint64_t next_ = 1;
};

}  // namespace cloudfs
