// The clients of a random life: reads and writes of every kind, each answer held against the model.
#pragma once

#include "life_models.h"

namespace cloudfs::test {

class LifeClients : public LifeState {
 public:
  using Kind = ClientOp::Kind;
  using LifeState::LifeState;

  void submit_random() {
    VolumeModel* volume = random_volume();
    if (volume == nullptr || volume->handle == 0) return;
    // Clients go on while a version that has passed is branched.
    if (control && control->volume == volume->id && control->verb != "delete-snapshot" && !control->shown)
      return;
    const uint64_t units_per_region = kRegionBytes / kUnitBytes;
    const uint64_t region = below(random, volume->regions);
    uint64_t first = below(random, units_per_region);
    uint64_t count = 1 + below(random, chance(random, 20) ? units_per_region : 24);
    if (chance(random, 60)) {
      first = first / 8 * 8;
      count = (count + 7) / 8 * 8;
    }
    count = std::min(count, units_per_region - first);
    OpModel model;
    model.volume = volume->id;
    model.unit = region * units_per_region + first;
    model.units = count;
    model.issued = clock;
    ClientOp op;
    op.target = volume->handle;
    op.offset = address(*volume, model.unit);
    op.length = count * kUnitBytes;
    const uint64_t what = below(random, 100);
    if (what < 50) {
      model.kind = Kind::write;
      model.id = next_id++;
      std::vector<uint8_t> bytes(op.length);
      const bool zero = chance(random, 5);
      if (zero) model.id = 0;
      for (uint64_t unit = 0; unit < count; ++unit) fill_unit(bytes.data() + unit * kUnitBytes, model.id);
      op.payload = slice_of(bytes);
      op.fua = model.fua = chance(random, 10);
    } else if (what < 56) {
      model.kind = Kind::write_zeroes;
      op.fua = model.fua = chance(random, 10);
    } else if (what < 62) {
      model.kind = Kind::trim;
    } else if (what < 70) {
      model.kind = Kind::flush;
      op.offset = op.length = 0;
    } else if (what < 95 || volume->snapshots.empty()) {
      model.kind = Kind::read;
    } else {
      model.kind = Kind::read;
      auto at = volume->snapshots.begin();
      std::advance(at, below(random, volume->snapshots.size()));
      if (control && control->verb == "delete-snapshot" && control->name == at->first) return;
      model.snapshot = at->first;
      uint64_t& handle = volume->snapshot_handles[at->first];
      if (handle == 0) handle = driver.open(volume->id + "@" + at->first).handle;
      op.target = handle;
      if (region >= at->second.size() / units_per_region) return;
    }
    op.kind = model.kind;
    if (model.kind == Kind::write || model.kind == Kind::write_zeroes || model.kind == Kind::trim) {
      trim_edges(model);
      ++volume->in_flight;
      for (uint64_t unit = model.unit; unit < model.unit + model.units; ++unit)
        volume->units[unit].issue(model.id, clock);
    }
    ops[driver.submit(std::move(op))] = model;
    trace("submit", model, 0);
  }

  void handle_reply(const OpModel& op, const Reply& reply) {
    VolumeModel& volume = volumes.at(op.volume);
    const bool write = op.kind == Kind::write || op.kind == Kind::write_zeroes || op.kind == Kind::trim;
    trace("reply", op, reply.error);
    if (write) --volume.in_flight;
    if (failed && reply.error == EIO) return;
    if (write && reply.error == ENOSPC) {
      ++full_answers;
      return;  // any part of it may be there
    }
    INFO("kind " << static_cast<int>(op.kind) << " at unit " << op.unit);
    REQUIRE(reply.error == 0);
    if (write) {
      for (uint64_t unit = op.unit; unit < op.unit + op.units; ++unit)
        volume.units[unit].acknowledge(op.id, op.issued, clock, op.fua, oldest());
    } else if (op.kind == Kind::flush) {
      for (UnitModel& unit : volume.units) unit.flushed(op.issued, oldest());
    } else if (op.kind == Kind::read) {
      const std::vector<uint8_t> bytes = Driver::bytes_of(reply);
      REQUIRE(bytes.size() == op.units * kUnitBytes);
      const std::vector<UnitModel>& units =
          op.snapshot.empty() ? volume.units : volume.snapshots.at(op.snapshot);
      for (uint64_t unit = 0; unit < op.units; ++unit)
        check_unit(units[op.unit + unit], bytes.data() + unit * kUnitBytes, op.issued, op.unit + unit);
    }
  }

 protected:
  void check_unit(const UnitModel& model, const uint8_t* bytes, uint64_t issued, uint64_t unit) {
    uint64_t id = 0;
    const bool whole = read_unit(bytes, id);
    if (whole && model.allows(id, issued)) return;
    FAIL("a read at " << issued << " of unit " << unit << " saw " << id << (whole ? "" : " (torn)")
                      << ", allowed:" << model.describe());
  }

 private:
  static uint64_t address(const VolumeModel& volume, uint64_t unit) {
    const uint64_t byte = unit * kUnitBytes;
    return byte / kRegionBytes * volume.stride + byte % kRegionBytes;
  }

  static void trim_edges(OpModel& model) {
    if (model.kind != Kind::trim) return;
    const uint64_t end = (model.unit + model.units) / 8 * 8;
    model.unit = (model.unit + 7) / 8 * 8;
    model.units = end > model.unit ? end - model.unit : 0;
  }

  uint64_t oldest() const {
    uint64_t issued = clock;
    for (const auto& [request, op] : ops) issued = std::min(issued, op.issued);
    return issued;
  }

  void trace(const char* what, const OpModel& op, int error) const {
    if (!tracing) return;
    std::printf("%llu %s kind %d volume %.6s%s units %llu+%llu id %llu issued %llu error %d\n",
                static_cast<unsigned long long>(clock), what, static_cast<int>(op.kind), op.volume.c_str(),
                op.snapshot.c_str(), static_cast<unsigned long long>(op.unit),
                static_cast<unsigned long long>(op.units), static_cast<unsigned long long>(op.id),
                static_cast<unsigned long long>(op.issued), error);
  }
};

}  // namespace cloudfs::test
