#include "shell/block_access.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/assert.h"

namespace cloudfs::shell {

namespace {

AccessAnswer refused(const char* code, std::string message) {
  AccessAnswer answer;
  answer.error_code = code;
  answer.message = std::move(message);
  return answer;
}

/// What the core says of an export that it does not open.
AccessAnswer not_opened(const std::string& name, const std::string& why) {
  if (why == "not primary") return refused("ERR_NOT_PRIMARY", "this host is not the primary of " + name);
  if (why == "witness") return refused("ERR_WITNESS", "this host keeps no data of " + name);
  if (why == "ambiguous") return refused("ERR_AMBIGUOUS_NAME", "several volumes are named " + name);
  if (why == "not ready") return refused("ERR_NOT_READY", "the store is not ready");
  return refused("ERR_UNKNOWN_VOLUME", "no volume or snapshot " + name + " is here");
}

AccessAnswer failed(int error) {
  switch (error) {
    case EINVAL:
      return refused("ERR_RANGE_UNSATISFIABLE", "the range ends beyond the volume");
    case ENOSPC:
      return refused("ERR_STORE_FULL", "no free segment is left for it");
    case EPERM:
      return refused("ERR_READ_ONLY", "snapshots and replicas are not written to");
    case ESTALE:
      return refused("ERR_VERSION_DIFFERS", "the volume is at another version");
    case EFBIG:
      return refused("ERR_UPDATE_TOO_LONG", "a write that expects a version fits in one update");
    case kUnanswered:
      return refused("ERR_NOT_PRIMARY",
                     "this host stopped being the primary: whether it was written is not known");
    case ESHUTDOWN:
      return refused("ERR_NOT_READY", "the store stops, or the volume is deleted");
    default:
      return refused("ERR_STORE_IO", "the blocks cannot be read or written: errno " + std::to_string(error));
  }
}

}  // namespace

void BlockAccess::submit(ClientOp::Kind kind, AccessRequest request, Done done) {
  const bool is_write = kind == ClientOp::Kind::write;
  ensure(!is_write || request.bytes.size() == request.length, "a write has its bytes");
  if (request.length > kAccessBytesMax)
    return done(refused("ERR_ARGUMENT", "more than " + std::to_string(kAccessBytesMax) + " bytes at once"));
  if (request.length > kAccessInFlightBytesMax - in_flight_bytes_)
    return done(refused("ERR_TOO_MANY_REQUESTS", "too much is in flight"));
  const auto opened = core_.open_export(request.name);
  if (!opened) return done(not_opened(request.name, core_.open_refusal(request.name)));
  // Refused as what they are: the core answers such writes as if space had run out.
  if (request.offset > opened->size_bytes || request.length > opened->size_bytes - request.offset) {
    core_.close_export(opened->handle);
    return done(failed(EINVAL));
  }
  ClientOp op;
  op.kind = kind;
  op.client = kClient;
  op.request = ++requests_;
  op.target = opened->handle;
  op.offset = request.offset;
  op.length = request.length;
  op.fua = request.fua;
  op.expected = request.expected;
  if (is_write && request.length > 0) {
    const BufferRef buffer(request.bytes.size());
    std::copy(request.bytes.begin(), request.bytes.end(), buffer.data());
    op.payload = {buffer, buffer.data(), request.bytes.size()};
  }
  in_flight_bytes_ += request.length;
  waiting_.emplace(op.request, Waiting{opened->handle, request.length, std::move(done)});
  core_.submit(std::move(op));
}

void BlockAccess::deliver(Reply reply) {
  const auto found = waiting_.find(reply.request);
  ensure(found != waiting_.end(), "a request is answered once");
  const Waiting waiting = std::move(found->second);
  waiting_.erase(found);
  in_flight_bytes_ -= waiting.length;
  core_.close_export(waiting.handle);
  if (reply.error != 0) return waiting.done(failed(reply.error));
  AccessAnswer answer;
  answer.version = reply.version;
  if (!reply.pieces.empty()) answer.bytes.reserve(waiting.length);
  for (const Piece& piece : reply.pieces) {
    if (piece.hole) {
      answer.bytes.resize(answer.bytes.size() + piece.bytes);
    } else {
      answer.bytes.insert(answer.bytes.end(), piece.data.data, piece.data.data + piece.data.size);
    }
  }
  waiting.done(std::move(answer));
}

}  // namespace cloudfs::shell
