// Control requests: JSON in, JSON out (docs/core.md, Commands).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <unordered_map>

#include "core/store/core.h"
#include "core/store/exports.h"
#include "core/store/store.h"

namespace cloudfs {

class Commands final : public CommandListener {
 public:
  void run(Store& store, const Exports& exports, const Command& command);
  void refuse(const Command& command, const char* code, std::string message);
  std::vector<CommandReply> take();

  /// A command of the core's own: answered to internal_done() alone. One at a time.
  uint64_t internal();
  bool internal_done() const { return internal_ != 0 && !internal_busy(); }
  bool internal_busy() const { return pending_.contains(internal_); }
  /// The last one did not do what it was to.
  bool internal_failed() const { return internal_failed_; }

  // CommandListener
  void on_control_made(uint64_t command, const Volume& volume, Lsn lsn, const VersionId& version) override;
  void on_done(uint64_t command) override;
  void on_result(uint64_t command, std::string result, Slice payload) override;
  void on_failed(uint64_t command, const char* code, std::string message) override;
  void on_promised(uint64_t command, const Store& store, const VolumeId& volume) override;
  void set_result(uint64_t command, std::string result) override {
    pending_.at(command).result = std::move(result);
  }

 private:
  void answer(uint64_t command, std::string result, Slice payload = {});
  /// commands_views.cc. @returns false if it is none of those
  bool run_view_verb(Store& store, const nlohmann::json& arguments, const Command& command);
  /// A number of our own for a command in flight: clients may use an id twice.
  uint64_t begin(uint64_t id);

  struct Pending {
    uint64_t id = 0;
    std::string result = "{}";
    bool internal = false;
  };
  std::unordered_map<uint64_t, Pending> pending_;
  uint64_t next_ = 1;
  uint64_t internal_ = 0;
  bool internal_failed_ = false;
  std::vector<CommandReply> replies_;
};

}  // namespace cloudfs
