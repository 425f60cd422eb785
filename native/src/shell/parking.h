// Connections of a volume that is about to be led here, or by the host at the other end: they are made before clients have to wait,
// and taken when that has come (docs/engine.md, `expect-lead`). Everything is called on the loop's thread.
//
// Nothing is decided by it. What is parked is no stream of the core's, and no session: the core takes it as it takes any other.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/store/core.h"
#include "shell/event_loop.h"
#include "shell/stream.h"

namespace cloudfs::shell {

/// What has not come by then does not.
constexpr uint64_t kParkedNsMax = 5'000'000'000;
/// At once; what comes beyond is let go at once, and connects again when the volume is led. A host that is handed many volumes
/// at once has a few connections for each.
constexpr size_t kParkedMax = 512;

class Parking {
 public:
  /// Given the socket, or null: it has not come.
  using Take = std::function<void(std::unique_ptr<Stream> socket)>;

  Parking(EventLoop& loop, const Core& core);
  ~Parking();
  Parking(const Parking&) = delete;
  Parking& operator=(const Parking&) = delete;

  /// Until this store leads the volume in that epoch, as far as `stage` says. `preface` goes out at once.
  void until_led(std::unique_ptr<Stream> socket, const VolumeId& volume, const Epoch& epoch, LeadStage stage,
                 const std::vector<uint8_t>& preface, Take take);
  /// Until the other end has said something, which is not read here, or `follow_now` says that it leads.
  void until_spoken(std::unique_ptr<Stream> socket, const VolumeId& volume, Take take);
  /// Whoever is about to lead the volume was elected: what waits for its word is taken. It may wait for this host's. To speak
  /// first promises nothing: a hello says what is here, and whom to follow the core judges by the leader's.
  void follow_now(const VolumeId& volume);

  /// Once a round, behind the core's turns. @returns whether any was taken: then the next round must not wait
  bool step();
  std::optional<uint64_t> next_deadline_ns() const;
  size_t size() const { return parked_.size(); }

 private:
  struct Parked;
  enum class State : uint8_t { waits, has_come, is_over };
  State state_of(const Parked& parked) const;

  EventLoop& loop_;
  const Core& core_;
  std::vector<std::unique_ptr<Parked>> parked_;
};

}  // namespace cloudfs::shell
