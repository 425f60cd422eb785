#include "core/volume/promises.h"

namespace cloudfs {

Epoch Promises::of(const VolumeId& volume) const {
  if (const auto at = promised_.find(volume); at != promised_.end()) return at->second.epoch;
  const LocalValue* value = locals_.find(volume, LocalKind::promise);
  if (value == nullptr) return {};
  return {load<uint64_t>(value->bytes.data()), load_id<HostId>(value->bytes.data() + 8)};
}

bool Promises::is_synced(const VolumeId& volume) const {
  const auto at = promised_.find(volume);
  return at == promised_.end() || at->second.is_synced;
}

bool Promises::is_under_way(const VolumeId& volume) const {
  const auto at = promised_.find(volume);
  return at != promised_.end() && at->second.number != 0;
}

bool Promises::is_fresh(const VolumeId& volume, const Epoch& epoch) const {
  const auto at = promised_.find(volume);
  return at != promised_.end() && at->second.epoch == epoch && at->second.is_synced && at->second.is_fresh;
}

uint64_t Promises::raise(const VolumeId& volume, const Epoch& epoch, bool to_candidate) {
  ensure(epoch >= of(volume), "promises go upwards");
  One& one = promised_[volume];
  one.epoch = epoch;
  one.is_synced = false;
  one.is_fresh = to_candidate;
  if (one.number != 0) under_way_.erase(one.number);
  one.number = next_++;
  under_way_[one.number] = volume;
  return one.number;
}

std::vector<uint8_t> Promises::item(const Epoch& epoch) {
  ByteWriter out;
  out.u64(epoch.counter);
  out.id(epoch.host);
  return out.take();
}

Promises::Settled Promises::settle(uint64_t number, bool is_synced) {
  const auto at = under_way_.find(number);
  if (at == under_way_.end()) return {};  // of a promise that a higher one has passed
  Settled settled;
  settled.volume = at->second;
  under_way_.erase(at);
  One& one = promised_.at(settled.volume);
  one.number = 0;
  one.is_synced = is_synced;
  settled.waiting = std::exchange(one.waiting, {});
  return settled;
}

}  // namespace cloudfs
