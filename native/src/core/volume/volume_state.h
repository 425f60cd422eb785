// What a volume's history says of it after some record, in small. Kept twice: after the newest record made, which new
// records follow, and after the newest one applied, which checkpoints store.
#pragma once

#include <vector>

#include "core/format/checkpoint_codec.h"
#include "core/format/payload.h"
#include "core/format/run.h"

namespace cloudfs {

struct VolumeState {
  Lsn lsn = 0;
  VersionId public_id;
  uint64_t size_bytes = 0;
  Mode mode = Mode::quorum;
  bool deleted = false;
  std::vector<CheckpointEpoch> epochs;  // each with its first lsn
  std::vector<uint8_t> view;            // newest view payload
  std::vector<uint8_t>
      attach;  // newest attach payload, its sessions zero since a `restart` view; empty: none
  std::vector<CheckpointSession> sessions;  // newest request of each attach session, the latest used last

  const Epoch& epoch() const { return epochs.back().epoch; }
  /// Whose session it is has the volume attached.
  bool is_attached(const SessionId& session) const;
  /// 0 = none of this session
  uint64_t last_request(const SessionId& session) const;
  void note_request(const SessionId& session, uint64_t sequence);
  /// Takes in the next record. Its payload was checked.
  void absorb(const RecordView& record, const Epoch& epoch, const SessionId& session,
              const VersionId& public_after);
};

/// Of the record at `lsn`; of a branch's parent's, the first.
inline Epoch epoch_at(const std::vector<CheckpointEpoch>& epochs, Lsn lsn) {
  Epoch epoch = epochs.front().epoch;
  for (const CheckpointEpoch& one : epochs)
    if (one.first_lsn <= lsn) epoch = one.epoch;
  return epoch;
}

}  // namespace cloudfs
