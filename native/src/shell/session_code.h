// What the core's refusals to open a session's export are called elsewhere.
#pragma once

#include <string>
#include <string_view>

namespace cloudfs::shell {

/// A code of docs/errors.md for what Core::open_refusal says, or NbdServer ("too many"); empty for nothing.
inline std::string session_code(std::string_view refusal) {
  if (refusal.empty()) return {};
  if (refusal == "unknown" || refusal == "ambiguous") return "ERR_UNKNOWN_VOLUME";
  if (refusal == "witness") return "ERR_WITNESS";
  if (refusal == "session ended") return "ERR_SESSION_ENDED";
  if (refusal == "not ready") return "ERR_NOT_READY";
  if (refusal == "too many") return "ERR_TOO_MANY_CLIENTS";
  return "ERR_NOT_PRIMARY";
}

}  // namespace cloudfs::shell
