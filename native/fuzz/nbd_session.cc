// Any bytes may come from an endpoint that was let in. The first two bytes seed the cuts and the core's delays; the rest is
// what the endpoint says: sequences go up, `seen` names one that was sent, what is taken is bounded, all is answered.
#include "../test/nbd_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nbd_test;
  if (size < 2) return 0;
  const size_t cut = (data[0] & 1) != 0 ? SIZE_MAX : 1 + data[1];
  const size_t late_max = data[0] >> 1;
  Peer peer(Export{1, kDiskBytes, false, "disk", "", 1 << 20});
  MemoryDisk disk(kLargeBytes);
  std::string_view bytes(reinterpret_cast<const char*>(data + 2), size - 2);
  uint64_t last = 0;
  size_t checked = 0;
  const auto check = [&] {
    for (; checked < peer.ops.size(); ++checked) {
      const ClientOp& op = peer.ops[checked];
      const bool changes = op.kind == ClientOp::Kind::write || op.kind == ClientOp::Kind::trim ||
                           op.kind == ClientOp::Kind::write_zeroes;
      demand(changes == (op.sequence != 0), "a number where none is to be, or none");
      demand(!changes || op.sequence > last, "the order of sequences");
      demand(op.length > 0 || op.kind == ClientOp::Kind::flush, "an op of nothing");
      if (changes) last = op.sequence;
    }
    for (const uint64_t sequence : peer.connection.take_seen())
      demand(sequence <= last, "seen what was not sent");
    demand(peer.connection.ops_in_flight() <= cloudfs::nbd::kRequestsInFlightMax,
           "too many requests in flight");
  };
  while (!bytes.empty() && !peer.connection.wants_close()) {
    const size_t part = std::min(cut, bytes.size());
    peer.feed(bytes.substr(0, part));
    bytes.remove_prefix(part);
    check();
    while (peer.ops.size() > late_max) {
      const ClientOp op = peer.take_op();
      --checked;
      const bool fits = op.offset <= kDiskBytes && op.length <= kDiskBytes - op.offset;
      peer.answer(fits ? carry_out(disk, op) : Reply{op.client, op.request, 28, {}, {}});
      check();
    }
  }
  peer.connection.disconnected();
  while (!peer.ops.empty())
    peer.connection.answer({Peer::kClient, peer.take_op().request, cloudfs::kUnanswered, {}, {}});
  demand(peer.connection.finished() && peer.exports.closed.size() == 1,
         "a session that is left is not finished");
  return 0;
}
