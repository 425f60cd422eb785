// Random lives of a store: clients, snapshots, branches, cleaning, checkpoints, full disks, kills and power cuts, in an
// order given by a seed. After every crash each volume and snapshot is read in full and held against the model, and live
// blocks are recounted. CLOUDFS_SEED=n runs one seed, CLOUDFS_SEEDS=n that many.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

#include "life_controls.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

class World : public LifeControls {
 public:
  explicit World(uint64_t seed) : LifeControls(seed) {
    crash_percent = seed % 3 == 0 ? 3 : seed % 3 == 1 ? 10 : 40;
  }

  void run(int steps) {
    driver.format();
    create_volume();
    for (int count = 0; count < steps; ++count) {
      step();
      if (chance(random, 2) && below(random, 100) < crash_percent) crash();
    }
    settle();
    crash();
  }

  uint64_t crashes = 0;

 private:
  uint32_t crash_percent = 30;

  // --- One step ---
  void step() {
    ++clock;
    const uint64_t what = below(random, 100);
    if (what < 30 && ops.size() < 24) {
      submit_random();
    } else if (what < 70) {
      if (driver.disk.busy()) {
        driver.core->complete(
            driver.disk.complete(chance(random, 70) ? 0 : below(random, driver.disk.in_flight())));
      }
    } else if (what < 96) {
      turn();
    } else if (what == 96) {
      if (chance(random, 30)) settle();
      driver.now_ns += below(random, 2'000'000'000);
      turn();
      for (auto& [id, volume] : volumes) note_shown(volume);
    } else if (what == 97) {
      random_control();
    } else if (what == 98) {
      if (chance(random, 30)) driver.core->command({++driver.next_request, "checkpoint", "{}", {}});
    } else {
      clean();
    }
  }

  void settle() {
    for (int count = 0; count < 20000; ++count) {
      turn();
      while (driver.disk.busy() && chance(random, 90)) driver.core->complete(driver.disk.complete(0));
      if (ops.empty() && !control && clean_request == 0 && !driver.disk.busy()) return;
      if (count % 100 == 99) driver.now_ns += 3'000'000'000;
    }
    FAIL("operations are never answered");
  }

  // --- Crashes ---
  void crash() {
    ++crashes;
    if (tracing) std::printf("%llu crash\n", static_cast<unsigned long long>(clock));
    const bool power_cut = chance(random, 50);
    driver.core.reset();
    power_cut ? driver.disk.power_cut(random) : driver.disk.kill(random);
    ops.clear();
    clean_request = 0;
    failed = false;
    driver.replies.clear();
    driver.command_replies.clear();
    for (auto& [id, volume] : volumes) {
      volume.in_flight = volume.handle = 0;
      volume.told.clear();
      volume.shown.clear();
    }
    // Sometimes it dies again while it recovers.
    while (chance(random, 30)) {
      driver.core = std::make_unique<Core>(driver.params);
      driver.core->start(driver.now_ns);
      for (uint64_t count = below(random, 60); count > 0; --count) {
        driver.turn();
        while (driver.disk.busy() && chance(random, 60))
          driver.core->complete(driver.disk.complete(below(random, driver.disk.in_flight())));
      }
      driver.core.reset();
      // What recovery has not synced may go in a power cut even now.
      power_cut ? driver.disk.power_cut(random) : driver.disk.kill(random);
      driver.replies.clear();
      driver.command_replies.clear();
    }
    driver.events.clear();
    driver.start();
    for (const Event& event : driver.events) {
      INFO(event.name << " " << event.detail);
      REQUIRE(event.name != "store-failed");
    }
    REQUIRE(driver.saw_event("ready"));
    reconcile();
    for (auto& [id, volume] : volumes) {
      INFO((power_cut ? "power cut, volume " : "kill, volume ") << id);
      if (volume.handle == 0) volume.handle = driver.open(id).handle;
      check_all(volume.handle, volume, volume.units, power_cut);
      volume.snapshot_handles.clear();
      for (auto& [name, units] : volume.snapshots) {
        INFO("snapshot " << name);
        const uint64_t handle = driver.open(id + "@" + name).handle;
        check_all(handle, volume, units, power_cut);
        volume.snapshot_handles[name] = handle;
      }
    }
    driver.must("audit", "{}");
    driver.events.clear();
  }

  void check_all(uint64_t handle, const VolumeModel& volume, std::vector<UnitModel>& units, bool power_cut) {
    for (uint64_t region = 0; region < volume.regions; ++region) {
      const auto bytes = driver.read(handle, region * volume.stride, kRegionBytes);
      REQUIRE(bytes.size() == kRegionBytes);
      for (uint64_t unit = 0; unit < kRegionBytes / kUnitBytes; ++unit) {
        UnitModel& model = units[region * kRegionBytes / kUnitBytes + unit];
        uint64_t id = 0;
        const bool whole = read_unit(bytes.data() + unit * kUnitBytes, id);
        if (!whole || !model.survives(id, power_cut))
          FAIL("unit " << region * kRegionBytes / kUnitBytes + unit << " holds " << id
                       << (whole ? "" : " (torn)") << ", may hold:" << model.describe());
        model.collapse(id, clock);
      }
    }
  }

  /// A control command that was under way when the crash came was carried out, or not.
  void reconcile() {
    const std::string listed = driver.must("volumes", "{}");
    if (tracing) std::printf("%s\n", listed.c_str());
    if (control) {
      const ControlModel unsure = *control;
      control.reset();
      if (unsure.verb == "branch") {
        const std::string name = "\"name\":\"b" + std::to_string(unsure.seed) + "\"";
        const auto found = driver.core->open_export("b" + std::to_string(unsure.seed));
        if (listed.find(name) != std::string::npos) {
          REQUIRE(found.has_value());
          driver.core->close_export(found->handle);
          apply_control(unsure, found->description.substr(found->description.size() - 40));
        }
      } else if (unsure.verb == "delete") {
        if (listed.find("\"volume\":\"" + unsure.volume + "\",\"writable\"") == std::string::npos)
          volumes.erase(unsure.volume);
      } else {
        const auto found = driver.core->open_export(unsure.volume + "@" + unsure.name);
        if (found) driver.core->close_export(found->handle);
        if (found.has_value() == (unsure.verb == "snapshot")) apply_control(unsure, "");
      }
    }
    size_t count = 0;
    for (size_t at = listed.find("\"view\":"); at != std::string::npos; at = listed.find("\"view\":", at + 1))
      ++count;
    REQUIRE(count == volumes.size());
  }
};

}  // namespace

TEST_CASE("random lives with crashes lose nothing acknowledged and count every block") {
  const char* one = std::getenv("CLOUDFS_SEED");
  const char* many = std::getenv("CLOUDFS_SEEDS");
  const uint64_t first = one != nullptr ? std::strtoull(one, nullptr, 10) : 1;
  const uint64_t count = one != nullptr ? 1 : many != nullptr ? std::strtoull(many, nullptr, 10) : 20;
  uint64_t crashes = 0;
  uint64_t full = 0;
  uint64_t cleaned = 0;
  uint64_t shown = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    World world(seed);
    world.run(4000);
    crashes += world.crashes;
    full += world.full_answers;
    cleaned += world.cleaned;
    shown += world.shown_branches;
  }
  if (count >= 20) CHECK(shown > 0);
  MESSAGE(count << " lives: " << crashes << " crashes, " << cleaned << " segments cleaned, " << shown
                << " versions branched that had passed, " << full << " times full");
}
