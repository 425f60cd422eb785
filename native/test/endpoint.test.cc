// An endpoint: requests are applied once and answered once, whatever becomes of primaries and of the way to them.
#include <doctest/doctest.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>

#include "endpoint_model.h"

using namespace bridge_test;
using cloudfs::kUnanswered;

namespace {

/// Keeps what was sent and answered.
class Recorder final : public Route, public cloudfs::bridge::Clients {
 public:
  void send(const ClientOp& op) override { sent.push_back(op); }
  void seen(uint64_t sequence) override { seen_sequences.push_back(sequence); }
  void deliver(Reply reply) override { replies.push_back(std::move(reply)); }

  std::vector<ClientOp> sent;
  std::vector<uint64_t> seen_sequences;
  std::vector<Reply> replies;
};

ClientOp op_of(Kind kind, uint64_t request, uint64_t offset = 0, uint64_t length = 4096) {
  ClientOp op;
  op.kind = kind;
  op.client = 3;
  op.request = request;
  op.offset = offset;
  op.length = length;
  if (kind == Kind::write) {
    const std::string payload(length, 'p');
    op.payload = nbd_test::MemoryDisk::copy(reinterpret_cast<const uint8_t*>(payload.data()), payload.size());
  }
  return op;
}

std::string outcome(uint64_t seed, Plant plant) {
  try {
    EndpointLife(seed, plant).run();
  } catch (const nbd_test::Violation& violation) {
    return violation.what();
  }
  return "well";
}

}  // namespace

TEST_CASE("an endpoint applies each request once, answers it once, and keeps their order [random]") {
  const char* wanted = std::getenv("SEED");
  const uint64_t first = wanted == nullptr ? 1 : std::strtoull(wanted, nullptr, 10);
  for (uint64_t seed = first; seed < first + (wanted == nullptr ? 60 : 1); ++seed) {
    CAPTURE(seed);
    CHECK(outcome(seed, Plant::none) == "well");
  }
}

TEST_CASE(
    "the model finds an endpoint that reuses or skips sequences, resends out of order or hides what it has "
    "seen") {
  for (const Plant plant :
       {Plant::reused_sequence, Plant::skipped_sequence, Plant::resent_out_of_order, Plant::seen_untold}) {
    CAPTURE(static_cast<int>(plant));
    bool is_found = false;
    for (uint64_t seed = 1; seed <= 20 && !is_found; ++seed) is_found = outcome(seed, plant) != "well";
    CHECK(is_found);
  }
}

TEST_CASE("a long write is cut at block boundaries into pieces of one record each, and answered once") {
  Recorder way;
  Endpoint endpoint(way);
  endpoint.route(way, 8192);
  endpoint.submit(op_of(Kind::write, 1, 4000, 20'000));
  REQUIRE(way.sent.size() == 3);
  const uint64_t ends[] = {8192, 16'384, 24'000};
  uint64_t begin = 4000;
  for (size_t i = 0; i < 3; ++i) {
    CHECK(way.sent[i].offset == begin);
    CHECK(way.sent[i].offset + way.sent[i].length == ends[i]);
    CHECK(way.sent[i].payload.size == way.sent[i].length);
    CHECK(way.sent[i].sequence == i + 1);
    begin = ends[i];
  }
  endpoint.answer(way, {0, way.sent[1].request, ENOSPC, {}, {}});
  CHECK(way.seen_sequences == std::vector<uint64_t>{2});
  endpoint.answer(way, {0, way.sent[2].request, 0, {}, {}});
  CHECK(way.replies.empty());
  endpoint.answer(way, {0, way.sent[0].request, 0, {}, {}});
  REQUIRE(way.replies.size() == 1);
  CHECK(way.replies[0].client == 3);
  CHECK(way.replies[0].request == 1);
  CHECK(way.replies[0].error == ENOSPC);
}

TEST_CASE(
    "what is not answered is sent again in its order, what is answered is not, and an old route is not "
    "heard") {
  Recorder clients;
  Recorder first;
  Recorder second;
  Endpoint endpoint(clients);
  endpoint.route(first, 1 << 20);
  for (uint64_t request = 1; request <= 5; ++request)
    endpoint.submit(op_of(request % 2 == 0 ? Kind::flush : Kind::write, request));
  endpoint.answer(first, {0, first.sent[2].request, 0, {}, {}});
  endpoint.answer(first, {0, first.sent[1].request, kUnanswered, {}, {}});
  CHECK_FALSE(endpoint.is_routed());
  endpoint.submit(op_of(Kind::read, 6));
  CHECK(first.sent.size() == 5);
  endpoint.route(second, 1 << 20);
  std::string sequences;
  for (const ClientOp& op : second.sent) sequences += std::to_string(op.sequence) + " ";
  CHECK(sequences == "1 0 0 3 0 ");
  endpoint.answer(first, {0, first.sent[0].request, 0, {}, {}});
  endpoint.lost(first);
  CHECK(endpoint.is_routed());
  CHECK(endpoint.waiting() == 5);
  for (const ClientOp& op : second.sent) endpoint.answer(second, {0, op.request, 0, {}, {}});
  CHECK(endpoint.waiting() == 0);
  CHECK(clients.replies.size() == 6);
}

TEST_CASE("no more is on a route than its other end takes without waiting") {
  Recorder way;
  Endpoint endpoint(way);
  endpoint.route(way, 1 << 20);
  for (uint64_t request = 1; request <= 600; ++request) endpoint.submit(op_of(Kind::trim, request));
  CHECK(way.sent.size() == 512);
  endpoint.answer(way, {0, way.sent[4].request, EINVAL, {}, {}});
  CHECK(way.sent.size() == 513);
  for (size_t i = 0; i < way.sent.size(); ++i)
    if (i != 4) endpoint.answer(way, {0, ClientOp(way.sent[i]).request, 0, {}, {}});
  CHECK(way.replies.size() == 600);
  for (uint64_t request = 601; request <= 603; ++request)
    endpoint.submit(op_of(Kind::read, request, 0, 20 << 20));
  CHECK(way.sent.size() == 601);
}

TEST_CASE("an endpoint that ends answers everybody with no answer, now and later") {
  Recorder way;
  Endpoint endpoint(way);
  endpoint.route(way, 8192);
  endpoint.submit(op_of(Kind::write, 1, 0, 20'000));
  endpoint.submit(op_of(Kind::read, 2));
  endpoint.end();
  endpoint.submit(op_of(Kind::read, 3));
  REQUIRE(way.replies.size() == 3);
  for (const Reply& reply : way.replies) CHECK(reply.error == kUnanswered);
  CHECK(endpoint.waiting() == 0);
}
