#include "core/format/chain.h"

namespace cloudfs {

namespace {

using BodyDigest = Id160<struct BodyDigestTag>;

/// The token that the record after `record` names as its parent, or nullopt behind the run's last one.
std::optional<Token> token_after(const RunView& run, const RecordView& record) {
  const uint8_t* next = record.bytes().data() + record.record_bytes();
  if (next == run.bytes().data() + run.bytes().size()) return std::nullopt;
  return RecordView(next, record.lsn() + 1, 0).parent();
}

VersionId public_after(const RunView& run, const RecordView& record) {
  const std::optional<Token> token = token_after(run, record);
  return token ? public_of(*token) : run.header().last_public;
}

}  // namespace

VersionId version_before(const RecordView& record) {
  const Token parent = record.parent();
  const bool is_forced = record.kind() == RecordKind::view && (record.flags() & kFlagForce) != 0;
  return is_forced ? VersionId{parent.bytes} : public_of(parent);
}

BodyDigest body_digest(const RecordView& record) {
  const uint8_t* sum = record.bytes().data() + kRecordHeaderBytes + record.content().size();
  const size_t blocks = record.data_blocks();
  Sha256 hash;
  for (size_t index = 0; index < blocks; ++index, sum += kBlockSumBytes)
    hash.add({sum + 4, sizeof(BlockDigest)});
  BodyDigest digest;
  hash.finish(digest.bytes);
  return digest;
}

ChainLink link_record(const Stamp& stamp, const RunHeader& run, const RecordView& record) {
  // All fields of fixed width in one piece: hashing them one by one costs more than the hash.
  uint8_t fixed[116];
  uint8_t* at = fixed;
  const auto put = [&at](const void* bytes, size_t size) {
    std::memcpy(at, bytes, size);
    at += size;
  };
  const uint64_t lsn = record.lsn();
  put(stamp.data(), stamp.size());
  put(record.bytes().data() + 16, kIdBytes);  // parent
  put(&run.epoch.counter, 8);
  put(run.epoch.host.bytes.data(), kIdBytes);
  put(&lsn, 8);
  put(run.session.data(), run.session.size());
  put(record.bytes().data() + 8, 8);  // requestSequence
  put(record.bytes().data(), 4);      // kind, flags, extentCount
  ensure(at == fixed + sizeof fixed, "the token covers 116 bytes of fixed fields");

  const BodyDigest digest = body_digest(record);
  ChainLink link;
  Sha256().add(fixed).add(record.content()).add(digest.bytes).finish(link.token.bytes);
  link.public_id = public_of(link.token);
  return link;
}

std::vector<uint8_t> link_of(const Epoch& epoch, const SessionId& session, const RecordView& record) {
  ByteWriter link;
  link.id(record.parent());
  link.u64(epoch.counter);
  link.id(epoch.host);
  link.u64(record.lsn());
  link.bytes(session);
  link.u64(record.request_sequence());
  link.u8(static_cast<uint8_t>(record.kind()));
  link.u8(record.flags());
  link.u16(record.extent_count());
  link.bytes(record.content());
  link.id(body_digest(record));
  return link.take();
}

Token token_of(const Stamp& stamp, ByteSpan link) {
  ensure(link.size() >= kLinkBytesMin, "a link has all its fields");
  Token token;
  Sha256().add(stamp).add(link).finish(token.bytes);
  return token;
}

Epoch link_epoch(ByteSpan link) {
  return {load<uint64_t>(link.data() + kIdBytes), load_id<HostId>(link.data() + kIdBytes + 8)};
}

Lsn link_lsn(ByteSpan link) {
  return load<uint64_t>(link.data() + 2 * kIdBytes + 8);
}

void public_ids(const RunView& run, std::vector<VersionId>& out) {
  out.clear();
  out.reserve(run.header().count);
  for (const RecordView record : run.records()) out.push_back(public_after(run, record));
}

bool starts_volume(const RunView& run) {
  return run.header().type == RunType::records && (*run.records().begin()).kind() == RecordKind::create;
}

Result<void> verify_links(const RunView& run, const VersionId& previous) {
  const RecordView first = *run.records().begin();
  if (starts_volume(run)) {
    if (public_after(run, first).bytes != run.header().volume.bytes)
      return DecodeError{ErrorCode::chain_broken, "the volume's id is not the public id of its first record",
                         kRunHeaderBytes};
  } else if (version_before(first) != previous) {
    return DecodeError{ErrorCode::chain_broken, "the parent is not the token of the record before",
                       kRunHeaderBytes};
  }
  return {};
}

Result<void> verify_tokens(const RunView& run, const Stamp& stamp) {
  for (const RecordView record : run.records()) {
    const ChainLink link = link_record(stamp, run.header(), record);
    const std::optional<Token> token = token_after(run, record);
    const bool holds = token ? link.token == *token : link.public_id == run.header().last_public;
    if (!holds) {
      const auto offset = static_cast<uint64_t>(record.bytes().data() - run.bytes().data());
      return DecodeError{ErrorCode::chain_broken, "the record is not what its token was made of", offset};
    }
  }
  return {};
}

}  // namespace cloudfs
