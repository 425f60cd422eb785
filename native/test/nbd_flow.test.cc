// How bytes and requests flow through a connection: what is copied, what waits, and random sessions against the model.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <string>

#include "nbd_ordeal.h"

using namespace nbd_test;
using namespace cloudfs::nbd;

namespace {

// Receives all of `bytes` in one go. Gives where they went.
uint8_t* receive_at_once(Peer& peer, std::string_view bytes) {
  const Window window = peer.connection.receive_target();
  REQUIRE(window.bytes >= bytes.size());
  std::memcpy(window.data, bytes.data(), bytes.size());
  peer.connection.received(bytes.size());
  peer.connection.advance(peer.ops);
  return window.data;
}

std::string pattern(size_t bytes, uint8_t first = 0) {
  std::string text(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(first + i % 251);
  return text;
}

// A session of a client that mostly keeps the rules.
std::string random_session(Random& random) {
  const std::string name =
      random.one_in(8) ? "nothing" : random.pick<const char*>({"disk", "large", "disk@monday", ""});
  std::string bytes = hello(random.one_in(50) ? static_cast<uint32_t>(random.below(8)) : 3);
  const bool structured = !random.one_in(3);
  if (structured) bytes += option(kOptStructuredReply);
  while (random.one_in(3)) {
    switch (random.below(6)) {
      case 0:
        bytes += option(kOptList);
        break;
      case 1:
        bytes += option(kOptInfo, info_data(name, {0, 1, 2, 3}));
        break;
      case 2:
        bytes += option(static_cast<uint32_t>(random.below(20)), pattern(random.below(100)));
        break;
      case 3:
        bytes += meta(kOptListMetaContext, name, {"base:"});
        break;
      case 4:
        bytes += option(kOptGo, pattern(random.below(40)));
        break;
      case 5:
        bytes += option(99, pattern(65'000 + random.below(2000)));
        break;
    }
  }
  if (!random.one_in(3)) bytes += meta(kOptSetMetaContext, name, {"base:allocation"});
  bytes += random.one_in(5) ? option(kOptExportName, name) : go(name, {3});
  const uint64_t size = name == "large" ? kLargeBytes : kDiskBytes;
  for (uint64_t count = random.below(60); count > 0; --count) {
    const auto type = random.one_in(40) ? static_cast<uint16_t>(2 + random.below(9))
                                        : random.pick<uint16_t>({0, 1, 1, 3, 4, 5, 6, 7});
    const auto flags = static_cast<uint16_t>(random.one_in(20)  ? random.below(64)
                                             : random.one_in(3) ? kFua
                                                                : 0);
    uint64_t length = random.below(random.pick<uint64_t>({2, 600, 10'000, 200'000}));
    if (type != kWrite && random.one_in(20)) length = random.below(40 << 20);
    uint64_t offset = random.below(random.one_in(2) ? 20'000 : size);
    if (random.one_in(30)) offset = random.next();
    if (type == kFlush) offset = length = 0;
    bytes += request(type, random.next(), offset, static_cast<uint32_t>(length), flags);
    if (type == kWrite) bytes += pattern(length, static_cast<uint8_t>(random.next()));
    if (random.one_in(300)) bytes[bytes.size() - 1 - random.below(28)] ^= 1;
  }
  if (random.one_in(3)) bytes += request(kDisc, 0, 0, 0) + "and more";
  if (random.one_in(10)) bytes.resize(random.below(bytes.size()));
  return bytes;
}

}  // namespace

TEST_CASE("many small requests of one receive are parsed in one go, their payloads uncopied") {
  Client client;
  std::string requests;
  for (uint64_t i = 0; i < 32; ++i) requests += write(i, i * 4096, pattern(4096, static_cast<uint8_t>(i)));
  const uint8_t* at = receive_at_once(client, requests);
  REQUIRE(client.ops.size() == 32);
  for (size_t i = 0; i < 32; ++i) {
    CHECK(client.ops[i].payload.data == at + i * (28 + 4096) + 28);
    CHECK(text_of(client.ops[i].payload) == pattern(4096, static_cast<uint8_t>(i)));
  }
}

TEST_CASE("a payload that does not fit is received into a buffer of its size; only what had come is moved") {
  Client client;
  const std::string payload = pattern(1 << 20);
  receive_at_once(client, request(kWrite, 1, 0, 1 << 20) + payload.substr(0, 100));
  const Window rest = client.connection.receive_target();
  CHECK(rest.bytes == (1 << 20) - 100);
  receive_at_once(client, payload.substr(100));
  const ClientOp op = client.take_op();
  CHECK(op.payload.data == rest.data - 100);
  CHECK(text_of(op.payload) == payload);
  // Another one probably follows: little is received with its header, so that little has to be moved.
  CHECK(client.connection.receive_target().bytes == 4096);
  receive_at_once(client, request(kFlush, 2, 0, 0));
  CHECK(client.connection.receive_target().bytes > kReceiveBytes / 2);
}

TEST_CASE("a payload of up to a receive buffer's size that fits behind its header is not moved") {
  Client client;
  const std::string payload = pattern(200'000);
  const uint8_t* header = receive_at_once(client, request(kWrite, 1, 0, 200'000) + payload.substr(0, 1));
  for (size_t i = 1; i < payload.size(); i += 50'000) receive_at_once(client, payload.substr(i, 50'000));
  const ClientOp op = client.take_op();
  CHECK(op.payload.data == header + 28);
  CHECK(text_of(op.payload) == payload);
}

TEST_CASE("a payload stays as it is for as long as it is held, whatever is received meanwhile") {
  std::vector<Slice> held;
  {
    Client client;
    for (uint64_t i = 0; i < 500; ++i) {
      client.feed(write(i, 0, pattern(10'000, static_cast<uint8_t>(i))));
      const ClientOp op = client.take_op();
      if (i % 7 == 0) held.push_back(op.payload);
      CHECK(client.answer(op) == simple(i));
    }
  }
  for (size_t i = 0; i < held.size(); ++i)
    CHECK(text_of(held[i]) == pattern(10'000, static_cast<uint8_t>(7 * i)));
}

TEST_CASE("a receive target stays where it is while requests before it are answered") {
  Client client;
  receive_at_once(client, request(kRead, 1, 0, 8) + request(kWrite, 2, 0, 300'000) + pattern(10));
  const Window window = client.connection.receive_target();
  client.answer(client.take_op(), EIO);
  const Window again = client.connection.receive_target();
  CHECK(again.data == window.data);
  CHECK(again.bytes == window.bytes);
}

TEST_CASE("an idle connection receives into the one buffer it keeps") {
  Client client;
  const uint8_t* first = client.connection.receive_target().data;
  for (uint64_t i = 0; i < 100; ++i) {
    client.feed(write(i, 0, pattern(5000)));
    CHECK(client.answer(client.take_op()) == simple(i));
  }
  CHECK(client.connection.receive_target().data == first);
}

TEST_CASE("replies of one turn are few pieces: headers that stand side by side are one") {
  Client client;
  for (uint64_t i = 0; i < 100; ++i) client.feed(write(i, 0, "w"));
  for (const ClientOp& op : client.ops) client.connection.answer({op.client, op.request, 0, {}});
  OutgoingPiece pieces[10];
  REQUIRE(client.connection.outgoing(pieces) == 1);
  CHECK(pieces[0].bytes == 1600);
}

TEST_CASE("data of a read is sent from where it is") {
  Client client("disk", true);
  client.feed(request(kRead, 1, 0, 4096));
  const ClientOp op = client.take_op();
  const std::string text = pattern(4096);
  const Slice data = MemoryDisk::copy(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  client.connection.answer({op.client, op.request, 0, {{4096, false, data}}});
  OutgoingPiece pieces[10];
  REQUIRE(client.connection.outgoing(pieces) == 2);
  CHECK(pieces[0].bytes == 28);
  CHECK(pieces[1].data == data.data);
  CHECK_FALSE(data.owner.unique());
  client.connection.sent(28 + 4096);
  CHECK(data.owner.unique());
}

TEST_CASE(
    "at a number of requests in flight the connection stops to receive, and goes on when replies are sent") {
  Client client;
  std::string requests;
  for (uint64_t i = 0; i < kRequestsInFlightMax + 10; ++i) requests += request(kRead, i, 0, 1);
  receive_at_once(client, requests);
  CHECK(client.ops.size() == kRequestsInFlightMax);
  CHECK(client.connection.receive_target().bytes == 0);
  CHECK_FALSE(client.connection.can_advance());
  const ClientOp first = client.take_op();
  // Answered is not enough: a client that does not read its replies gets no further.
  client.connection.answer({first.client, first.request, EIO, {}});
  client.connection.advance(client.ops);
  CHECK(client.ops.size() == kRequestsInFlightMax - 1);
  CHECK(client.connection.receive_target().bytes == 0);
  CHECK(client.send() == simple(0, kEio));
  CHECK(client.connection.can_advance());
  client.connection.advance(client.ops);
  CHECK(client.ops.size() == kRequestsInFlightMax);
  while (!client.ops.empty()) client.answer(client.take_op(), EIO);
  CHECK(client.connection.ops_in_flight() == 0);
  CHECK(client.connection.receive_target().bytes > 0);
}

TEST_CASE("a reply of many pieces arrives whole through a socket that takes little at a time") {
  Client client;
  client.feed(request(kRead, 1, 0, 100'000));
  const ClientOp op = client.take_op();
  const std::string text = pattern(100'000);
  Reply reply{op.client, op.request, 0, {}};
  for (size_t i = 0; i < text.size(); i += 10)
    reply.pieces.push_back(
        {10, false, MemoryDisk::copy(reinterpret_cast<const uint8_t*>(text.data()) + i, 10)});
  client.connection.answer(std::move(reply));
  std::string output;
  OutgoingPiece pieces[4];
  while (client.connection.outgoing(pieces) > 0) {
    const size_t part = std::min<size_t>(7, pieces[0].bytes);
    output.append(reinterpret_cast<const char*>(pieces[0].data), part);
    client.connection.sent(part);
    // More is answered meanwhile, by the server itself.
    if (output.size() % 10'000 == 6 && output.size() < 90'000) {
      receive_at_once(client, request(kRead, 2, 0, 0));
    }
  }
  const std::string expected = simple(1, 0, text);
  REQUIRE(output.size() > expected.size());
  CHECK(output.starts_with(expected));
  for (size_t at = expected.size(); at < output.size(); at += 16) CHECK(output.substr(at, 16) == simple(2));
}

TEST_CASE("refused requests count as in flight until their replies are sent") {
  Client client;
  std::string requests;
  for (uint64_t i = 0; i < kRequestsInFlightMax + 10; ++i) requests += request(77, i, 0, 1);
  receive_at_once(client, requests);
  CHECK(client.connection.receive_target().bytes == 0);
  CHECK(client.send().size() == 16 * kRequestsInFlightMax);
  CHECK(client.drain().size() == 16 * 10);
  CHECK(client.connection.receive_target().bytes > 0);
}

TEST_CASE("at a number of bytes in flight a request waits, and with it those behind it") {
  Client client("large");
  const uint32_t half = kPayloadBytesMax;
  static_assert(kBytesInFlightMax == 2 * kPayloadBytesMax);
  receive_at_once(client, request(kRead, 1, 0, half) + request(kRead, 2, 0, half) +
                              request(kTrim, 3, 0, half) + request(kRead, 4, 0, 1));
  CHECK(client.ops.size() == 3);
  CHECK(client.connection.bytes_in_flight() == 2 * half);
  CHECK(client.connection.receive_target().bytes == 0);
  CHECK_FALSE(client.connection.can_advance());
  const ClientOp first = client.take_op();
  client.connection.answer({first.client, first.request, EIO, {}});
  CHECK(client.connection.can_advance());
  CHECK(client.drain() == simple(1, kEio));
  CHECK(client.ops.size() == 3);
  CHECK(client.connection.bytes_in_flight() == half + 1);
  // Read data that is answered and not sent counts too.
  const ClientOp second = client.take_op();
  client.connection.answer({second.client, second.request, 0, {{half, true, {}}}});
  CHECK(client.connection.bytes_in_flight() == 16 + half + 1);
  receive_at_once(client, request(kRead, 5, 0, half));
  CHECK(client.ops.size() == 2);
  CHECK(client.send().size() == 16 + half);
  client.connection.advance(client.ops);
  CHECK(client.ops.size() == 3);
}

TEST_CASE("a connection that is left behind gives back its memory and takes the last answers") {
  Client client;
  client.feed(write(1, 0, pattern(1000)) + request(kRead, 2, 0, 4096));
  const std::vector<ClientOp> ops = client.ops;
  client.connection.answer({ops[0].client, ops[0].request, 0, {}});
  client.connection.disconnected();
  CHECK(client.send() == "");
  CHECK(client.connection.receive_target().bytes == 0);
  CHECK_FALSE(client.connection.finished());
  client.connection.answer({ops[1].client, ops[1].request, 0, {{4096, true, {}}}});
  CHECK(client.connection.finished());
  CHECK(client.connection.bytes_in_flight() == 0);
  CHECK(text_of(ops[0].payload) == pattern(1000));
}

TEST_CASE("requests mean the same however their bytes are cut") {
  std::string session = hello() + option(kOptStructuredReply) +
                        meta(kOptSetMetaContext, "disk", {"base:allocation"}) + go("disk") +
                        write(1, 100, pattern(700)) + request(kRead, 2, 0, 3000) +
                        request(kWrite, 3, kDiskBytes, 5) + "waste" + request(kFlush, 4, 0, 0) +
                        request(kBlockStatus, 5, 0, 8192) + write(6, 0, "") + request(kTrim, 7, 0, 1, kFua) +
                        request(99, 8, 0, 0) + request(kDisc, 0, 0, 0);
  MemoryExports exports;
  const std::function<int(size_t)> no_errors = [](size_t) { return 0; };
  const ClientStream client(session, exports, no_errors);
  for (size_t cut = 1; cut < session.size(); ++cut) {
    CAPTURE(cut);
    Peer peer;
    MemoryDisk disk(kDiskBytes);
    std::string output;
    for (const std::string& part : {session.substr(0, cut), session.substr(cut)}) {
      output += peer.feed(part);
      while (!peer.ops.empty()) output += peer.answer(carry_out(disk, peer.take_op()));
    }
    CHECK(peer.connection.wants_close());
    CHECK_NOTHROW(ServerStream(output, client, false));
  }
}

TEST_CASE("random sessions are answered as the model of the protocol says") {
  uint64_t seed = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  uint64_t rounds = 300;
  if (const char* given = std::getenv("SEED")) {
    seed = std::strtoull(given, nullptr, 0);
    rounds = 1;
  }
  for (; rounds > 0; --rounds, ++seed) {
    Random random(seed);
    std::string session = random_session(random);
    try {
      Ordeal(random.next(), std::move(session)).run();
    } catch (const Violation& violation) {
      FAIL("SEED=" << seed << ": " << violation.what());
    }
  }
}
