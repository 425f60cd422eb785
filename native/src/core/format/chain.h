// The chain (docs/disk-format.md; Lithium §3.4.1): each record's token follows from the one before, and its
// hash, the public id, names the volume's state. Who does not know the view's stamp sees that parents hash to
// the public ids before them; once the stamp is revealed, anyone can recompute every token of the view.
#pragma once

#include "core/base/checksum.h"
#include "core/base/error.h"
#include "core/base/ids.h"
#include "core/format/run.h"

namespace cloudfs {

/// A head as its primary knows it.
struct ChainLink {
  Token token;
  VersionId public_id;
  bool operator==(const ChainLink&) const = default;
};

inline VersionId public_of(const Token& token) {
  return hash160<VersionId>(token.bytes);
}
inline StampHash stamp_hash(const Stamp& stamp) {
  return hash160<StampHash>(stamp);
}

/// The public id of the state that `record` follows. Who forces a view may know no token: its record's parent is that id itself.
VersionId version_before(const RecordView& record);

/// H over the digests of the record's data blocks.
Id160<struct BodyDigestTag> body_digest(const RecordView& record);

/// Token and public id of `record`. Of `run` the epoch and session are used: the RunBuilder's header while
/// building.
ChainLink link_record(const Stamp& stamp, const RunHeader& run, const RecordView& record);

// A record's *link*: all that its token is made of but the stamp. Whoever keeps a head's link has its token as soon as
// it has the stamp.
constexpr size_t kLinkBytesMin = 104;  // without extents or payload

std::vector<uint8_t> link_of(const Epoch& epoch, const SessionId& session, const RecordView& record);
/// `link`: at least kLinkBytesMin bytes, as link_of makes them.
Token token_of(const Stamp& stamp, ByteSpan link);
Lsn link_lsn(ByteSpan link);
Epoch link_epoch(ByteSpan link);

/// Public id after each record of the run, in order: H of the next record's parent, and lastPublic.
void public_ids(const RunView& run, std::vector<VersionId>& out);

/// True if the run starts a volume: its first record is a create.
bool starts_volume(const RunView& run);

/// Checks what can be checked without the stamp: what the first record follows is `previous`, the public id
/// of the record before (a run that starts a volume has none, and the public id of its first record is the
/// volume's id). The public ids within the run follow from its parents. ERR_CHAIN_BROKEN.
Result<void> verify_links(const RunView& run, const VersionId& previous);

/// Checks every token of the run with the stamp of its view: each record's parent is the token of the one
/// before, and lastPublic is the last one's. Together with verify_links and verify_body_digests nothing is
/// left to trust. ERR_CHAIN_BROKEN with the offset of the record in the run.
Result<void> verify_tokens(const RunView& run, const Stamp& stamp);

}  // namespace cloudfs
