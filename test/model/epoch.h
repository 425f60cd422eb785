// Hosts, sets of hosts, and epochs: (counter, host), ordered by counter, then host.
#pragma once

#include <bit>
#include <cstdint>

namespace cloudfs::model {

using HostId = uint8_t;   ///< A is 0
using Members = uint8_t;  ///< one bit per host
inline constexpr int kHostsMax = 5;

constexpr Members only(HostId host) {
  return static_cast<Members>(1U << host);
}
constexpr bool has(Members members, HostId host) {
  return (members >> host & 1) != 0;
}
constexpr int count(Members members) {
  return std::popcount(members);
}
constexpr Members both(Members one, Members other) {
  return static_cast<Members>(one & other);
}
constexpr Members either(Members one, Members other) {
  return static_cast<Members>(one | other);
}
constexpr Members except(Members members, Members gone) {
  return static_cast<Members>(members & ~gone);
}

using Epoch = uint8_t;
inline constexpr Epoch kNoEpoch = 0;

constexpr Epoch epoch_of(int counter, HostId host) {
  return static_cast<Epoch>(counter * 8 + host);
}
constexpr int counter_of(Epoch epoch) {
  return epoch / 8;
}
constexpr HostId maker_of(Epoch epoch) {
  return epoch % 8;
}

/// The smallest epoch of `host` above `epoch`.
constexpr Epoch next_epoch(Epoch epoch, HostId host) {
  return epoch_of(counter_of(epoch) + (host > maker_of(epoch) ? 0 : 1), host);
}

}  // namespace cloudfs::model
