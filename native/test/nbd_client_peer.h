// A loop around the client's half of a connection, such as the shell has.
#pragma once

#include "nbd/client.h"
#include "nbd_peer.h"

namespace nbd_test {

using Terms = cloudfs::nbd::Client::Terms;

inline Slice slice_of(std::string_view text) {
  return MemoryDisk::copy(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

class ClientPeer {
 public:
  /// Of a session.
  ClientPeer() = default;
  explicit ClientPeer(Terms terms) : client(terms) {}

  cloudfs::nbd::Client client;
  std::vector<Reply> replies;

  /// Its `request` counts from 1.
  void ask(ClientOp::Kind kind, uint64_t offset, uint64_t length, uint64_t sequence = 0,
           std::string_view payload = {}) {
    ClientOp op;
    op.kind = kind;
    op.request = ++asked_;
    op.offset = offset;
    op.length = length;
    op.sequence = sequence;
    op.payload = slice_of(payload);
    client.request(op);
  }

  /// What the server says, in cuts of at most `cut` bytes. @returns how many replies it makes
  size_t feed(std::string_view bytes, size_t cut = SIZE_MAX) {
    const size_t before = replies.size();
    while (!bytes.empty()) {
      const auto window = client.receive_target();
      if (window.bytes == 0) break;
      const size_t part = std::min({window.bytes, cut, bytes.size()});
      std::memcpy(window.data, bytes.data(), part);
      client.received(part);
      client.advance(replies);
      bytes.remove_prefix(part);
    }
    return replies.size() - before;
  }

  /// What it has to say, at most `most` bytes of it.
  std::string sent(size_t most = SIZE_MAX) {
    std::string output;
    cloudfs::nbd::OutgoingPiece pieces[3];
    while (size_t count = output.size() < most ? client.outgoing(pieces) : 0) {
      size_t bytes = 0;
      for (size_t i = 0; i < count && output.size() < most; ++i) {
        const size_t part = std::min(pieces[i].bytes, most - output.size());
        output.append(reinterpret_cast<const char*>(pieces[i].data), part);
        bytes += part;
      }
      client.sent(bytes);
    }
    return output;
  }

 private:
  uint64_t asked_ = 0;
};

}  // namespace nbd_test
