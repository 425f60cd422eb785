// Payloads of control records (docs/disk-format.md, Payloads). These are rare: plain structs, allocated
// freely.
//
// A stored payload is zero-padded to a multiple of 4. The decoders take it with its padding (up to three zero
// bytes) or without; the encoders give it without.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/base/ids.h"

namespace cloudfs {

constexpr uint64_t kVolumeBytesMax = uint64_t{1} << 62;
constexpr size_t kNameBytesMax = 255;
constexpr size_t kMembersMax = 255;

enum class Mode : uint8_t { durable = 1, quorum = 2, local = 3 };
enum class MemberRole : uint8_t { data = 1, witness = 2, learner = 3 };

struct ViewMember {
  HostId host;
  StoreId store;
  MemberRole role = MemberRole::data;
  std::vector<uint8_t> slice;  // sealed to the host's key; at most 65535 bytes
  bool operator==(const ViewMember&) const = default;
};

/// Has a say in what is committed and who leads.
inline bool is_voter(const ViewMember& member) {
  return member.role != MemberRole::learner;
}

struct ViewPayload {
  StampHash stamp_hash;  // H(s) of the new stamp
  HostId primary;
  uint32_t lease_ms = 0;
  std::optional<Stamp> old_stamp;   // revealed stamp of the view before
  std::vector<ViewMember> members;  // 1 to 255
  bool operator==(const ViewPayload&) const = default;
};

/// The same members in the same roles; slices differ with the stamp.
bool same_set(const ViewPayload& one, const ViewPayload& other);

/// Where a branch leaves its parent.
struct BranchPoint {
  VolumeId volume;
  Lsn lsn = 0;  // the branch's first lsn is this + 1
  VersionId public_id;
  bool operator==(const BranchPoint&) const = default;
};

struct CreatePayload {
  uint64_t size_bytes = 0;
  Mode mode = Mode::quorum;
  std::string name;
  std::array<uint8_t, 16> nonce{};
  std::optional<BranchPoint> parent;
  ViewPayload view;
  bool operator==(const CreatePayload&) const = default;
};

/// A host that serves the volume to its VMs, by a session of its own.
struct Holder {
  SessionId session{};  // zero: a `restart` view has ended it
  HostId host;
  bool shared = false;
  std::string socket;  // where it serves it; at most 255 bytes
  bool operator==(const Holder&) const = default;
};

/// All who have the volume attached.
struct AttachPayload {
  uint64_t revision = 0;        // counts a volume's attach records
  std::vector<Holder> holders;  // at most 64
  bool operator==(const AttachPayload&) const = default;
};

constexpr size_t kHoldersMax = 64;

// Decoders fail with ERR_PAYLOAD_INVALID.

std::vector<uint8_t> encode_create(const CreatePayload& payload);
Result<CreatePayload> decode_create(ByteSpan bytes);

std::vector<uint8_t> encode_view(const ViewPayload& payload);
Result<ViewPayload> decode_view(ByteSpan bytes);

/// snapshot and snapshot-delete: a name of 1 to 255 bytes.
std::vector<uint8_t> encode_snapshot_name(std::string_view name);
Result<std::string_view> decode_snapshot_name(ByteSpan bytes);  // a view of `bytes`

std::vector<uint8_t> encode_resize(uint64_t size_bytes);
Result<uint64_t> decode_resize(ByteSpan bytes);

std::vector<uint8_t> encode_mode(Mode mode);
Result<Mode> decode_mode(ByteSpan bytes);

/// Records may hold any bytes here, which then name nobody: no replica refuses one.
std::vector<uint8_t> encode_attach(const AttachPayload& payload);
Result<AttachPayload> decode_attach(ByteSpan bytes);

/// A multiple of 4096, at most 2^62.
bool volume_bytes_valid(uint64_t size_bytes);

/// UTF-8 without overlong forms or surrogates.
bool is_utf8(ByteSpan bytes);

}  // namespace cloudfs
