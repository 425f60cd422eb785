#include "nbd/session_greeting.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/ids.h"
#include "nbd/protocol.h"

namespace cloudfs::nbd {

namespace {

constexpr std::string_view kMagic = "CLOUDFSS";
constexpr size_t kReservedBytes = 8;
static_assert(kMagic.size() + 16 + kReservedBytes == kSessionGreetingBytes);

}  // namespace

void encode(const SessionGreeting& greeting, uint8_t* to) {
  std::memcpy(to, kMagic.data(), kMagic.size());
  cloudfs::store(to + 8, kSessionVersion);
  cloudfs::store(to + 10, greeting.flags);
  cloudfs::store(to + 12, greeting.record_bytes_max);
  cloudfs::store(to + 16, greeting.size_bytes);
  std::memset(to + 24, 0, kReservedBytes);
}

std::optional<SessionGreeting> decode_greeting(std::span<const uint8_t> bytes) {
  const uint8_t* at = bytes.data();
  if (!std::equal(kMagic.begin(), kMagic.end(), bytes.begin())) return std::nullopt;
  if (cloudfs::load<uint16_t>(at + 8) != kSessionVersion || !all_zero(bytes.subspan(24))) return std::nullopt;
  SessionGreeting greeting;
  greeting.flags = cloudfs::load<uint16_t>(at + 10);
  greeting.record_bytes_max = cloudfs::load<uint32_t>(at + 12);
  greeting.size_bytes = cloudfs::load<uint64_t>(at + 16);
  if ((greeting.flags & kFlagHasFlags) == 0 || greeting.record_bytes_max < kBlockBytes) return std::nullopt;
  return greeting;
}

}  // namespace cloudfs::nbd
