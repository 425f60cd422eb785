// Puts any bytes of a client to a connection, in arbitrary cuts, with a core that answers at once or late and in any
// order, and a socket that takes little or much; then holds what came out against the model (nbd_model.h).
#pragma once

#include <cerrno>

#include "nbd_model.h"

namespace nbd_test {

/// Small, and the same everywhere: a seed is a whole run.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t z = state_;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  uint64_t below(uint64_t end) { return next() % end; }
  template <class T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[below(values.size())];
  }
  bool one_in(uint64_t n) { return below(n) == 0; }

 private:
  uint64_t state_;
};

class Ordeal {
 public:
  Ordeal(uint64_t seed, std::string bytes) : random_(seed), bytes_(std::move(bytes)) {
    cut_max_ = random_.pick<size_t>({1, 7, 100, 5000, 100'000, SIZE_MAX});
    send_max_ = random_.pick<size_t>({1, 30, 1000, 300'000, SIZE_MAX});
    if (bytes_.size() > 20'000) cut_max_ = std::max<size_t>(cut_max_, 100);
    late_in_ = random_.below(4);
    failing_ = random_.one_in(3);
    failures_seed_ = random_.next();
    if (random_.one_in(4)) send_max_ = SIZE_MAX;
  }

  void run() {
    const std::function<int(size_t)> error_of_op = [this](size_t op) { return error_for(op); };
    const ClientStream client(bytes_, exports_, error_of_op);
    size_t fed = 0;
    size_t idle_turns = 0;
    while (!connection_.wants_close()) {
      const size_t sent_before = output_.size();
      const size_t part = receive(fed);
      fed += part;
      const bool parsed = connection_.can_advance();
      advance();
      if (fed == bytes_.size() || part == 0 || random_.below(4) < late_in_) answer_some();
      send();
      check_bounds();
      const bool moved = part > 0 || parsed || output_.size() > sent_before || connection_.can_advance();
      // All is fed, answered and sent, and nothing moves: the client of an open connection would wait for ever.
      idle_turns = moved || !late_.empty() || pending_output() ? 0 : idle_turns + 1;
      if (idle_turns > 2) break;
    }
    const bool closed = connection_.wants_close();
    demand(closed == (client.end != ClientStream::End::open),
           "the connection is open, or closed, against the rules");
    demand(closed || fed == bytes_.size(), "the connection stopped receiving");
    const bool broken = client.end == ClientStream::End::broken;
    if (broken) take_rest();
    demand(broken || late_.empty(), "the connection closed before all was answered");
    demand(ops_ == client.ops, "other requests reached the core");
    ServerStream(output_, client, broken);
    leave(client);
  }

 private:
  struct Late {
    ClientOp op;
    Reply reply;
    std::string payload;  // as it was when it came
  };

  int error_for(size_t op) const {
    if (!failing_) return 0;
    Random random(failures_seed_ + op);
    return random.one_in(8) ? (random.one_in(2) ? EIO : ENOSPC) : 0;
  }

  size_t receive(size_t fed) {
    if (fed == bytes_.size()) return 0;
    const auto window = connection_.receive_target();
    if (window.bytes == 0) return 0;
    const size_t cut = cut_max_ == SIZE_MAX ? SIZE_MAX : 1 + random_.below(cut_max_);
    const size_t part = std::min({window.bytes, cut, bytes_.size() - fed});
    std::memcpy(window.data, bytes_.data() + fed, part);
    connection_.received(part);
    return part;
  }

  void advance() {
    std::vector<ClientOp> ops;
    connection_.advance(ops);
    for (ClientOp& op : ops) {
      demand(connection_.exported() != nullptr && op.target == connection_.exported()->handle,
             "an op without export");
      if (!disk_) disk_.emplace(connection_.exported()->size_bytes);
      const int error = error_for(ops_++);
      Reply reply{op.client, op.request, error, {}};
      if (error == 0) reply = carry_out(*disk_, op);
      if (op.kind == ClientOp::Kind::block_status && reply.pieces.size() > 1 && random_.one_in(4))
        reply.pieces.resize(1 + random_.below(reply.pieces.size()));
      if (op.kind == ClientOp::Kind::read) split_some(reply.pieces);
      std::string payload = text_of(op.payload);
      late_.push_back({std::move(op), std::move(reply), std::move(payload)});
    }
  }

  // A core need not give pieces as long as they could be.
  void split_some(std::vector<Piece>& pieces) {
    for (size_t i = 0; i < pieces.size() && pieces.size() < 50; ++i) {
      if (pieces[i].bytes < 2 || !random_.one_in(3)) continue;
      Piece rest = pieces[i];
      const uint64_t part = 1 + random_.below(rest.bytes - 1);
      rest.bytes -= part;
      pieces[i].bytes = part;
      if (!rest.hole) {
        rest.data.data += part;
        rest.data.size -= part;
        pieces[i].data.size = part;
      }
      pieces.insert(pieces.begin() + static_cast<std::ptrdiff_t>(i) + 1, std::move(rest));
    }
  }

  void answer_some() {
    size_t count = late_.empty() ? 0 : 1 + random_.below(late_.size());
    for (; count > 0; --count) {
      const size_t which = random_.below(late_.size());
      std::swap(late_[which], late_.back());
      Late& late = late_.back();
      demand(text_of(late.op.payload) == late.payload, "a payload changed before its answer");
      if (kept_.size() < 8 && random_.one_in(4)) kept_.emplace_back(late.op.payload, late.payload);
      connection_.answer(std::move(late.reply));
      late_.pop_back();
    }
  }

  bool pending_output() const {
    cloudfs::nbd::OutgoingPiece piece[1];
    return connection_.outgoing(piece) > 0;
  }

  void send() {
    cloudfs::nbd::OutgoingPiece pieces[5];
    size_t budget = send_max_ == SIZE_MAX ? SIZE_MAX : random_.below(send_max_ + 1);
    // A huge reply through a narrow socket would only take time.
    if (connection_.bytes_in_flight() > 100'000) budget = SIZE_MAX;
    while (budget > 0) {
      const size_t count = connection_.outgoing(pieces);
      if (count == 0) break;
      size_t bytes = 0;
      for (size_t i = 0; i < count && budget > 0; ++i) {
        demand(pieces[i].bytes > 0, "an empty piece");
        const size_t part = std::min(budget, pieces[i].bytes);
        output_.append(reinterpret_cast<const char*>(pieces[i].data), part);
        bytes += part;
        budget -= part;
      }
      connection_.sent(bytes);
    }
  }

  // What a broken connection had queued may be sent or not; here it is, so that messages are whole.
  void take_rest() {
    send_max_ = SIZE_MAX;
    send();
  }

  void check_bounds() const {
    using namespace cloudfs::nbd;
    demand(connection_.ops_in_flight() <= kRequestsInFlightMax, "too many requests in flight");
    // Besides the limit: headers of replies, and in the handshake one LIST.
    demand(connection_.bytes_in_flight() <= kBytesInFlightMax + (4 << 20), "too many bytes in flight");
    demand(connection_.ops_in_flight() == late_.size(), "ops in flight are not what the core has");
  }

  void leave(const ClientStream& client) {
    connection_.disconnected();
    while (!late_.empty()) {
      demand(!connection_.finished() && exports_.closed.empty(), "the export closed under an op");
      connection_.answer(std::move(late_.back().reply));
      late_.pop_back();
    }
    demand(connection_.finished() && !pending_output(), "a connection that is left is not finished");
    demand(exports_.closed.size() == (client.exported ? 1 : 0), "an export is closed once");
    for (const auto& [slice, text] : kept_)
      demand(text_of(slice) == text, "a payload changed after its answer");
  }

  Random random_;
  std::string bytes_;
  size_t cut_max_ = 0;
  size_t send_max_ = 0;
  uint64_t late_in_ = 0;
  bool failing_ = false;
  uint64_t failures_seed_ = 0;
  MemoryExports exports_;
  Connection connection_{9, exports_};
  std::optional<MemoryDisk> disk_;
  std::vector<Late> late_;
  std::vector<std::pair<Slice, std::string>> kept_;
  std::string output_;
  size_t ops_ = 0;
};

}  // namespace nbd_test
