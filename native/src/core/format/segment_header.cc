#include "core/format/segment_header.h"

#include "core/base/checksum.h"
#include "core/format/superblock.h"

namespace cloudfs {

namespace {

constexpr std::string_view kMagic = "CFSEGMT1";
constexpr size_t kReservedOffset = 72;
constexpr size_t kCrcOffset = kSegmentHeaderBytes - 4;

DecodeError corrupt(const char* message, uint64_t offset) {
  return {ErrorCode::segment_corrupt, message, offset};
}

}  // namespace

uint64_t batch_seal(const SegmentHeader& header) {
  uint8_t hash[8];
  Sha256()
      .add(header.store.bytes)
      .add_integer(header.generation)
      .add_integer(header.start)
      .add_integer(header.logical)
      .finish(hash);
  const auto seal = load<uint64_t>(hash);
  return seal == 0 ? 1 : seal;
}

void encode_segment_header(const SegmentHeader& header, std::span<uint8_t> out) {
  ensure(out.size() == kSegmentHeaderBytes, "a segment header has 4096 bytes");
  uint8_t* at = out.data();
  std::memset(at, 0, out.size());
  std::memcpy(at, kMagic.data(), kMagic.size());
  store(at + 8, kFormatVersion);
  store(at + 12, header.logical);
  store_id(at + 16, header.store);
  store(at + 36, header.physical);
  store(at + 40, header.generation);
  store(at + 48, header.first_sequence);
  at[56] = static_cast<uint8_t>(header.kind);
  store(at + 64, header.start);
  store(at + kCrcOffset, crc32c(out.first(kCrcOffset)));
}

Result<SegmentHeader> decode_segment_header(ByteSpan bytes) {
  if (bytes.size() < kSegmentHeaderBytes) return corrupt("the segment header is cut off", bytes.size());
  const uint8_t* at = bytes.data();
  if (as_text(bytes.first(kMagic.size())) != kMagic) return corrupt("this is no segment header", 0);
  if (load<uint32_t>(at + kCrcOffset) != crc32c(bytes.first(kCrcOffset)))
    return corrupt("the segment header fails its checksum", kCrcOffset);
  const uint32_t version = load<uint32_t>(at + 8);
  if (version > kFormatVersion)
    return DecodeError{ErrorCode::store_version, "the segment is of a later format version", 8};
  if (version == 0) return corrupt("the format version is 0", 8);

  SegmentHeader header;
  header.logical = load<uint32_t>(at + 12);
  header.store = load_id<StoreId>(at + 16);
  header.physical = load<uint32_t>(at + 36);
  header.generation = load<uint64_t>(at + 40);
  header.first_sequence = load<uint64_t>(at + 48);
  header.kind = static_cast<SegmentKind>(at[56]);
  header.start = load<uint64_t>(at + 64);
  if (header.logical == 0) return corrupt("logical ids count from 1", 12);
  if (at[56] < 1 || at[56] > 3) return corrupt("the segment's kind is unknown", 56);
  if ((header.first_sequence == 0) != (header.kind == SegmentKind::index))
    return corrupt("the first sequence does not fit the kind", 48);
  if (header.start == 0) return corrupt("starts count from 1", 64);
  if (!all_zero(bytes.subspan(57, 7)) ||
      !all_zero(bytes.subspan(kReservedOffset, kCrcOffset - kReservedOffset)))
    return corrupt("reserved bytes are not zero", 57);
  return header;
}

}  // namespace cloudfs
