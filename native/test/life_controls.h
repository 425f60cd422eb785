// The operator of a random life: volumes, snapshots, branches, deletions and cleaning, while its clients go on.
#pragma once

#include "life_clients.h"

namespace cloudfs::test {

class LifeControls : public LifeClients {
 public:
  using LifeClients::LifeClients;

  void turn() {
    driver.turn();
    handle_replies();
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
};

}  // namespace cloudfs::test
