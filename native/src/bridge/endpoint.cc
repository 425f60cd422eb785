#include "bridge/endpoint.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/assert.h"

namespace cloudfs::bridge {

namespace {

constexpr unsigned kIndexBits = 32;

bool changes_data(const ClientOp& op) {
  return op.kind == ClientOp::Kind::write || op.kind == ClientOp::Kind::trim ||
         op.kind == ClientOp::Kind::write_zeroes;
}

uint32_t take(std::vector<uint32_t>& free, size_t& count) {
  if (free.empty()) return static_cast<uint32_t>(count++);
  const uint32_t index = free.back();
  free.pop_back();
  return index;
}

}  // namespace

// --- From clients to the route --------------------------------------------------------------------------------------

void Endpoint::submit(ClientOp op) {
  if (ended_) {
    clients_.deliver({op.client, op.request, kUnanswered, {}, {}});
    return;
  }
  size_t count = parents_.size();
  const uint32_t parent = take(free_parents_, count);
  if (count > parents_.size()) parents_.resize(count);
  parents_[parent] = {op.client, op.request, 0, 0};
  if (op.kind == ClientOp::Kind::write) {
    // At block boundaries, so that no piece but the first and the last changes a block in part. With FUA each piece has it.
    const uint64_t end = op.offset + op.length;
    uint64_t begin = op.offset;
    for (;;) {
      const uint64_t cut = (begin / kBlockBytes + record_blocks_max_) * kBlockBytes;
      if (cut >= end) break;
      ClientOp piece = op;
      piece.offset = begin;
      piece.length = cut - begin;
      piece.payload.data += begin - op.offset;
      piece.payload.size = static_cast<size_t>(piece.length);
      append(std::move(piece), parent);
      begin = cut;
    }
    op.payload.data += begin - op.offset;
    op.payload.size = static_cast<size_t>(end - begin);
    op.offset = begin;
    op.length = end - begin;
  }
  append(std::move(op), parent);
  pump();
}

void Endpoint::append(ClientOp op, uint32_t parent) {
  size_t count = pieces_.size();
  const uint32_t index = take(free_pieces_, count);
  if (count > pieces_.size()) pieces_.resize(count);
  if (changes_data(op)) op.sequence = ++sequences_;
  op.request = ++pieces_ever_ << kIndexBits | index;
  Piece& piece = pieces_[index];
  piece.op = std::move(op);
  piece.parent = parent;
  piece.previous = newest_;
  piece.next = kNone;
  piece.sent = false;
  ++parents_[parent].pieces;
  (newest_ == kNone ? oldest_ : pieces_[newest_].next) = index;
  newest_ = index;
  if (unsent_ == kNone) unsent_ = index;
}

uint64_t Endpoint::bytes_of(const ClientOp& op) {
  return op.kind == ClientOp::Kind::read || op.kind == ClientOp::Kind::write ? op.length : 0;
}

bool Endpoint::has_room(const ClientOp& op) const {
  return in_flight_ < kRouteRequestsMax && bytes_in_flight_ + bytes_of(op) <= kRouteBytesMax;
}

void Endpoint::pump() {
  while (route_ != nullptr && unsent_ != kNone && has_room(pieces_[unsent_].op)) {
    Piece& piece = pieces_[unsent_];
    piece.sent = true;
    ++in_flight_;
    bytes_in_flight_ += bytes_of(piece.op);
    unsent_ = piece.next;
    route_->send(piece.op);
  }
}

void Endpoint::route(Route& route, uint64_t record_bytes_max) {
  ensure(!ended_ && record_bytes_max >= kBlockBytes, "a route leads to a primary that takes blocks");
  if (route_ != nullptr) lost(*route_);
  route_ = &route;
  record_blocks_max_ = record_bytes_max / kBlockBytes;
  pump();
}

void Endpoint::lost(const Route& route) {
  if (route_ != &route) return;
  route_ = nullptr;
  in_flight_ = 0;
  bytes_in_flight_ = 0;
  for (uint32_t index = oldest_; index != unsent_; index = pieces_[index].next) pieces_[index].sent = false;
  unsent_ = oldest_;
}

// --- From the route to clients --------------------------------------------------------------------------------------

void Endpoint::answer(const Route& route, Reply reply) {
  if (route_ != &route) return;
  if (reply.error == kUnanswered || reply.error == ESHUTDOWN) return lost(route);
  const auto index = static_cast<uint32_t>(reply.request);
  ensure(index < pieces_.size() && pieces_[index].op.request == reply.request && pieces_[index].sent,
         "what was sent is answered, once");
  const Piece& piece = pieces_[index];
  --in_flight_;
  bytes_in_flight_ -= bytes_of(piece.op);
  // Before anything that waits for it, and before its answer can bring forth more.
  if (reply.error != 0 && piece.op.sequence != 0) route_->seen(piece.op.sequence);
  finish(index, std::move(reply));
  pump();
}

void Endpoint::finish(uint32_t index, Reply reply) {
  const uint32_t parent_index = pieces_[index].parent;
  release(index);
  Parent& parent = parents_[parent_index];
  if (parent.error == 0) parent.error = reply.error;
  if (--parent.pieces > 0) return;
  // Of several pieces only writes are made, whose answers have no contents.
  reply.client = parent.client;
  reply.request = parent.request;
  reply.error = parent.error;
  if (reply.error != 0) reply.pieces.clear();
  free_parents_.push_back(parent_index);
  clients_.deliver(std::move(reply));
}

void Endpoint::release(uint32_t index) {
  Piece& piece = pieces_[index];
  (piece.previous == kNone ? oldest_ : pieces_[piece.previous].next) = piece.next;
  (piece.next == kNone ? newest_ : pieces_[piece.next].previous) = piece.previous;
  if (unsent_ == index) unsent_ = piece.next;
  piece.op = {};
  free_pieces_.push_back(index);
}

void Endpoint::end() {
  ended_ = true;
  route_ = nullptr;
  while (oldest_ != kNone) finish(oldest_, {0, 0, kUnanswered, {}, {}});
}

}  // namespace cloudfs::bridge
