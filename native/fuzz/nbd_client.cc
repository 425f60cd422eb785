// Any bytes may come from whoever is taken for the primary. The first bytes choose what was asked; the rest is what the
// server says: each request is answered once, a read with as many bytes as were asked for, and memory stays bounded.
#include "../test/nbd_client_peer.h"
#include "../test/nbd_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nbd_test;
  if (size < 2) return 0;
  const bool is_session = (data[0] & 1) != 0;
  const size_t cut = (data[0] & 2) != 0 ? SIZE_MAX : 1 + data[1];
  std::string bytes(reinterpret_cast<const char*>(data + 2), size - 2);
  ClientPeer peer = is_session ? ClientPeer() : ClientPeer(Terms{(data[0] & 4) == 0, 1});
  if (is_session) {
    if (bytes.size() < 32) return 0;
    peer.feed(bytes.substr(0, 32), cut);
    bytes.erase(0, 32);
    if (!peer.client.greeted()) {
      demand(peer.client.failure().has_value(), "a greeting that is none was taken");
      return 0;
    }
  }
  using Kind = ClientOp::Kind;
  std::map<uint64_t, ClientOp> open;
  const auto ask = [&](Kind kind, uint64_t offset, uint64_t length, uint64_t sequence) {
    ClientOp op;
    op.kind = kind;
    op.offset = offset;
    op.length = length;
    open[open.size() + 1] = op;
    peer.ask(kind, offset, length, sequence, kind == Kind::write ? std::string(length, 'w') : std::string());
  };
  ask(Kind::read, 0, 64, 0);
  ask(Kind::read, 4096, 1 << 20, 0);
  ask(Kind::write, 0, 10, 1);
  ask(Kind::flush, 0, 0, 0);
  ask(Kind::block_status, 0, 1 << 20, 0);
  ask(Kind::trim, 0, 4096, 2);
  peer.sent();
  peer.feed(bytes, cut);
  demand(peer.client.requests_in_flight() + peer.replies.size() == 6, "requests were lost");
  demand(peer.client.receive_target().bytes <= (33u << 20), "more room than any answer takes");
  for (const Reply& reply : peer.replies) {
    const auto found = open.find(reply.request);
    demand(found != open.end(), "an answer to nothing, or a second one");
    uint64_t total = 0;
    for (const Piece& piece : reply.pieces) {
      demand(piece.bytes > 0, "a piece of nothing");
      total += piece.bytes;
      if (found->second.kind == Kind::read && !piece.hole)
        demand(piece.data.size == piece.bytes, "a piece without its bytes");
    }
    const bool is_read = found->second.kind == Kind::read && reply.error == 0;
    demand(!is_read || total == found->second.length, "a read of another length");
    demand(found->second.kind != Kind::block_status || reply.error != 0 || total > 0, "a status of nothing");
    open.erase(found);
  }
  return 0;
}
