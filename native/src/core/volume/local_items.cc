#include "core/volume/local_items.h"

#include <algorithm>

namespace cloudfs {

void LocalItems::add(const VolumeId& volume, const Epoch& epoch, LocalKind kind, ByteSpan bytes,
                     uint64_t command) {
  ensure(local_item_valid(kind, bytes), "a local item is checked before it is logged");
  values_[{volume, kind}] = {epoch, {bytes.begin(), bytes.end()}};
  RunHeader header;
  header.type = RunType::local;
  header.volume = volume;
  header.epoch = epoch;
  RunBuilder run(appender_.run_room(SegmentKind::user), header);
  run.add_local(kind, bytes);
  run.finish();
  appender_.add_run(SegmentKind::user, run.header(), *this, command);
}

void LocalItems::on_placed(const PlacedRun& run, uint64_t) {
  appender_.want_sync(run.sequence);
}

void LocalItems::on_synced(uint64_t cookie, uint64_t) {
  if (cookie != 0) listener_.on_local_synced(cookie);
}

void LocalItems::replay(const RunView& run) {
  run.each_local_item([&](const LocalItem& item) {
    values_[{run.header().volume, item.kind}] = {run.header().epoch, {item.bytes.begin(), item.bytes.end()}};
  });
}

const LocalValue* LocalItems::find(const VolumeId& volume, LocalKind kind) const {
  const auto at = values_.find({volume, kind});
  return at == values_.end() ? nullptr : &at->second;
}

std::optional<Stamp> LocalItems::stamp(const VolumeId& volume, const Epoch& epoch) const {
  const LocalValue* value = find(volume, LocalKind::stamp);
  if (value == nullptr || value->epoch != epoch) return std::nullopt;
  Stamp stamp;
  ensure(value->bytes.size() == stamp.size(), "a stored stamp has its length");
  std::copy(value->bytes.begin(), value->bytes.end(), stamp.begin());
  return stamp;
}

}  // namespace cloudfs
