// What clients can open: volumes by id or name at their primary; snapshots of them, read-only, at every host that has them;
// and what a replica holds, read-only, if it is asked for as such ("replica:NAME"): it may lag behind the volume.
#pragma once

#include <string>
#include <string_view>

#include "core/base/flat_map.h"
#include "core/store/store.h"

namespace cloudfs {

class Exports {
 public:
  struct Target {
    Volume* volume = nullptr;
    NodeId snapshot = 0;  // 0 = the head
    uint64_t role = 0;    // of the volume when it was opened
    SessionId session{};  // of a host that has it attached; zero = none
    uint64_t connection = 0;
  };
  struct Found {
    Target target;
    const char* refusal = nullptr;  // 'unknown', 'ambiguous', 'not primary', 'session ended'
  };

  /// `name`: id in hex, name, either followed by '@' and a snapshot's name.
  static Found resolve(const Store& store, std::string_view name);
  /// As resolve(), of what may be opened.
  static Found resolve_export(const Store& store, std::string_view name, const SessionId& session = {});
  std::optional<Export> open(const Store& store, std::string_view name, const SessionId& session);
  static std::vector<Export> list(const Store& store);
  void close(uint64_t handle);
  /// nullptr: no such handle.
  const Target* find(uint64_t handle) const { return targets_.find(handle); }
  bool is_open(const Volume& volume) const;
  /// The volume has another primary since it was opened, or the session is over: its client has to open it anew.
  static bool is_over(const Target& target) {
    return target.snapshot == 0 && (target.role != target.volume->role() ||
                                    target.volume->is_session_over(target.session, target.connection));
  }

 private:
  FlatMap<uint64_t, Target> targets_;
  uint64_t next_handle_ = 1;
};

}  // namespace cloudfs
