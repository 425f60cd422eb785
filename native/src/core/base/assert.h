// What only a bug can do. Checked in production too: a store that goes on after a broken invariant can lose
// data, one that stops loses time. What the world does (disks, peers, clients) is an error with a code and
// never comes here.
#pragma once

#include <source_location>

namespace cloudfs {

/// Told of a broken invariant before the process aborts: the shell sets one that writes to its log. Must not
/// return to the state machine that failed; if it returns, the process aborts.
using AssertionHandler = void (*)(const char* invariant, const std::source_location& where);
void set_assertion_handler(AssertionHandler handler);

[[noreturn]] void assertion_failed(const char* invariant, const std::source_location& where);

/// Aborts unless `holds`. `invariant` says in words what should have been true.
inline void ensure(bool holds, const char* invariant,
                   const std::source_location& where = std::source_location::current()) {
  if (!holds) [[unlikely]]
    assertion_failed(invariant, where);
}

}  // namespace cloudfs
