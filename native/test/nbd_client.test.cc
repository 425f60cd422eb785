// The client's half of the transmission phase: by bytes, and against this project's server.
#include <doctest/doctest.h>

#include <cerrno>
#include <cstdlib>
#include <set>
#include <string>

#include "nbd_client_peer.h"
#include "nbd_ordeal.h"

using namespace nbd_test;
using Kind = ClientOp::Kind;

namespace {

const std::string kGreeting(
    "CLOUDFSS\x01\x00\x01\x00\x00\x10\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00"
    "\0\0\0\0\0\0\0\0",
    32);

constexpr uint64_t kFirstCookie = kUnnumbered | 1 << 16;

std::string error_chunk(uint64_t cookie, uint32_t error, std::string_view message, uint16_t flags = 1) {
  return chunk(flags, 0x8001, cookie,
               be(error) + be(static_cast<uint16_t>(message.size())) + std::string(message));
}

std::string data_chunk(uint16_t flags, uint64_t offset, std::string_view data,
                       uint64_t cookie = kFirstCookie) {
  return chunk(flags, 1, cookie, be(offset) + std::string(data));
}

std::string hole_chunk(uint16_t flags, uint64_t offset, uint32_t bytes, uint64_t cookie = kFirstCookie) {
  return chunk(flags, 2, cookie, be(offset) + be(bytes));
}

std::string status_chunk(uint32_t context, std::initializer_list<std::pair<uint32_t, uint32_t>> extents) {
  std::string payload = be(context);
  for (const auto& [bytes, status] : extents) payload += be(bytes) + be(status);
  return chunk(1, 5, kFirstCookie, payload);
}

std::string content(const Reply& reply) {
  std::string text;
  for (const Piece& piece : reply.pieces)
    text += piece.hole ? std::string(piece.bytes, '.') : text_of(piece.data);
  return text;
}

// Random requests of a session's client to its server, through a narrow wire, with a core that answers late, in any order
// and with errors: each reply is what the disk said.
class SessionOrdeal {
 public:
  explicit SessionOrdeal(uint64_t seed)
      : random_(seed), cut_max_(random_.pick<size_t>({3, 100, 5000, 300'000})) {}

  void run() {
    for (size_t turns = 0; turns < 400 || !open_.empty() || peer_.client.requests_in_flight() > 0; ++turns) {
      demand(turns < 200'000, "requests are not answered");
      if (turns < 400 && peer_.client.greeted() && open_.size() < 100 && random_.one_in(2)) ask();
      to_server_ += peer_.sent();
      receive();
      if (random_.one_in(3)) answer_some();
      to_client_ += server_.send();
      const size_t part = std::min(cut(), to_client_.size());
      peer_.feed(std::string_view(to_client_).substr(0, part));
      to_client_.erase(0, part);
      demand(!peer_.client.failure(), "the client refuses its own server");
      check();
    }
    for (to_server_ += peer_.sent(); !to_server_.empty();) receive();
    const auto seen = server_.connection.take_seen();
    heard_.insert(heard_.end(), seen.begin(), seen.end());
    demand(heard_ == seen_, "other refusals have been seen");
  }

 private:
  struct Expected {
    ClientOp::Kind kind;
    uint64_t sequence = 0;
    int error = 0;
    std::string text;
  };

  size_t cut() { return 1 + random_.below(cut_max_); }

  void ask() {
    const Kind kind = random_.pick({Kind::read, Kind::read, Kind::write, Kind::write, Kind::flush, Kind::trim,
                                    Kind::write_zeroes, Kind::cache, Kind::block_status});
    // Much through a narrow wire would only take time.
    const uint64_t length = 1 + random_.below(std::min<uint64_t>(50 * cut_max_, 200'000));
    const uint64_t offset = random_.below(kDiskBytes - length);
    const bool changes = kind == Kind::write || kind == Kind::trim || kind == Kind::write_zeroes;
    const bool flush = kind == Kind::flush;
    open_.insert(++asked_);
    peer_.ask(kind, flush ? 0 : offset, flush ? 0 : length, changes ? ++sequence_ : 0,
              std::string(kind == Kind::write ? length : 0, static_cast<char>('a' + asked_ % 26)));
  }

  void receive() {
    const auto window = server_.connection.receive_target();
    const size_t part = std::min({window.bytes, cut(), to_server_.size()});
    if (part > 0) {
      std::memcpy(window.data, to_server_.data(), part);
      server_.connection.received(part);
      to_server_.erase(0, part);
    }
    std::vector<ClientOp> ops;
    server_.connection.advance(ops);
    demand(!server_.connection.wants_close(), "the server refuses its own client");
    // In the order in which they were made.
    for (ClientOp& op : ops) {
      const int error = random_.one_in(10) ? random_.pick({EIO, ENOSPC, EINVAL}) : 0;
      Reply reply{op.client, op.request, error, {}, {}};
      if (error == 0) reply = carry_out(disk_, op);
      expected_.push_back({op.kind, op.sequence, error, describe(op.kind, reply)});
      late_.push_back(std::move(reply));
    }
    for (const uint64_t sequence : server_.connection.take_seen()) heard_.push_back(sequence);
  }

  void answer_some() {
    for (size_t count = late_.empty() ? 0 : 1 + random_.below(late_.size()); count > 0; --count) {
      std::swap(late_[random_.below(late_.size())], late_.back());
      server_.connection.answer(std::move(late_.back()));
      late_.pop_back();
    }
  }

  /// Of a read its bytes; of a status what is data and what is not.
  static std::string describe(Kind kind, const Reply& reply) {
    std::string text;
    for (const Piece& piece : reply.pieces) {
      if (kind == Kind::block_status) {
        text.append(piece.bytes, piece.hole ? '.' : '#');
      } else {
        text += piece.hole ? std::string(piece.bytes, '\0') : text_of(piece.data);
      }
    }
    return text;
  }

  void check() {
    for (const Reply& reply : peer_.replies) {
      demand(open_.erase(reply.request) == 1, "a request was answered twice");
      const Expected& expected = expected_.at(reply.request - 1);
      demand(reply.error == expected.error, "another error");
      demand(describe(expected.kind, reply) == expected.text, "another answer");
      if (reply.error == 0 || expected.sequence == 0) continue;
      peer_.client.seen(expected.sequence);
      seen_.push_back(expected.sequence);
    }
    peer_.replies.clear();
  }

  Random random_;
  size_t cut_max_;
  MemoryDisk disk_{kDiskBytes};
  ClientPeer peer_;
  Peer server_{Export{1, kDiskBytes, false, "disk", "", 1 << 20}};
  std::string to_server_;
  std::string to_client_;
  std::vector<Reply> late_;
  std::vector<Expected> expected_;  // by request, from 1
  std::set<uint64_t> open_;
  std::vector<uint64_t> seen_;   // by the client
  std::vector<uint64_t> heard_;  // of that, by the server
  uint64_t asked_ = 0;
  uint64_t sequence_ = 0;
};

}  // namespace

TEST_CASE("a client says each op as NBD has it, the sequence or a number of its own for a cookie") {
  ClientPeer peer(Terms{});
  const std::string payload(4096, 'p');
  peer.ask(Kind::read, 512, 1024);
  peer.ask(Kind::write, 4096, 4096, 9, payload);
  peer.ask(Kind::flush, 0, 0);
  ClientOp zeroes;
  zeroes.kind = Kind::write_zeroes;
  zeroes.length = 8192;
  zeroes.sequence = 10;
  zeroes.fua = zeroes.no_hole = zeroes.fast_zero = true;
  peer.client.request(zeroes);
  peer.client.seen(9);
  peer.ask(Kind::trim, 1, 2, 11);
  peer.ask(Kind::cache, 1, 2);
  peer.ask(Kind::block_status, 1, 2);
  CHECK(peer.sent() == request(kRead, kFirstCookie, 512, 1024) + write(9, 4096, payload) +
                           request(kFlush, kUnnumbered | 2 << 16 | 2, 0, 0) +
                           request(kWriteZeroes, 10, 0, 8192, kFua | kNoHole | kFastZero) +
                           request(kSeen, kUnnumbered, 9, 0) + request(kTrim, 11, 1, 2) +
                           request(kCache, kUnnumbered | 3 << 16 | 5, 1, 2) +
                           request(kBlockStatus, kUnnumbered | 4 << 16 | 6, 1, 2));
}

TEST_CASE("a session's client waits for the greeting, and takes no other") {
  ClientPeer peer;
  CHECK_FALSE(peer.client.greeted());
  for (const char byte : kGreeting) peer.feed(std::string(1, byte));
  REQUIRE(peer.client.greeted());
  CHECK(peer.client.greeting().size_bytes == 1 << 20);
  CHECK(peer.client.greeting().record_bytes_max == 4096);
  for (const size_t changed : {0u, 7u, 8u, 10u, 13u, 24u, 31u}) {
    std::string other = kGreeting;
    other[changed] = changed == 10 || changed == 13 ? 0 : 'x';
    ClientPeer refusing;
    refusing.feed(other);
    CHECK(refusing.client.failure().has_value());
    CHECK(refusing.client.receive_target().bytes == 0);
  }
  ClientPeer stock;
  stock.feed("NBDMAGICIHAVEOPT" + std::string(16, '\0'));
  REQUIRE(stock.client.failure());
  CHECK(stock.client.failure()->code == "ERR_ROUTE_PROTOCOL");
}

TEST_CASE("an answer becomes a reply to the request that it names") {
  ClientPeer peer(Terms{});
  peer.ask(Kind::write, 0, 4, 1, "data");
  peer.ask(Kind::write, 0, 4, 2, "data");
  peer.ask(Kind::flush, 0, 0);
  CHECK(peer.feed(simple(2)) == 1);
  CHECK(peer.replies[0].request == 2);
  CHECK(peer.feed(error_chunk(1, kEnospc, "full")) == 1);
  CHECK(peer.replies[1].request == 1);
  CHECK(peer.replies[1].error == ENOSPC);
  CHECK(peer.feed(chunk(1, 0, kUnnumbered | 1 << 16 | 2, "")) == 1);
  CHECK(peer.replies[2].request == 3);
  CHECK(peer.client.requests_in_flight() == 0);
  // Errors that NBD does not know are EIO.
  peer.ask(Kind::write, 0, 4, 3, "data");
  CHECK(peer.feed(simple(3, 4711)) == 1);
  CHECK(peer.replies[3].error == EIO);
}

TEST_CASE("a read is put together from its chunks, in whatever order they come") {
  for (const bool in_order : {true, false}) {
    ClientPeer peer(Terms{});
    peer.ask(Kind::read, 100, 12);
    const std::string first = data_chunk(0, 100, "abcd");
    const std::string second = hole_chunk(0, 104, 4);
    CHECK(peer.feed(in_order ? first + second : second + first) == 0);
    CHECK(peer.feed(data_chunk(1, 108, "ijkl")) == 1);
    CHECK(content(peer.replies.at(0)) == "abcd....ijkl");
  }
  ClientPeer none_last(Terms{});
  none_last.ask(Kind::read, 0, 4);
  CHECK(none_last.feed(data_chunk(0, 0, "abcd") + chunk(1, 0, kFirstCookie, "")) == 1);
  CHECK(content(none_last.replies.at(0)) == "abcd");
  ClientPeer error_first(Terms{});
  error_first.ask(Kind::read, 0, 8);
  CHECK(error_first.feed(data_chunk(0, 0, "abcd") + error_chunk(kFirstCookie, kEio, "bad disk", 0) +
                         chunk(1, 0, kFirstCookie, "")) == 1);
  CHECK(error_first.replies.at(0).error == EIO);
  CHECK(error_first.replies.at(0).pieces.empty());
  ClientPeer simple_data(Terms{false, 1});
  simple_data.ask(Kind::read, 0, 4);
  CHECK(simple_data.feed(simple(kFirstCookie, 0, "abcd")) == 1);
  CHECK(content(simple_data.replies.at(0)) == "abcd");
}

TEST_CASE("a status tells holes from what may be anything") {
  ClientPeer peer(Terms{});
  peer.ask(Kind::block_status, 0, 4096);
  CHECK(peer.feed(status_chunk(1, {{512, 3}, {512, 0}, {512, 1}, {512, 2}, {8192, 3}})) == 1);
  const auto& pieces = peer.replies.at(0).pieces;
  REQUIRE(pieces.size() == 5);
  CHECK(pieces[0].hole);
  CHECK_FALSE((pieces[1].hole || pieces[2].hole || pieces[3].hole));
  CHECK(pieces[4].bytes == 8192);
}

TEST_CASE("what is no right answer ends the route before there is room made for it") {
  struct Wrong {
    Kind kind;
    std::string answer;
  };
  const std::string long_message(5000, 'm');
  const auto header = [](uint16_t type, uint32_t bytes) {
    return be(0x668e33efu) + be(uint16_t{1}) + be(type) + be(kFirstCookie) + be(bytes);
  };
  const Wrong wrong[] = {
      {Kind::read, "HTTP/1.1 400 Bad Request\r\n"},
      {Kind::read, simple(kFirstCookie)},  // a simple reply to a read
      {Kind::read, simple(kFirstCookie, 5)},
      {Kind::flush, simple(kFirstCookie + (1 << 16))},  // no such request
      {Kind::flush, simple(kFirstCookie + 1)},
      {Kind::flush, simple(1)},
      {Kind::flush, simple(kFirstCookie) + simple(kFirstCookie)},  // answered twice
      {Kind::flush, chunk(3, 0, kFirstCookie, "")},                // unknown flags
      {Kind::flush, chunk(1, 77, kFirstCookie, "")},               // unknown kinds
      {Kind::flush, chunk(1, 0x8077, kFirstCookie, "")},
      {Kind::flush, chunk(0, 0, kFirstCookie, "")},
      {Kind::flush, chunk(1, 0, kFirstCookie, "x")},
      {Kind::flush, data_chunk(1, 0, "x")},
      {Kind::flush, hole_chunk(1, 0, 1)},
      {Kind::flush, status_chunk(1, {{1, 0}})},
      {Kind::flush, error_chunk(kFirstCookie, 0, "no error")},
      {Kind::flush, header(0x8001, 5)},
      {Kind::flush, header(0x8001, 0xffffffff)},
      {Kind::flush, error_chunk(kFirstCookie, 5, long_message)},
      {Kind::flush, chunk(1, 0x8001, kFirstCookie, be(5u) + be(uint16_t{3}) + "four")},
      {Kind::read, header(1, 8 + 4097)},  // more than was asked for
      {Kind::read, header(1, 0xffffffff)},
      {Kind::read, header(1, 8)},
      {Kind::read, header(2, 13)},
      {Kind::read, data_chunk(0, 8, std::string(4096, 'x'))},  // of another place
      {Kind::read, data_chunk(0, UINT64_MAX, "x")},
      {Kind::read, hole_chunk(1, 0, 4097)},
      {Kind::read, hole_chunk(1, 0, 0)},
      {Kind::read, data_chunk(1, 0, "half")},
      {Kind::read, chunk(1, 0, kFirstCookie, "")},
      {Kind::read, data_chunk(0, 0, std::string(2048, 'x')) + data_chunk(1, 1024, std::string(2048, 'x'))},
      {Kind::block_status, simple(kFirstCookie)},
      {Kind::block_status, chunk(1, 0, kFirstCookie, "")},
      {Kind::block_status, status_chunk(2, {{4096, 0}})},
      {Kind::block_status, status_chunk(1, {})},
      {Kind::block_status, status_chunk(1, {{0, 0}})},
      {Kind::block_status, status_chunk(1, {{4096, 0}, {4096, 0}})},
      {Kind::block_status, header(5, 13)},
      {Kind::block_status, header(5, 4 + 8 * ((1 << 16) + 1))},
  };
  for (const Wrong& each : wrong) {
    CAPTURE(each.answer.size());
    ClientPeer peer(Terms{});
    peer.ask(each.kind, 0, each.kind == Kind::flush ? 0 : 4096);
    peer.feed(each.answer);
    REQUIRE(peer.client.failure());
    CHECK(peer.client.failure()->code == "ERR_ROUTE_PROTOCOL");
    CHECK(peer.client.receive_target().bytes == 0);
  }
  ClientPeer crumbs(Terms{});
  crumbs.ask(Kind::read, 0, 4096);
  for (uint64_t offset = 0; offset < 100 && !crumbs.client.failure(); ++offset)
    crumbs.feed(data_chunk(0, offset, "x"));
  CHECK(crumbs.client.failure());
}

TEST_CASE("what is read stays where it was received, in a buffer of its own size where it is large") {
  ClientPeer peer(Terms{});
  peer.ask(Kind::read, 0, 1 << 20);
  const std::string bytes(1 << 20, 'x');
  const std::string answer = data_chunk(1, 0, bytes);
  peer.feed(answer.substr(0, 100));
  const auto rest = peer.client.receive_target();
  CHECK(rest.bytes == answer.size() - 100);
  CHECK(peer.feed(answer.substr(100)) == 1);
  CHECK(peer.replies.at(0).pieces.at(0).data.data == rest.data - 100 + 28);
}

TEST_CASE("client and server of a session understand each other, whatever the cuts [random]") {
  const char* wanted = std::getenv("SEED");
  const uint64_t first = wanted == nullptr ? 1 : std::strtoull(wanted, nullptr, 10);
  for (uint64_t seed = first; seed < first + (wanted == nullptr ? 40 : 1); ++seed) {
    CAPTURE(seed);
    CHECK_NOTHROW(SessionOrdeal(seed).run());
  }
}
