// What this store keeps for itself: stamps, promises, marks (docs/disk-format.md, Local item). Logged like records, never
// sent to anyone. The newest item of a volume and kind counts.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "core/format/run.h"
#include "core/log/appender.h"

namespace cloudfs {

struct LocalValue {
  Epoch epoch;
  std::vector<uint8_t> bytes;
};

class LocalListener {
 public:
  virtual void on_local_synced(uint64_t command) = 0;

 protected:
  ~LocalListener() = default;
};

class LocalItems final : public BatchMember {
 public:
  using Key = std::pair<VolumeId, LocalKind>;

  LocalItems(Appender& appender, LocalListener& listener) : appender_(appender), listener_(listener) {}

  /// Room that add() takes in a batch.
  static size_t run_bytes(size_t item_bytes) { return kRunHeaderBytes + local_item_bytes(item_bytes); }
  /// Adds the item to the user stream's batch, where room was reserved; a sync follows. `command` 0: nobody waits.
  void add(const VolumeId& volume, const Epoch& epoch, LocalKind kind, ByteSpan bytes, uint64_t command);
  /// A run found by roll-forward.
  void replay(const RunView& run);
  void restore(const VolumeId& volume, LocalKind kind, LocalValue value) {
    values_[{volume, kind}] = std::move(value);
  }
  void forget(const VolumeId& volume, LocalKind kind) { values_.erase({volume, kind}); }

  const LocalValue* find(const VolumeId& volume, LocalKind kind) const;
  /// The stamp of a volume's view, if this store made that view.
  std::optional<Stamp> stamp(const VolumeId& volume, const Epoch& epoch) const;
  const std::map<Key, LocalValue>& values() const { return values_; }

 private:
  void on_placed(const PlacedRun& run, uint64_t cookie) override;
  void on_appended(uint64_t, uint64_t) override {}
  void on_synced(uint64_t cookie, uint64_t) override;

  Appender& appender_;
  LocalListener& listener_;
  std::map<Key, LocalValue> values_;
};

}  // namespace cloudfs
