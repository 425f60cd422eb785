// What the server of a session's connection says first (docs/nbd.md, Sessions): all that a handshake would have agreed on.
// Little-endian, as everything of this project's own; the transmission phase behind it is NBD's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace cloudfs::nbd {

constexpr size_t kSessionGreetingBytes = 32;
constexpr uint16_t kSessionVersion = 1;

struct SessionGreeting {
  uint16_t flags = 0;             // NBD's transmission flags
  uint32_t record_bytes_max = 0;  // Export::record_bytes_max
  uint64_t size_bytes = 0;        // of the export
};

/// Writes kSessionGreetingBytes to `to`.
void encode(const SessionGreeting& greeting, uint8_t* to);
/// @returns nothing if no server of this version says so. `bytes` are kSessionGreetingBytes.
std::optional<SessionGreeting> decode_greeting(std::span<const uint8_t> bytes);

}  // namespace cloudfs::nbd
