#include <doctest/doctest.h>

#include <cerrno>
#include <string>

#include "nbd_peer.h"

using namespace nbd_test;

namespace {

std::string error_chunk(uint64_t cookie, uint32_t error, std::string_view message) {
  return chunk(1, 0x8001, cookie,
               be(error) + be(static_cast<uint16_t>(message.size())) + std::string(message));
}

Piece data(std::string_view text) {
  return {text.size(), false, MemoryDisk::copy(reinterpret_cast<const uint8_t*>(text.data()), text.size())};
}

Piece hole(uint64_t bytes) {
  return {bytes, true, {}};
}

// Feeds one request that the server answers itself, with a simple reply; gives the error in it.
uint32_t error_of(Peer& peer, const std::string& bytes) {
  const std::string output = peer.feed(bytes);
  REQUIRE(output.size() == 16);
  CHECK(peer.ops.empty());
  CHECK(from_be<uint32_t>(output) == 0x67446698);
  return from_be<uint32_t>(std::string_view(output).substr(4));
}

std::string zeroes(size_t bytes) {
  return std::string(bytes, '\0');
}

}  // namespace

TEST_CASE("each command becomes an op with its place, its length and its flags") {
  Client client("disk", true, {"base:allocation"});
  const std::string payload(4096, 'w');
  CHECK(client.feed(request(kRead, 1, 512, 8192, kFua | kDf) + write(2, 4096, payload) +
                    write(3, 0, payload, kFua) + request(kFlush, 4, 0, 0) + request(kTrim, 5, 1, 2, kFua) +
                    request(kCache, 6, 4096, 4096) + request(kWriteZeroes, 7, 3, 4) +
                    request(kWriteZeroes, 8, 0, 1 << 20, kFua | kNoHole | kFastZero) +
                    request(kBlockStatus, 9, 0, 1 << 20, kReqOne)) == "");
  using Kind = ClientOp::Kind;
  struct Expected {
    Kind kind;
    uint64_t offset, length;
    bool fua, no_hole, fast_zero;
  };
  const Expected expected[] = {
      {Kind::read, 512, 8192, false, false, false},
      {Kind::write, 4096, 4096, false, false, false},
      {Kind::write, 0, 4096, true, false, false},
      {Kind::flush, 0, 0, false, false, false},
      {Kind::trim, 1, 2, true, false, false},
      {Kind::cache, 4096, 4096, false, false, false},
      {Kind::write_zeroes, 3, 4, false, false, false},
      {Kind::write_zeroes, 0, 1 << 20, true, true, true},
      {Kind::block_status, 0, 1 << 20, false, false, false},
  };
  REQUIRE(client.ops.size() == std::size(expected));
  CHECK(client.connection.ops_in_flight() == std::size(expected));
  for (size_t i = 0; i < std::size(expected); ++i) {
    CAPTURE(i);
    const ClientOp& op = client.ops[i];
    CHECK(op.kind == expected[i].kind);
    CHECK(op.client == Peer::kClient);
    CHECK(op.target == 1);
    CHECK(op.offset == expected[i].offset);
    CHECK(op.length == expected[i].length);
    CHECK(op.fua == expected[i].fua);
    CHECK(op.no_hole == expected[i].no_hole);
    CHECK(op.fast_zero == expected[i].fast_zero);
    CHECK(text_of(op.payload) == (op.kind == Kind::write ? payload : ""));
    for (size_t j = 0; j < i; ++j) CHECK(client.ops[j].request != op.request);
  }
}

TEST_CASE("a simple reply to a read carries all its bytes, holes as zeroes") {
  Client client;
  client.feed(request(kRead, 0xfedcba9876543210, 0, 200'012));
  const ClientOp op = client.take_op();
  CHECK(client.answer({op.client, op.request, 0, {data("begin"), hole(200'000), data("the end")}}) ==
        simple(0xfedcba9876543210, 0, "begin" + zeroes(200'000) + "the end"));
  CHECK(client.connection.ops_in_flight() == 0);
  CHECK(client.connection.bytes_in_flight() == 0);
}

TEST_CASE("a structured reply to a read has one chunk for neighbouring data and one for neighbouring holes") {
  Client client("disk", true);
  client.feed(request(kRead, 5, 4096, 20 + 4096));
  const ClientOp op = client.take_op();
  CHECK(client.answer({op.client,
                       op.request,
                       0,
                       {data("begin"), data("-more"), hole(96), hole(4000), data("end of all")}}) ==
        chunk(0, 1, 5, be(uint64_t{4096}) + "begin-more") + chunk(0, 2, 5, be(uint64_t{4106}) + be(4096u)) +
            chunk(1, 1, 5, be(uint64_t{8202}) + "end of all"));
}

TEST_CASE("a structured reply of nothing but a hole is one chunk, with DF too") {
  for (uint16_t flags : {uint16_t{0}, kDf}) {
    Client client("large", true);
    client.feed(request(kRead, 5, 1 << 20, 32 << 20, flags));
    const ClientOp op = client.take_op();
    CHECK(client.answer({op.client, op.request, 0, {hole(16 << 20), hole(16 << 20)}}) ==
          chunk(1, 2, 5, be(uint64_t{1 << 20}) + be(32u << 20)));
  }
}

TEST_CASE("a read with DF is answered by one chunk, with the zeroes of its holes") {
  Client client("disk", true);
  client.feed(request(kRead, 5, 0, 4108, kDf));
  const ClientOp op = client.take_op();
  CHECK(client.answer({op.client, op.request, 0, {hole(4), data("data"), hole(4100)}}) ==
        chunk(1, 1, 5, be(uint64_t{0}) + zeroes(4) + "data" + zeroes(4100)));
}

TEST_CASE("commands without data are answered by a simple reply, whatever was agreed on") {
  for (bool structured : {false, true}) {
    Client client("disk", structured);
    uint64_t cookie = 1;
    for (const std::string& bytes : {write(1, 0, "w"), request(kFlush, 2, 0, 0), request(kTrim, 3, 0, 1),
                                     request(kCache, 4, 0, 1), request(kWriteZeroes, 5, 0, 1)}) {
      CHECK(client.feed(bytes) == "");
      CHECK(client.answer(client.take_op()) == simple(cookie++));
    }
  }
}

TEST_CASE("answers may come in any order, each with the cookie of its request, even if cookies repeat") {
  Client client;
  client.feed(request(kRead, 7, 0, 1) + request(kRead, 8, 1, 1) + write(7, 2, "w") +
              request(kFlush, 9, 0, 0));
  const std::vector<ClientOp> ops = client.ops;
  REQUIRE(ops.size() == 4);
  CHECK(client.answer(ops[3]) == simple(9));
  CHECK(client.answer({ops[1].client, ops[1].request, 0, {data("b")}}) == simple(8, 0, "b"));
  CHECK(client.answer(ops[2]) == simple(7));
  CHECK(client.answer({ops[0].client, ops[0].request, 0, {data("a")}}) == simple(7, 0, "a"));
  CHECK(client.connection.ops_in_flight() == 0);
}

TEST_CASE("errnos of the core become the protocol's errors") {
  struct Case {
    int error;
    uint32_t wire;
  };
  const Case cases[] = {
      {EPERM, kEperm},       {EROFS, kEperm},      {EACCES, kEperm},  {EIO, kEio},    {ENOSPC, kEnospc},
      {EFBIG, kEnospc},      {EDQUOT, kEnospc},    {EINVAL, kEinval}, {ENOMEM, 12},   {ESHUTDOWN, kEshutdown},
      {EOPNOTSUPP, kEinval}, {EOVERFLOW, kEinval}, {ENOENT, kEio},    {EAGAIN, kEio}, {-1, kEio}};
  Client client;
  for (const Case& each : cases) {
    CAPTURE(each.error);
    client.feed(write(1, 0, "w"));
    CHECK(client.answer(client.take_op(), each.error) == simple(1, each.wire));
    client.feed(request(kRead, 1, 0, 1));
    CHECK(client.answer(client.take_op(), each.error) == simple(1, each.wire));
  }
}

TEST_CASE("ENOTSUP is sent for FAST_ZERO alone, EOVERFLOW only where the protocol has it") {
  Client client("large");
  client.feed(request(kWriteZeroes, 1, 0, 8, kFastZero));
  CHECK(client.answer(client.take_op(), EOPNOTSUPP) == simple(1, kEnotsup));
  client.feed(request(kWriteZeroes, 1, 0, 8));
  CHECK(client.answer(client.take_op(), EOPNOTSUPP) == simple(1, kEinval));
  client.feed(request(kTrim, 1, 0, (32 << 20) + 1));
  CHECK(client.answer(client.take_op(), EOVERFLOW) == simple(1, kEoverflow));
  client.feed(request(kTrim, 1, 0, 32 << 20));
  CHECK(client.answer(client.take_op(), EOVERFLOW) == simple(1, kEinval));
  Client structured("disk", true);
  structured.feed(request(kRead, 1, 0, 8));
  CHECK(structured.answer(structured.take_op(), EOVERFLOW) == error_chunk(1, kEoverflow, "too large"));
}

TEST_CASE("with structured replies an error is a chunk that says why") {
  Client client("disk", true);
  client.feed(request(kRead, 5, 0, 8));
  CHECK(client.answer(client.take_op(), EIO) == error_chunk(5, kEio, "the store could not read or write"));
  client.feed(write(6, 0, "w"));
  CHECK(client.answer(client.take_op(), ENOSPC) == error_chunk(6, kEnospc, "the store is full"));
  CHECK(client.feed(request(kRead, 7, 0, 8, 1 << 9)) ==
        error_chunk(7, kEinval, "flag not valid for this command"));
}

TEST_CASE("requests beyond the end are refused: ENOSPC for what writes data, EINVAL for others") {
  Client client;
  const uint64_t max = UINT64_MAX;
  for (const auto& [offset, length] : std::vector<std::pair<uint64_t, uint32_t>>{{kDiskBytes, 1},
                                                                                 {kDiskBytes - 1, 2},
                                                                                 {kDiskBytes + 1, 1},
                                                                                 {max, 1},
                                                                                 {max, 0xffffffff},
                                                                                 {max - 3, 4},
                                                                                 {0, kDiskBytes + 1}}) {
    for (uint16_t type : {kRead, kTrim, kCache})
      CHECK(error_of(client, request(type, 1, offset, length)) == kEinval);
    CHECK(error_of(client, request(kWriteZeroes, 1, offset, length)) == kEnospc);
    if (length < 0xffffffff) CHECK(error_of(client, write(1, offset, std::string(length, 'w'))) == kEnospc);
  }
  CHECK(client.feed(request(kRead, 1, kDiskBytes - 1, 1)) == "");
  CHECK(client.ops.size() == 1);
}

TEST_CASE("a read-only export refuses what would change it and takes the rest") {
  Client client("disk@monday");
  CHECK(error_of(client, write(1, 0, "w")) == kEperm);
  CHECK(error_of(client, write(1, 0, "")) == kEperm);
  CHECK(error_of(client, request(kTrim, 1, 0, 1)) == kEperm);
  CHECK(error_of(client, request(kWriteZeroes, 1, 0, 1)) == kEperm);
  CHECK(client.feed(request(kRead, 1, 0, 1) + request(kFlush, 1, 0, 0) + request(kCache, 1, 0, 1)) == "");
  CHECK(client.ops.size() == 3);
}

TEST_CASE(
    "unknown commands and flags that a command does not have are EINVAL, and the next request is "
    "understood") {
  Client client;
  for (uint16_t type : {uint16_t{8}, uint16_t{9}, uint16_t{0xffff}})
    CHECK(error_of(client, request(type, 1, 0, 512)) == kEinval);
  for (unsigned bit = 0; bit < 16; ++bit) {
    CAPTURE(bit);
    const auto flag = static_cast<uint16_t>(1u << bit);
    const auto takes = [&](const std::string& bytes) {
      const std::string output = client.feed(bytes);
      if (client.ops.empty()) {
        CHECK(output == simple(1, kEinval));
        return false;
      }
      client.answer(client.take_op(), EIO);
      return true;
    };
    CHECK(takes(request(kRead, 1, 0, 8, flag)) == (flag == kFua));  // DF: structured replies only
    CHECK(takes(write(1, 0, "payload", flag)) == (flag == kFua));
    CHECK(takes(request(kFlush, 1, 0, 0, flag)) == (flag == kFua));
    CHECK(takes(request(kTrim, 1, 0, 8, flag)) == (flag == kFua));
    CHECK(takes(request(kCache, 1, 0, 8, flag)) == (flag == kFua));
    CHECK(takes(request(kWriteZeroes, 1, 0, 8, flag)) ==
          (flag == kFua || flag == kNoHole || flag == kFastZero));
  }
}

TEST_CASE("a request of length zero succeeds at once, except BLOCK_STATUS, which has nothing to say") {
  Client client;
  for (uint64_t offset : {uint64_t{0}, kDiskBytes}) {
    for (uint16_t type : {kRead, kTrim, kCache, kWriteZeroes})
      CHECK(error_of(client, request(type, 1, offset, 0)) == 0);
    CHECK(error_of(client, write(1, offset, "")) == 0);
    CHECK(error_of(client, request(kRead, 1, offset + kDiskBytes + 1, 0)) == kEinval);
  }
  Client structured("disk", true, {"base:allocation"});
  CHECK(structured.feed(request(kRead, 1, 0, 0)) == chunk(1, 0, 1, ""));
  CHECK(structured.feed(request(kBlockStatus, 1, 0, 0)) ==
        error_chunk(1, kEinval, "BLOCK_STATUS of no bytes"));
}

TEST_CASE("FLUSH has no offset and no length") {
  Client client;
  CHECK(error_of(client, request(kFlush, 1, 1, 0)) == kEinval);
  CHECK(error_of(client, request(kFlush, 1, 0, 1)) == kEinval);
}

TEST_CASE("reads and writes of up to 32 MiB pass, longer ones are refused, other commands may be longer") {
  const uint32_t max = 32 << 20;
  Client client("large");
  CHECK(error_of(client, request(kRead, 1, 0, max + 1)) == kEinval);
  CHECK(error_of(client, write(1, 0, std::string(max + 1, 'w'))) == kEinval);
  CHECK(client.feed(request(kRead, 2, 0, max)) == "");
  CHECK(client.take_op().length == max);
  CHECK(client.feed(write(3, 0, std::string(max, 'w'))) == "");
  CHECK(client.take_op().payload.size == max);
  for (uint16_t type : {kTrim, kCache, kWriteZeroes}) {
    CHECK(client.feed(request(type, 4, 0, 0xffffffff)) == "");
    CHECK(client.take_op().length == 0xffffffff);
  }
  Client structured("large", true);
  CHECK(structured.feed(request(kRead, 1, 0, max + 1)) ==
        error_chunk(1, kEoverflow, "longer than the largest payload of 32 MiB"));
}

TEST_CASE("the payload of a refused write is dropped, however long, and the next request is understood") {
  Client client;
  client.feed(request(kWrite, 1, 0, 0xffffffff));
  const std::string megabyte(1 << 20, 'w');
  for (int i = 0; i < 4095; ++i) REQUIRE(client.feed(megabyte) == "");
  CHECK(client.connection.bytes_in_flight() == 0);
  CHECK(client.feed(megabyte.substr(2)) == "");
  CHECK(client.feed("w" + request(kRead, 2, 0, 1)) == simple(1, kEnospc));
  CHECK(client.take_op().kind == ClientOp::Kind::read);
}

TEST_CASE("BLOCK_STATUS without a selected context is EINVAL") {
  Client client;
  CHECK(error_of(client, request(kBlockStatus, 1, 0, 8)) == kEinval);
  Client structured("disk", true);
  CHECK(structured.feed(request(kBlockStatus, 1, 0, 8)) ==
        error_chunk(1, kEinval, "no metadata context was selected"));
}

TEST_CASE(
    "BLOCK_STATUS reports holes as hole and zero, data as neither, neighbours of a kind as one extent") {
  Client client("disk", true, {"base:allocation"});
  const auto status = [&](uint32_t length, uint16_t flags, std::vector<Piece> pieces) {
    client.feed(request(kBlockStatus, 3, 4096, length, flags));
    const ClientOp op = client.take_op();
    return client.answer({op.client, op.request, 0, std::move(pieces)});
  };
  const auto extents = [](const std::vector<std::pair<uint32_t, uint32_t>>& list) {
    std::string payload = be(1u);
    for (const auto& [bytes, flags] : list) payload += be(bytes) + be(flags);
    return chunk(1, 5, 3, payload);
  };
  const auto stored = [](uint64_t bytes) { return Piece{bytes, false, {}}; };
  CHECK(status(100, 0, {stored(100)}) == extents({{100, 0}}));
  CHECK(status(100, 0, {hole(60), hole(10), stored(10), stored(20)}) == extents({{70, 3}, {30, 0}}));
  // The last extent may reach beyond what was asked, but none begins there.
  CHECK(status(100, 0, {hole(60), stored(20), stored(1000), hole(8)}) == extents({{60, 3}, {1020, 0}}));
  CHECK(status(100, 0, {hole(100), stored(1)}) == extents({{100, 3}}));
  // Less than was asked is allowed: the client asks again.
  CHECK(status(100, 0, {hole(60)}) == extents({{60, 3}}));
  CHECK(status(100, kReqOne, {hole(60), hole(20), stored(20)}) == extents({{80, 3}}));
  CHECK(status(100, kReqOne, {hole(60), hole(1000)}) == extents({{100, 3}}));
  CHECK(status(100, kReqOne, {stored(10), hole(90)}) == extents({{10, 0}}));
  CHECK(client.feed(request(kBlockStatus, 3, kDiskBytes, 1)) ==
        error_chunk(3, kEinval, "beyond the end of the export"));
}

TEST_CASE("BLOCK_STATUS lengths fit 32 bits, and its extents have a limit") {
  Client client("large", true, {"base:allocation"});
  client.feed(request(kBlockStatus, 3, 0, 0xffffffff));
  ClientOp op = client.take_op();
  CHECK(client.answer({op.client, op.request, 0, {hole(kLargeBytes)}}) ==
        chunk(1, 5, 3, be(1u) + be(0xfffff000) + be(3u)));
  client.feed(request(kBlockStatus, 3, 0, 0xffffffff));
  op = client.take_op();
  CHECK(
      client.answer({op.client, op.request, 0, {{4096, false, {}}, hole(kLargeBytes), {4096, false, {}}}}) ==
      chunk(1, 5, 3, be(1u) + be(4096u) + be(0u) + be(0xfffff000) + be(3u)));

  client.feed(request(kBlockStatus, 3, 0, 0xffffffff));
  op = client.take_op();
  Reply many{op.client, op.request, 0, {}};
  std::string payload = be(1u);
  for (uint32_t i = 0; i < cloudfs::nbd::kStatusExtentsMax + 10; ++i) {
    many.pieces.push_back({4096, i % 2 == 0, {}});
    if (i < cloudfs::nbd::kStatusExtentsMax) payload += be(4096u) + be(i % 2 == 0 ? 3u : 0u);
  }
  CHECK(client.answer(std::move(many)) == chunk(1, 5, 3, payload));
}

TEST_CASE(
    "a request with a wrong magic closes the connection at once; ops in flight are still to be answered") {
  Client client;
  client.feed(request(kRead, 1, 0, 1));
  const ClientOp op = client.take_op();
  std::string wrong = request(kRead, 2, 0, 1);
  wrong[3] ^= 1;
  CHECK(client.feed(wrong + request(kRead, 3, 0, 1)) == "");
  CHECK(client.ops.empty());
  CHECK(client.connection.wants_close());
  client.connection.disconnected();
  CHECK_FALSE(client.connection.finished());
  CHECK(client.exports.closed.empty());
  CHECK(client.answer({op.client, op.request, 0, {hole(1)}}) == "");
  CHECK(client.connection.finished());
  CHECK(client.exports.closed == std::vector<uint64_t>{1});
}

TEST_CASE("DISC closes when all in flight is answered and sent, and nothing behind it is looked at") {
  Client client;
  CHECK(client.feed(request(kRead, 1, 0, 1) + write(2, 0, "w") + request(kDisc, 3, 0, 0) +
                    request(kRead, 4, 0, 1)) == "");
  REQUIRE(client.ops.size() == 2);
  CHECK_FALSE(client.connection.wants_close());
  CHECK(client.connection.receive_target().bytes == 0);
  CHECK(client.answer(client.ops[1]) == simple(2));
  CHECK_FALSE(client.connection.wants_close());
  client.connection.answer({Peer::kClient, client.ops[0].request, 0, {data("r")}});
  CHECK_FALSE(client.connection.wants_close());  // answered, not sent
  CHECK(client.drain() == simple(1, 0, "r"));
  CHECK(client.connection.wants_close());
  client.connection.disconnected();
  CHECK(client.connection.finished());
  CHECK(client.exports.closed == std::vector<uint64_t>{1});
}

TEST_CASE("a server that shuts down answers what is in flight, refuses what comes, and closes") {
  Client client;
  client.feed(request(kRead, 1, 0, 1) + request(kWrite, 2, 0, 4) + "pa");
  const ClientOp op = client.take_op();
  client.connection.shut_down();
  CHECK(client.drain() == "");
  CHECK(client.feed("yl" + request(kRead, 3, 0, 1) + write(4, 0, "w")) ==
        simple(2, kEshutdown) + simple(3, kEshutdown) + simple(4, kEshutdown));
  CHECK(client.connection.bytes_in_flight() == 1);  // the read
  CHECK(client.ops.empty());
  CHECK_FALSE(client.connection.wants_close());
  CHECK(client.answer({op.client, op.request, 0, {data("r")}}) == simple(1, 0, "r"));
  CHECK(client.connection.wants_close());

  Client idle;
  idle.connection.shut_down();
  CHECK(idle.drain() == "");
  CHECK(idle.connection.wants_close());
}

TEST_CASE("a connection destroyed without farewell closes its export once") {
  MemoryExports exports;
  {
    Connection connection(1, exports);
    const std::string bytes = hello() + go("disk");
    const auto window = connection.receive_target();
    std::memcpy(window.data, bytes.data(), bytes.size());
    connection.received(bytes.size());
    std::vector<ClientOp> ops;
    connection.advance(ops);
    CHECK(exports.closed.empty());
  }
  CHECK(exports.closed == std::vector<uint64_t>{1});
}
