// What a primary keeps of its clients' sessions besides the history: which connection speaks for a session, and whose
// requests wait because one of them was refused (docs/protocol.md, S1 and S2).
//
// The history has a session's greatest request number, and that stands for all before it. So requests of a session become
// records in the order of their numbers, and none behind one that was refused before the client knows of the refusal:
// after a cut it would send the refused one again, and it would be taken for one that the history has.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/ids.h"

namespace cloudfs {

class Sessions {
 public:
  /// A connection begins to speak for `session`; an older one's time is over. @returns its number, never 0
  uint64_t open(const SessionId& session);
  /// No connection of that number speaks for the session (any more).
  bool is_over(const SessionId& session, uint64_t connection) const;
  /// Those for which `keeps` says no are over.
  template <class Keeps>
  void retain(Keeps keeps) {
    std::erase_if(open_, [&](const One& one) { return !keeps(one.session); });
  }
  void clear() { open_.clear(); }

  /// A request is answered by an error: later ones wait.
  void refused(const SessionId& session, uint64_t sequence);
  /// Its client knows what was answered to all requests up to `sequence`.
  void seen(const SessionId& session, uint64_t connection, uint64_t sequence);
  /// Must a request wait behind one that was refused?
  bool holds(const SessionId& session, uint64_t sequence) const;
  /// Requests may wait.
  bool any_refused() const;
  /// Those whose clients know of all refusals: what waits of them may go on.
  std::vector<SessionId> all_seen() const;
  void release(const SessionId& session);

 private:
  struct One {
    SessionId session{};
    uint64_t connection = 0;
    uint64_t refused = 0;  // greatest number that was refused since requests began to wait; 0 = none waits
    uint64_t seen = 0;
  };

  const One* find(const SessionId& session) const;
  One* find(const SessionId& session);

  std::vector<One> open_;  // few: one for each host that has the volume attached
  uint64_t connections_ = 0;
};

}  // namespace cloudfs
