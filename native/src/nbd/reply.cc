// The bytes of replies: simple ones, and the chunks of structured ones.
#include <algorithm>

#include "core/base/assert.h"
#include "nbd/transmission.h"

namespace cloudfs::nbd {

namespace {

// A longer extent is cut: 32 bits of length, in whole blocks.
constexpr uint64_t kExtentBytesMax = UINT32_MAX - (kBlockBytes - 1);

void simple(const Request& request, WireError error, Output& output) {
  output.put(kSimpleReplyBytes).put(kSimpleReplyMagic).put(error).put(request.cookie);
}

// The header of a chunk and room for the first `bytes` of its `payload_bytes`.
Writer chunk(const Request& request, ChunkType type, bool done, size_t payload_bytes, size_t bytes,
             Output& output) {
  Writer writer = output.put(kChunkHeaderBytes + bytes);
  writer.put(kStructuredReplyMagic)
      .put<uint16_t>(done ? kReplyDone : 0)
      .put(type)
      .put(request.cookie)
      .put(static_cast<uint32_t>(payload_bytes));
  return writer;
}

void append(Piece& piece, Output& output) {
  if (piece.hole) {
    output.append_zeroes(piece.bytes);
  } else {
    output.append(std::move(piece.data));
  }
}

struct Extent {
  uint64_t bytes = 0;
  uint32_t status = 0;
};

// Neighbours of equal status are one extent. The extents end with the first that reaches the end of what was asked; that
// one may reach beyond, except for REQ_ONE.
std::vector<Extent> extents_of(const std::vector<Piece>& pieces, const MetaContext& context,
                               const Request& request) {
  const size_t count_max = request.has(kCommandReqOne) ? 1 : kStatusExtentsMax;
  std::vector<Extent> extents;
  uint64_t covered = 0;
  for (const Piece& piece : pieces) {
    ensure(piece.bytes > 0, "a piece says something about some bytes");
    const uint32_t status = context.status(piece);
    const bool merges = !extents.empty() && extents.back().status == status;
    if (!merges && (covered >= request.length || extents.size() == count_max)) break;
    if (!merges) extents.push_back({0, status});
    extents.back().bytes += piece.bytes;
    covered += piece.bytes;
  }
  for (size_t i = 0; i < extents.size(); ++i) {
    if (extents[i].bytes <= kExtentBytesMax) continue;
    extents[i].bytes = kExtentBytesMax;
    extents.resize(i + 1);
  }
  if (request.has(kCommandReqOne) && !extents.empty())
    extents.front().bytes = std::min<uint64_t>(extents.front().bytes, request.length);
  return extents;
}

}  // namespace

void Transmission::succeed(const Request& request, Output& output) const {
  // A read must not be answered by a simple reply once structured ones are agreed on; for others they are shorter.
  if (session_.structured && request.type == CommandType::read) {
    chunk(request, ChunkType::none, true, 0, 0, output);
  } else {
    simple(request, WireError::none, output);
  }
  output.end_reply();
}

void Transmission::refuse(const Request& request, const Refusal& refusal, Output& output) const {
  if (session_.structured) {
    const size_t bytes = 6 + refusal.message.size();
    chunk(request, ChunkType::error, true, bytes, bytes, output)
        .put(refusal.error)
        .put(static_cast<uint16_t>(refusal.message.size()))
        .put(refusal.message);
  } else {
    simple(request, refusal.error, output);
  }
  output.end_reply();
}

void Transmission::send_read(const Request& request, std::vector<Piece>& pieces, Output& output) const {
  uint64_t total = 0;
  for (const Piece& piece : pieces) {
    ensure(piece.bytes > 0 && (piece.hole || piece.data.size == piece.bytes), "a piece has its bytes");
    total += piece.bytes;
  }
  ensure(total == request.length, "a read is answered with the bytes asked for");
  if (session_.structured) {
    send_chunks(request, pieces, output);
  } else {
    simple(request, WireError::none, output);
    for (Piece& piece : pieces) append(piece, output);
  }
  output.end_reply();
}

void Transmission::send_chunks(const Request& request, std::vector<Piece>& pieces, Output& output) const {
  const bool any_data = std::any_of(pieces.begin(), pieces.end(), [](const Piece& p) { return !p.hole; });
  const bool one_chunk = request.has(kCommandDf) && any_data;
  uint64_t offset = request.offset;
  for (size_t i = 0; i < pieces.size();) {
    const bool hole = pieces[i].hole && !one_chunk;
    uint64_t bytes = 0;
    size_t end = i;
    for (; end < pieces.size() && (one_chunk || pieces[end].hole == hole); ++end) bytes += pieces[end].bytes;
    const bool done = end == pieces.size();
    if (hole) {
      chunk(request, ChunkType::offset_hole, done, 12, 12, output)
          .put(offset)
          .put(static_cast<uint32_t>(bytes));
    } else {
      chunk(request, ChunkType::offset_data, done, 8 + bytes, 8, output).put(offset);
      for (size_t each = i; each < end; ++each) append(pieces[each], output);
    }
    offset += bytes;
    i = end;
  }
}

void Transmission::send_status(const Request& request, const std::vector<Piece>& pieces,
                               Output& output) const {
  for (const MetaContext& context : session_.contexts) {
    const std::vector<Extent> extents = extents_of(pieces, context, request);
    ensure(!extents.empty(), "a status has an extent");
    const bool done = &context == &session_.contexts.back();
    const size_t bytes = extents.size() * 8;
    chunk(request, ChunkType::block_status, done, 4 + bytes, 4, output).put(context.id);
    // Up to half a megabyte: not a header.
    BufferRef buffer(bytes);
    Writer writer(buffer.data());
    for (const Extent& extent : extents) writer.put(static_cast<uint32_t>(extent.bytes)).put(extent.status);
    const uint8_t* data = buffer.data();
    output.append({std::move(buffer), data, bytes});
  }
  output.end_reply();
}

}  // namespace cloudfs::nbd
