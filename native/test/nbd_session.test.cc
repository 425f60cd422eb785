// The server's half of a session's connection, by bytes: docs/nbd.md, Sessions.
#include <doctest/doctest.h>

#include <cerrno>
#include <string>

#include "nbd_peer.h"

using namespace nbd_test;

namespace {

constexpr uint32_t kRecordBytes = 1 << 20;

// Flags: HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES, SEND_DF, CAN_MULTI_CONN, SEND_CACHE, SEND_FAST_ZERO.
const std::string kGreeting(
    "CLOUDFSS\x01\x00\xed\x0d\x00\x00\x10\x00\x00\x00\x10\x00\x00\x00\x00\x00"
    "\0\0\0\0\0\0\0\0",
    32);

class Session : public Peer {
 public:
  Session() : Peer(Export{1, kDiskBytes, false, "disk", "a disk", kRecordBytes}) { greeting = drain(); }
  std::string greeting;
};

std::string seen(uint64_t sequence) {
  return request(kSeen, kUnnumbered, sequence, 0);
}

std::string reading(uint64_t number, uint64_t offset, uint32_t length) {
  return request(kRead, kUnnumbered | number, offset, length);
}

}  // namespace

TEST_CASE("a session's server greets with all that a handshake would have agreed on") {
  Session session;
  CHECK(session.greeting == kGreeting);
  CHECK(session.connection.is_session());
  CHECK_FALSE(session.connection.in_handshake());
}

TEST_CASE(
    "a session's request that changes data has its sequence, others have none, all keep their cookies") {
  Session session;
  CHECK(session.feed(write(1, 0, "one") + reading(1, 0, 3) + request(kTrim, 2, 0, 4096) +
                     request(kFlush, kUnnumbered, 0, 0) + request(kWriteZeroes, 7, 0, 4096, kFua)) == "");
  REQUIRE(session.ops.size() == 5);
  const uint64_t expected[] = {1, 0, 2, 0, 7};
  for (size_t i = 0; i < 5; ++i) CHECK(session.ops[i].sequence == expected[i]);
  CHECK(session.ops[4].fua);
  CHECK(session.answer(session.ops[0]) == simple(1));
  CHECK(session.answer({Peer::kClient, session.ops[1].request, 0, {{3, true, {}}}, {}}) ==
        chunk(1, 2, kUnnumbered | 1, be(uint64_t{0}) + be(3u)));
  CHECK(session.answer(session.ops[4]) == simple(7));
}

TEST_CASE("a session's connection ends over what its endpoint never says") {
  const std::string payload(4096, 'p');
  const std::string wrong[] = {
      request(kTrim, 2, 0, 4096) + request(kTrim, 2, 0, 4096),  // a sequence again
      request(kTrim, 3, 0, 4096) + request(kTrim, 2, 0, 4096),  // an earlier one
      request(kTrim, 0, 0, 4096),                               // none
      write(kUnnumbered | 1, 0, payload),                       // no sequence where there is to be one
      request(kRead, 1, 0, 4096),                               // a sequence where there is to be none
      request(kFlush, 1, 0, 0),
      request(kTrim, 1, 0, 0),  // what the endpoint answers itself
      request(kFlush, kUnnumbered, 0, 1),
      request(kTrim, 1, 0, 4096, kReqOne),  // a flag of another command
      request(kWrite, 1, 0, (32 << 20) + 1),
      request(77, kUnnumbered, 0, 1),
      seen(1),  // of what was not sent
      request(kTrim, 1, 0, 4096) + request(kSeen, kUnnumbered, 1, 1),
      hello() + option(kOptStructuredReply) + std::string(100, ' '),
  };
  for (const std::string& bytes : wrong) {
    Session session;
    session.feed(bytes);
    CHECK(session.connection.wants_close());
  }
}

TEST_CASE("whether a numbered request fits the disk is for the core to say") {
  Session session;
  CHECK(session.feed(write(1, kDiskBytes, "beyond") + request(kWriteZeroes, 2, 1 << 30, 4096)) == "");
  REQUIRE(session.ops.size() == 2);
  CHECK(session.ops[0].offset == kDiskBytes);
  // A read has no place in the order, and is refused here.
  const std::string refused = session.feed(reading(1, kDiskBytes, 512));
  CHECK(refused.substr(0, 4) == be(0x668e33efu));
  CHECK(from_be<uint32_t>(std::string_view(refused).substr(20)) == kEinval);
  CHECK(session.ops.size() == 2);
}

TEST_CASE("that a refusal has been seen is heard while the connection takes no more requests") {
  Session session;
  std::string requests;
  for (uint64_t sequence = 1; sequence <= 600; ++sequence) requests += request(kTrim, sequence, 0, 4096);
  session.feed(requests.substr(0, 28 * 512));
  CHECK(session.ops.size() == 512);
  CHECK(session.feed(seen(5)) == "");
  CHECK(session.connection.take_seen() == std::vector<uint64_t>{5});
  CHECK(session.connection.take_seen().empty());
  // Behind requests that wait for room it waits too: its endpoint keeps below that.
  session.feed(requests.substr(28 * 512) + seen(6));
  CHECK(session.ops.size() == 512);
  CHECK(session.connection.take_seen().empty());
  for (size_t i = 0; i < 88; ++i) session.answer(session.ops[i]);
  CHECK(session.feed("") == "");
  CHECK(session.ops.size() == 600);
  CHECK(session.connection.take_seen() == std::vector<uint64_t>{6});
}

TEST_CASE("a session's connection is closed at once when the server ends, its export once all is answered") {
  Session session;
  session.feed(write(1, 0, "one") + write(2, 0, "two"));
  session.connection.shut_down();
  CHECK(session.connection.wants_close());
  CHECK(session.connection.receive_target().bytes == 0);
  session.connection.disconnected();
  session.connection.shut_down();
  CHECK_FALSE(session.connection.finished());
  CHECK(session.answer(session.take_op()) == "");
  CHECK(session.exports.closed.empty());
  CHECK(session.answer(session.take_op(), cloudfs::kUnanswered) == "");
  CHECK(session.connection.finished());
  CHECK(session.exports.closed == std::vector<uint64_t>{1});
}

TEST_CASE("a session's stream means the same however it is cut") {
  const std::string bytes = write(1, 512, "some bytes") + reading(1, 0, 512) + seen(1) +
                            write(2, 0, std::string(5000, 'x')) +
                            request(kBlockStatus, kUnnumbered | 2, 0, 4096) + seen(2);
  for (size_t cut = 1; cut < 60; ++cut) {
    Session session;
    CHECK(session.feed(bytes, cut) == "");
    REQUIRE(session.ops.size() == 4);
    CHECK(text_of(session.ops[0].payload) == "some bytes");
    CHECK(session.ops[2].sequence == 2);
    CHECK(session.ops[3].kind == ClientOp::Kind::block_status);
    CHECK(session.connection.take_seen() == std::vector<uint64_t>{1, 2});
  }
}
