// What a random life of a store (core_random.test.cc) knows of its volumes and of what is under way.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <map>

#include "core_driver.h"
#include "core_model.h"

namespace cloudfs::test {

constexpr uint64_t kRegionBytes = 64 << 10;

/// A version that was told, and its content.
struct ShownModel {
  std::string version;
  std::vector<UnitModel> units;
  uint64_t told_ns = 0;
};

struct VolumeModel {
  std::string id;
  uint64_t regions = 0;
  uint64_t stride = 0;  // from one region's start to the next
  std::vector<UnitModel> units;
  uint64_t handle = 0;
  uint64_t in_flight = 0;  // writes
  std::map<std::string, std::vector<UnitModel>> snapshots;
  std::map<std::string, uint64_t> snapshot_handles;
  std::string told;  // the version told last
  std::vector<ShownModel> shown;
  uint64_t size() const { return regions * stride; }
};

struct OpModel {
  ClientOp::Kind kind = ClientOp::Kind::read;
  std::string volume;
  std::string snapshot;
  uint64_t unit = 0;
  uint64_t units = 0;
  uint64_t issued = 0;
  uint64_t id = 0;
  bool fua = false;
};

struct ControlModel {
  std::string verb;
  std::string volume;
  std::string name;
  uint8_t seed = 0;
  std::optional<ShownModel> shown;  // the version branched
};

/// A store, its models, and the dice.
class LifeState {
 public:
  explicit LifeState(uint64_t seed) : random(seed), driver(params(seed)) {}

  static CoreParams params(uint64_t seed) {
    Random random(seed * 31 + 7);
    CoreParams params = small_params();
    params.segment_limit = static_cast<uint32_t>(48 + below(random, 100));
    params.align_log2 = static_cast<uint8_t>(10 + below(random, 3));
    params.checkpoint_bytes = uint64_t{64 << 10} << below(random, 6);
    params.record_body_bytes_max = static_cast<uint32_t>(16384u << below(random, 3));
    params.batch_body_bytes_max = 32768u << below(random, 4);
    params.prepared_segments = static_cast<uint32_t>(1 + below(random, 3));
    params.reads_in_flight_max = static_cast<uint32_t>(1 + below(random, 8));
    params.sync_bytes_max = 65536u << below(random, 4);
    params.map_bytes_max = chance(random, 50) ? 40000 : 10 << 20;
    return params;
  }

  Random random;
  Driver driver;
  uint64_t clock = 1;
  uint64_t next_id = 1;
  uint64_t next_name = 1;
  std::map<std::string, VolumeModel> volumes;
  std::map<uint64_t, OpModel> ops;
  std::optional<ControlModel> control;
  uint64_t control_request = 0;
  uint64_t clean_request = 0;
  uint64_t full_answers = 0;
  uint64_t cleaned = 0;
  uint64_t shown_branches = 0;
  bool short_of_space = false;
  bool failed = false;
  bool may_fail = false;
  bool tracing = std::getenv("CLOUDFS_TRACE") != nullptr;

  VolumeModel* random_volume() {
    if (volumes.empty()) return nullptr;
    auto at = volumes.begin();
    std::advance(at, below(random, volumes.size()));
    return &at->second;
  }
  bool quiet(const VolumeModel& volume) const { return volume.in_flight == 0; }
};

}  // namespace cloudfs::test
