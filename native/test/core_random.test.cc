// Random lives of a store: clients, snapshots, branches, cleaning, checkpoints, full disks, kills and power cuts, in an
// order given by a seed. After every crash each volume and snapshot is read in full and held against the model, and live
// blocks are recounted. CLOUDFS_SEED=n runs one seed, CLOUDFS_SEEDS=n that many.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <map>

#include "core_driver.h"
#include "core_model.h"

using namespace cloudfs;
using namespace cloudfs::test;
using Kind = ClientOp::Kind;

namespace {

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
  Kind kind = Kind::read;
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

class World {
 public:
  explicit World(uint64_t seed) : random(seed), driver(params(seed)) {
    crash_percent = seed % 3 == 0 ? 3 : seed % 3 == 1 ? 10 : 40;
  }

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

  Random random;
  Driver driver;
  uint32_t crash_percent = 30;
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
  uint64_t crashes = 0;
  uint64_t shown_branches = 0;
  bool short_of_space = false;
  bool failed = false;

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

  void turn() {
    driver.turn();
    handle_replies();
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

  VolumeModel* random_volume() {
    if (volumes.empty()) return nullptr;
    auto at = volumes.begin();
    std::advance(at, below(random, volumes.size()));
    return &at->second;
  }
  static uint64_t address(const VolumeModel& volume, uint64_t unit) {
    const uint64_t byte = unit * kUnitBytes;
    return byte / kRegionBytes * volume.stride + byte % kRegionBytes;
  }

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
  void trace(const char* what, const OpModel& op, int error) const {
    if (!tracing) return;
    std::printf("%llu %s kind %d volume %.6s%s units %llu+%llu id %llu issued %llu error %d\n",
                static_cast<unsigned long long>(clock), what, static_cast<int>(op.kind), op.volume.c_str(),
                op.snapshot.c_str(), static_cast<unsigned long long>(op.unit),
                static_cast<unsigned long long>(op.units), static_cast<unsigned long long>(op.id),
                static_cast<unsigned long long>(op.issued), error);
  }
  bool tracing = std::getenv("CLOUDFS_TRACE") != nullptr;

  static void trim_edges(OpModel& model) {
    if (model.kind != Kind::trim) return;
    const uint64_t end = (model.unit + model.units) / 8 * 8;
    model.unit = (model.unit + 7) / 8 * 8;
    model.units = end > model.unit ? end - model.unit : 0;
  }

  void handle_replies() {
    for (Reply& reply : std::exchange(driver.replies, {})) {
      const auto at = ops.find(reply.request);
      REQUIRE(at != ops.end());
      handle_reply(at->second, reply);
      ops.erase(at);
    }
    for (CommandReply& reply : std::exchange(driver.command_replies, {})) {
      if (reply.id == clean_request) {
        clean_request = 0;
        if (reply.error_code.empty()) ++cleaned;
      }
      if (reply.id == control_request && control) {
        const ControlModel done = *control;
        control.reset();
        finish_control(done, reply);
      }
    }
    for (const Event& event : std::exchange(driver.events, {})) {
      if (event.name == "space-low") {
        short_of_space = true;
        clean();
      }
      if (event.name == "head-moved")
        if (const auto at = volumes.find(field(event.detail, "volume")); at != volumes.end())
          at->second.told = field(event.detail, "version");
      if (event.name == "store-failed") failed = true;
      REQUIRE(event.name != "block-corrupt");
      REQUIRE(event.name != "page-corrupt");
    }
    REQUIRE((!failed || may_fail));
  }

  uint64_t oldest() const {
    uint64_t issued = clock;
    for (const auto& [request, op] : ops) issued = std::min(issued, op.issued);
    return issued;
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

  void check_unit(const UnitModel& model, const uint8_t* bytes, uint64_t issued, uint64_t unit) {
    uint64_t id = 0;
    const bool whole = read_unit(bytes, id);
    if (whole && model.allows(id, issued)) return;
    FAIL("a read at " << issued << " of unit " << unit << " saw " << id << (whole ? "" : " (torn)")
                      << ", allowed:" << model.describe());
  }

  // --- Control ---
  void create_volume() {
    VolumeModel volume;
    volume.regions = 4 + below(random, 12);
    volume.stride = kRegionBytes << below(random, 6);
    volume.units.resize(volume.regions * kRegionBytes / kUnitBytes);
    const uint8_t seed = static_cast<uint8_t>(next_name++);
    volume.id = driver.create(volume.size(), "v" + std::to_string(seed), seed,
                              chance(random, 30) ? Mode::durable : Mode::quorum);
    volume.handle = driver.open(volume.id).handle;
    volumes[volume.id] = std::move(volume);
  }

  bool quiet(const VolumeModel& volume) const { return volume.in_flight == 0; }

  /// While nothing is under way the version that was told last is known, block for block, if the volume is at it still.
  void note_shown(VolumeModel& volume) {
    if (volume.told.empty() || !quiet(volume) || failed) return;
    const uint64_t request = ++driver.next_request;
    driver.core->command({request, "volumes", "{\"volume\":\"" + volume.id + "\"}", {}});
    driver.turn();
    std::string described;
    for (const CommandReply& reply : driver.command_replies)
      if (reply.id == request) described = reply.result;
    handle_replies();
    const bool is_told = described.rfind("\"version\":\"" + volume.told + "\"") != std::string::npos;
    if (!is_told || field(described, "lsn") != field(described, "committedLsn")) return;
    if (!volume.shown.empty() && volume.shown.back().version == volume.told) return;
    volume.shown.push_back({volume.told, volume.units, driver.now_ns});
    if (volume.shown.size() > 6) volume.shown.erase(volume.shown.begin());
  }

  void random_control() {
    if (control) return;
    VolumeModel* volume = random_volume();
    if (volume == nullptr) return;
    const uint64_t what = !volume->shown.empty() && chance(random, 30) ? 60 : below(random, 100);
    ControlModel next;
    next.volume = volume->id;
    next.name = "s" + std::to_string(next_name++);
    std::string arguments = "{\"volume\":\"" + volume->id + "\",\"name\":\"" + next.name + "\"}";
    if (what < 35) {
      if (!quiet(*volume) || volume->snapshots.size() >= 3) return;
      next.verb = "snapshot";
    } else if (what < 60) {
      if (volume->snapshots.empty()) return;
      auto at = volume->snapshots.begin();
      std::advance(at, below(random, volume->snapshots.size()));
      for (const auto& [request, op] : ops)
        if (op.volume == volume->id && op.snapshot == at->first) return;
      next.verb = "delete-snapshot";
      next.name = at->first;
      arguments = "{\"volume\":\"" + volume->id + "\",\"name\":\"" + next.name + "\"}";
      driver.core->close_export(std::exchange(volume->snapshot_handles[next.name], 0));
    } else if (what < 85) {
      if (volumes.size() >= 5) return;
      next.verb = "branch";
      next.seed = static_cast<uint8_t>(next_name++);
      std::string from = volume->id;
      std::string version;
      if (!volume->shown.empty() && chance(random, 60)) {
        next.shown = volume->shown[below(random, volume->shown.size())];
        next.name = "";
        version = "{\"version\":\"" + next.shown->version + "\",";
      } else if (!quiet(*volume)) {
        return;
      } else if (!volume->snapshots.empty() && chance(random, 50)) {
        auto at = volume->snapshots.begin();
        std::advance(at, below(random, volume->snapshots.size()));
        next.name = at->first;
        from += "@" + at->first;
      } else {
        next.name = "";
      }
      arguments =
          create_arguments(sample_create(4096, "b" + std::to_string(next.seed), next.seed), next.seed, from);
      if (next.shown) arguments = version + arguments.substr(1);
    } else {
      if (volumes.size() < 2) return;
      for (const auto& [request, op] : ops)
        if (op.volume == volume->id) return;
      next.verb = "delete";
      for (auto& [name, handle] : volume->snapshot_handles)
        if (handle != 0) driver.core->close_export(std::exchange(handle, 0));
      driver.core->close_export(std::exchange(volume->handle, 0));
    }
    control = next;
    control_request = ++driver.next_request;
    if (tracing)
      std::printf("%llu control %s %s name %s seed %d\n", static_cast<unsigned long long>(clock),
                  next.verb.c_str(), next.volume.c_str(), next.name.c_str(), next.seed);
    driver.core->command({control_request, next.verb, arguments, {}});
  }

  void finish_control(const ControlModel& done, const CommandReply& reply) {
    if (tracing)
      std::printf("%llu control done %s %s\n", static_cast<unsigned long long>(clock),
                  reply.error_code.c_str(), reply.result.c_str());
    VolumeModel& volume = volumes.at(done.volume);
    if (!reply.error_code.empty()) {
      INFO(done.verb << ": " << reply.error_code << " " << reply.message);
      // One that was told longer ago may be had still; one told lately goes for lack of space alone.
      const bool may_be_gone =
          done.shown && (short_of_space || driver.now_ns - done.shown->told_ns > 10'000'000'000);
      const bool known = (reply.error_code == "ERR_UNKNOWN_VERSION" && may_be_gone) ||
                         reply.error_code == "ERR_STORE_FULL" ||
                         (failed && reply.error_code == "ERR_STORE_FAILED");
      REQUIRE(known);
      if (done.verb == "delete" && !failed) volume.handle = driver.open(volume.id).handle;
      return;
    }
    apply_control(done, field(reply.result, "volume"));
  }

  void apply_control(const ControlModel& done, const std::string& new_id) {
    VolumeModel& volume = volumes.at(done.volume);
    if (done.verb == "snapshot") {
      volume.snapshots[done.name] = volume.units;
    } else if (done.verb == "delete-snapshot") {
      volume.snapshots.erase(done.name);
      volume.snapshot_handles.erase(done.name);
    } else if (done.verb == "branch") {
      VolumeModel branch;
      branch.id = new_id;
      branch.regions = volume.regions;
      branch.stride = volume.stride;
      if (done.shown) ++shown_branches;
      branch.units = done.shown          ? done.shown->units
                     : done.name.empty() ? volume.units
                                         : volume.snapshots.at(done.name);
      branch.handle = driver.open(new_id).handle;
      volumes[new_id] = std::move(branch);
    } else if (done.verb == "delete") {
      volumes.erase(done.volume);
    }
  }

  void clean() {
    if (clean_request != 0 || failed) return;
    // The segments command is answered in the same turn.
    const uint64_t request = ++driver.next_request;
    driver.core->command({request, "segments", "{}", {}});
    driver.turn();
    std::string table;
    for (const CommandReply& reply : driver.command_replies)
      if (reply.id == request) table = reply.result;
    std::string best;
    uint64_t best_live = UINT64_MAX;
    for (size_t at = table.find("{\"first"); at != std::string::npos; at = table.find("{\"first", at + 1)) {
      const std::string one = table.substr(at, table.find('}', at) - at + 1);
      if (field(one, "state") != "sealed" || field(one, "kind") == "index") continue;
      const uint64_t live = std::stoull(field(one, "liveBytes"));
      if (live == 0 || (live >= best_live && !chance(random, 5))) continue;
      best_live = live;
      best = field(one, "logical");
    }
    if (!best.empty()) {
      clean_request = ++driver.next_request;
      driver.core->command({clean_request, "clean", "{\"logical\":" + best + "}", {}});
    }
    handle_replies();
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

  bool may_fail = false;
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
