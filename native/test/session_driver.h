// Hosts that have a volume attached, and a store that serves them.
#pragma once

#include <nlohmann/json.hpp>

#include "core_driver.h"

namespace cloudfs::test {

inline SessionId session_of(uint8_t number) {
  SessionId session;
  session.fill(number);
  return session;
}

/// The arguments of `attach`: the sessions that are to have the volume.
inline std::string attach_arguments(const std::string& volume, const std::vector<SessionId>& sessions,
                                    uint64_t after) {
  nlohmann::json holders = nlohmann::json::array();
  for (const SessionId& session : sessions)
    holders.push_back({{"session", to_hex(ByteSpan(session))},
                       {"host", to_hex(HostId{})},
                       {"isShared", true},
                       {"socket", "/run/disk.sock"}});
  return nlohmann::json{{"volume", volume}, {"holders", holders}, {"after", after}}.dump();
}

inline uint64_t attach_revision(Driver& driver) {
  return nlohmann::json::parse(driver.must("volumes", "{}"))[0]["attach"]["revision"].get<uint64_t>();
}

/// Those and nobody else.
inline void attach(Driver& driver, const std::vector<SessionId>& sessions) {
  driver.must("attach", attach_arguments("disk", sessions, attach_revision(driver)));
}

inline uint64_t open_by(Driver& driver, const SessionId& session) {
  const auto found = driver.core->open_export("disk", session);
  REQUIRE(found.has_value());
  return found->handle;
}

inline ClientOp numbered(ClientOp op, uint64_t sequence) {
  op.sequence = sequence;
  return op;
}

}  // namespace cloudfs::test
