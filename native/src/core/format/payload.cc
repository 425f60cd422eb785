#include "core/format/payload.h"

#include <algorithm>

#include "core/format/entry.h"

namespace cloudfs {

namespace {

DecodeError invalid(const char* message, uint64_t offset = 0) {
  return {ErrorCode::payload_invalid, message, offset};
}

/// Nothing follows but the zeros that pad to a multiple of 4.
void end_of_payload(ByteReader& reader) {
  reader.require(reader.remaining() <= 3);
  reader.zeros(reader.remaining());
}

bool mode_valid(uint8_t mode) {
  return mode >= 1 && mode <= 3;
}

void write_view(ByteWriter& writer, const ViewPayload& view) {
  ensure(!view.members.empty() && view.members.size() <= kMembersMax, "a view has 1 to 255 members");
  writer.id(view.stamp_hash);
  writer.id(view.primary);
  writer.u32(view.lease_ms);
  writer.u8(static_cast<uint8_t>(view.members.size()));
  writer.u8(view.old_stamp.has_value());
  writer.bytes(view.old_stamp.value_or(Stamp{}));
  for (const ViewMember& member : view.members) {
    ensure(member.slice.size() <= UINT16_MAX, "a sealed slice has at most 65535 bytes");
    writer.id(member.host);
    writer.id(member.store);
    writer.u8(static_cast<uint8_t>(member.role));
    writer.u16(static_cast<uint16_t>(member.slice.size()));
    writer.bytes(member.slice);
  }
}

ViewPayload read_view(ByteReader& reader) {
  constexpr size_t kMemberBytesMin = 2 * kIdBytes + 3;
  ViewPayload view;
  view.stamp_hash = reader.id<StampHash>();
  view.primary = reader.id<HostId>();
  view.lease_ms = reader.u32();
  const size_t member_count = reader.u8();
  reader.require(member_count > 0);
  const uint8_t old_stamp_known = reader.u8();
  reader.require(old_stamp_known <= 1);
  const Stamp old_stamp = reader.array<32>();
  if (old_stamp_known == 1) {
    view.old_stamp = old_stamp;
  } else {
    reader.require(all_zero(old_stamp));
  }
  if (!reader.can_hold(member_count, kMemberBytesMin)) return view;
  view.members.reserve(member_count);
  for (size_t index = 0; index < member_count && reader.ok(); ++index) {
    ViewMember member;
    member.host = reader.id<HostId>();
    member.store = reader.id<StoreId>();
    const uint8_t role = reader.u8();
    reader.require(role >= 1 && role <= 3);
    member.role = static_cast<MemberRole>(role);
    const ByteSpan slice = reader.bytes(reader.u16());
    member.slice.assign(slice.begin(), slice.end());
    view.members.push_back(std::move(member));
  }
  return view;
}

}  // namespace

bool volume_bytes_valid(uint64_t size_bytes) {
  return size_bytes % kBlockBytes == 0 && size_bytes <= kVolumeBytesMax;
}

bool is_utf8(ByteSpan bytes) {
  for (size_t index = 0; index < bytes.size();) {
    const uint8_t lead = bytes[index++];
    if (lead < 0x80) continue;
    // Unicode 15, table 3-7: how many bytes follow, and what the first of them may be.
    const size_t following = lead >= 0xc2 && lead <= 0xdf   ? 1
                             : (lead & 0xf0) == 0xe0        ? 2
                             : lead >= 0xf0 && lead <= 0xf4 ? 3
                                                            : 0;
    if (following == 0 || following > bytes.size() - index) return false;
    const uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (bytes[index] < low || bytes[index] > high) return false;
    for (size_t next = 1; next < following; ++next)
      if ((bytes[index + next] & 0xc0) != 0x80) return false;
    index += following;
  }
  return true;
}

std::vector<uint8_t> encode_create(const CreatePayload& payload) {
  ensure(volume_bytes_valid(payload.size_bytes), "a volume's size was checked");
  ensure(payload.name.size() <= kNameBytesMax && is_utf8(as_bytes(payload.name)), "a name was checked");
  const BranchPoint parent = payload.parent.value_or(BranchPoint{});
  ByteWriter writer;
  writer.u64(payload.size_bytes);
  writer.u8(static_cast<uint8_t>(payload.mode));
  writer.u8(static_cast<uint8_t>(payload.name.size()));
  writer.u8(payload.parent.has_value());
  writer.u8(0);
  writer.bytes(payload.nonce);
  writer.id(parent.volume);
  writer.u64(parent.lsn);
  writer.id(parent.public_id);
  writer.bytes(as_bytes(payload.name));
  write_view(writer, payload.view);
  return writer.take();
}

Result<CreatePayload> decode_create(ByteSpan bytes) {
  ByteReader reader(bytes);
  CreatePayload payload;
  payload.size_bytes = reader.u64();
  reader.require(volume_bytes_valid(payload.size_bytes));
  const uint8_t mode = reader.u8();
  reader.require(mode_valid(mode));
  payload.mode = static_cast<Mode>(mode);
  const size_t name_bytes = reader.u8();
  const uint8_t has_parent = reader.u8();
  reader.require(has_parent <= 1);
  reader.zeros(1);
  payload.nonce = reader.array<16>();
  BranchPoint parent;
  parent.volume = reader.id<VolumeId>();
  parent.lsn = reader.u64();
  parent.public_id = reader.id<VersionId>();
  if (has_parent == 1) {
    reader.require(parent.lsn >= 1 && parent.lsn <= kLsnMax);
    payload.parent = parent;
  } else {
    reader.require(parent == BranchPoint{});
  }
  const ByteSpan name = reader.bytes(name_bytes);
  reader.require(is_utf8(name));
  payload.name = as_text(name);
  if (reader.ok()) payload.view = read_view(reader);
  end_of_payload(reader);
  if (!reader.ok()) return invalid("the payload of a create is not valid", reader.offset());
  return payload;
}

std::vector<uint8_t> encode_view(const ViewPayload& payload) {
  ByteWriter writer;
  write_view(writer, payload);
  return writer.take();
}

bool same_set(const ViewPayload& one, const ViewPayload& other) {
  return std::equal(one.members.begin(), one.members.end(), other.members.begin(), other.members.end(),
                    [](const ViewMember& a, const ViewMember& b) {
                      return a.host == b.host && a.store == b.store && a.role == b.role;
                    });
}

Result<ViewPayload> decode_view(ByteSpan bytes) {
  ByteReader reader(bytes);
  ViewPayload view = read_view(reader);
  end_of_payload(reader);
  if (!reader.ok()) return invalid("the payload of a view is not valid", reader.offset());
  return view;
}

std::vector<uint8_t> encode_snapshot_name(std::string_view name) {
  ensure(!name.empty() && name.size() <= kNameBytesMax && is_utf8(as_bytes(name)), "a name was checked");
  ByteWriter writer;
  writer.u8(static_cast<uint8_t>(name.size()));
  writer.bytes(as_bytes(name));
  return writer.take();
}

Result<std::string_view> decode_snapshot_name(ByteSpan bytes) {
  ByteReader reader(bytes);
  const ByteSpan name = reader.bytes(reader.u8());
  reader.require(!name.empty() && is_utf8(name));
  end_of_payload(reader);
  if (!reader.ok()) return invalid("the name of a snapshot is not valid", reader.offset());
  return as_text(name);
}

std::vector<uint8_t> encode_resize(uint64_t size_bytes) {
  ensure(volume_bytes_valid(size_bytes), "a volume's size was checked");
  ByteWriter writer;
  writer.u64(size_bytes);
  return writer.take();
}

Result<uint64_t> decode_resize(ByteSpan bytes) {
  ByteReader reader(bytes);
  const uint64_t size_bytes = reader.u64();
  reader.require(volume_bytes_valid(size_bytes));
  end_of_payload(reader);
  if (!reader.ok()) return invalid("the new size is not valid", reader.offset());
  return size_bytes;
}

std::vector<uint8_t> encode_mode(Mode mode) {
  return {static_cast<uint8_t>(mode)};
}

Result<Mode> decode_mode(ByteSpan bytes) {
  ByteReader reader(bytes);
  const uint8_t mode = reader.u8();
  reader.require(mode_valid(mode));
  end_of_payload(reader);
  if (!reader.ok()) return invalid("the new mode is not valid", reader.offset());
  return static_cast<Mode>(mode);
}

std::vector<uint8_t> encode_attach(const AttachPayload& payload) {
  ensure(payload.holders.size() <= kHoldersMax, "a volume has at most 64 holders");
  ByteWriter writer;
  writer.u64(payload.revision);
  writer.u8(static_cast<uint8_t>(payload.holders.size()));
  writer.zeros(3);
  for (const Holder& holder : payload.holders) {
    ensure(holder.socket.size() <= UINT8_MAX, "a socket's path has at most 255 bytes");
    writer.bytes(holder.session);
    writer.id(holder.host);
    writer.u8(holder.shared);
    writer.u8(static_cast<uint8_t>(holder.socket.size()));
    writer.bytes(as_bytes(holder.socket));
  }
  return writer.take();
}

Result<AttachPayload> decode_attach(ByteSpan bytes) {
  constexpr size_t kHolderBytesMin = 16 + kIdBytes + 2;
  ByteReader reader(bytes);
  AttachPayload payload;
  payload.revision = reader.u64();
  const size_t count = reader.u8();
  reader.require(count <= kHoldersMax);
  reader.zeros(3);
  const bool fits = reader.can_hold(count, kHolderBytesMin);
  for (size_t index = 0; fits && index < count && reader.ok(); ++index) {
    Holder& holder = payload.holders.emplace_back();
    holder.session = reader.array<16>();
    holder.host = reader.id<HostId>();
    const uint8_t shared = reader.u8();
    reader.require(shared <= 1);
    holder.shared = shared == 1;
    const ByteSpan socket = reader.bytes(reader.u8());
    reader.require(is_utf8(socket));
    holder.socket = as_text(socket);
  }
  end_of_payload(reader);
  if (!reader.ok()) return invalid("the payload of an attach is not valid", reader.offset());
  return payload;
}

}  // namespace cloudfs
