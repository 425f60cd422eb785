// Control requests: JSON in, JSON out (docs/core.md, Commands).
#pragma once

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
  bool internal_done() const { return internal_ != 0 && !pending_.contains(internal_); }

  // CommandListener
  void on_control_made(uint64_t command, const Volume& volume, Lsn lsn, const VersionId& version) override;
  void on_done(uint64_t command) override;
  void on_result(uint64_t command, std::string result, Slice payload) override;
  void on_failed(uint64_t command, const char* code, std::string message) override;

 private:
  void answer(uint64_t command, std::string result, Slice payload = {});
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
  std::vector<CommandReply> replies_;
};

}  // namespace cloudfs
