#include "core/volume/volume_state.h"

#include <algorithm>

#include "core/base/assert.h"

namespace cloudfs {

namespace {

/// All sessions end: of what they were told is done, part may be gone (R3).
std::vector<uint8_t> without_sessions(const std::vector<uint8_t>& attach) {
  Result<AttachPayload> payload = decode_attach(attach);
  if (!payload.ok()) return {};
  for (Holder& holder : payload->holders) holder.session = {};
  return encode_attach(*payload);
}

}  // namespace

bool VolumeState::is_attached(const SessionId& session) const {
  const Result<AttachPayload> payload = decode_attach(attach);
  return payload.ok() && session != SessionId{} &&
         std::any_of(payload->holders.begin(), payload->holders.end(),
                     [&](const Holder& holder) { return holder.session == session; });
}

uint64_t VolumeState::last_request(const SessionId& session) const {
  for (const CheckpointSession& one : sessions)
    if (one.session == session) return one.last_sequence;
  return 0;
}

void VolumeState::note_request(const SessionId& session, uint64_t sequence) {
  const auto at = std::find_if(sessions.begin(), sessions.end(),
                               [&](const CheckpointSession& one) { return one.session == session; });
  if (at != sessions.end()) {
    at->last_sequence = std::max(at->last_sequence, sequence);
    std::rotate(at, at + 1, sessions.end());
    return;
  }
  if (sessions.size() == kHoldersMax) sessions.erase(sessions.begin());
  sessions.push_back({session, sequence});
}

void VolumeState::absorb(const RecordView& record, const Epoch& epoch, const SessionId& session,
                         const VersionId& public_after) {
  lsn = record.lsn();
  public_id = public_after;
  if (record.request_sequence() != 0) note_request(session, record.request_sequence());
  switch (record.kind()) {
    case RecordKind::create: {
      const Result<CreatePayload> payload = decode_create(record.payload());
      ensure(payload.ok(), "a record's payload was checked");
      size_bytes = payload->size_bytes;
      mode = payload->mode;
      view = encode_view(payload->view);
      epochs.push_back({epoch, lsn});
      break;
    }
    case RecordKind::view: {
      const Result<ViewPayload> payload = decode_view(record.payload());
      ensure(payload.ok(), "a record's payload was checked");
      view = encode_view(*payload);
      epochs.push_back({epoch, lsn});
      if ((record.flags() & kFlagRestart) != 0) {
        attach = without_sessions(attach);
        sessions.clear();
      }
      break;
    }
    case RecordKind::resize: {
      const Result<uint64_t> bytes = decode_resize(record.payload());
      ensure(bytes.ok(), "a record's payload was checked");
      size_bytes = *bytes;
      break;
    }
    case RecordKind::mode: {
      const Result<Mode> wanted = decode_mode(record.payload());
      ensure(wanted.ok(), "a record's payload was checked");
      mode = *wanted;
      break;
    }
    case RecordKind::remove:
      deleted = true;
      break;
    case RecordKind::attach: {
      const ByteSpan payload = record.payload();
      attach.assign(payload.begin(), payload.end());
      std::erase_if(sessions, [&](const CheckpointSession& one) { return !is_attached(one.session); });
      break;
    }
    case RecordKind::write:
    case RecordKind::snapshot:
    case RecordKind::snapshot_remove:
      break;
  }
}

}  // namespace cloudfs
