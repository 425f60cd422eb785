// Random lives of sessions: connections are cut at any time, and what was not answered is sent again. The history then has
// each request that was answered as done once, in order, and none of those that were refused.
#include <cerrno>
#include <map>
#include <set>

#include "core/format/run.h"
#include "session_driver.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

constexpr uint64_t kDiskBytes = 64 * 4096;

/// What a host at the other end of a connection keeps (native/src/bridge does so for real).
struct Client {
  SessionId session{};
  uint64_t handle = 0;
  uint64_t next = 1;
  std::map<uint64_t, ClientOp> unanswered;  // by sequence
  std::map<uint64_t, uint64_t> requests;    // of this connection: request -> sequence
  std::map<uint64_t, int> answers;          // by sequence
  std::set<uint64_t> idle;                  // trims of less than a block: they leave no record
  std::vector<uint64_t> unseen;             // refused, and the core has not been told yet
};

class Life {
 public:
  explicit Life(uint64_t seed) : random_(seed), driver_(params_of_life()) {
    driver_.format();
    driver_.create(kDiskBytes, "disk");
    for (uint8_t number = 1; number <= 2; ++number) clients_.emplace_back().session = session_of(number);
    attach(driver_, {session_of(1), session_of(2)});
    for (Client& client : clients_) connect(client);
  }

  void run(int steps) {
    for (int step = 0; step < steps; ++step) {
      Client& client = clients_[below(random_, clients_.size())];
      const uint64_t what = below(random_, 100);
      if (what < 40) {
        send(client);
      } else if (what < 60) {
        driver_.turn();
      } else if (what < 85) {
        if (driver_.disk.busy())
          driver_.core->complete(driver_.disk.complete(below(random_, driver_.disk.in_flight())));
      } else if (what < 97) {
        tell(client);
      } else {
        connect(client);
      }
      take_replies();
    }
    for (int round = 0; round < 40; ++round) {
      driver_.run();
      take_replies();
      for (Client& client : clients_) tell(client);
    }
    check();
  }

 private:
  /// No checkpoint lets the log go, which is read in the end.
  static CoreParams params_of_life() {
    CoreParams params = small_params();
    params.segment_limit = 1024;
    params.checkpoint_bytes = uint64_t{1} << 30;
    return params;
  }

  void submit(Client& client, uint64_t sequence, ClientOp op) {
    op.target = client.handle;
    client.requests[driver_.submit(numbered(std::move(op), sequence))] = sequence;
  }

  void send(Client& client) {
    if (client.unanswered.size() >= 12) return;
    const uint64_t kind = below(random_, 10);
    // Some end beyond the disk: those are refused.
    const uint64_t offset = below(random_, kDiskBytes / 512) * 512;
    const uint64_t bytes = (1 + below(random_, 24)) * 512;
    ClientOp op = kind < 7 ? Driver::write_op(0, offset, pattern(bytes, random_()), chance(random_, 20))
                           : Driver::range_op(kind < 8 ? ClientOp::Kind::trim : ClientOp::Kind::write_zeroes,
                                              0, offset, bytes);
    const uint64_t sequence = client.next++;
    if (op.kind == ClientOp::Kind::trim && (offset + 4095) / 4096 >= (offset + bytes) / 4096)
      client.idle.insert(sequence);
    client.unanswered[sequence] = op;
    submit(client, sequence, std::move(op));
  }

  void tell(Client& client) {
    if (client.unseen.empty()) return;
    driver_.core->session_seen(client.handle, client.unseen.back());
    client.unseen.clear();
  }

  /// The answers under way are lost.
  void connect(Client& client) {
    client.requests.clear();
    client.unseen.clear();
    client.handle = open_by(driver_, client.session);
    for (const auto& [sequence, op] : client.unanswered) submit(client, sequence, op);
  }

  void take_replies() {
    for (const Reply& reply : std::exchange(driver_.replies, {})) {
      for (Client& client : clients_) {
        const auto at = client.requests.find(reply.request);
        if (at == client.requests.end()) continue;
        const uint64_t sequence = at->second;
        CHECK(reply.error != kUnanswered);
        CHECK(client.answers.emplace(sequence, reply.error).second);
        client.unanswered.erase(sequence);
        if (reply.error != 0) client.unseen.push_back(sequence);
        client.requests.erase(at);
      }
    }
  }

  void read_log() {
    for (bool more = true; more;) {
      const std::string lsn = std::to_string(next_lsn_);
      const std::string arguments = R"({"volume":"disk","lsn":)" + lsn + R"(,"bytesMax":1000000})";
      driver_.core->command({7, "records", arguments, {}});
      driver_.run();
      take_replies();
      REQUIRE(driver_.command_replies.size() == 1);
      const CommandReply reply = std::exchange(driver_.command_replies, {})[0];
      REQUIRE(reply.error_code.empty());
      ByteSpan bytes(reply.payload.data, reply.payload.size);
      more = !bytes.empty();
      while (!bytes.empty()) {
        const Result<RunView> run = decode_run(bytes);
        REQUIRE(run.ok());
        for (const RecordView record : run->records())
          if (record.request_sequence() != 0 && record.lsn() >= next_lsn_)
            made_[run->header().session].push_back(record.request_sequence());
        bytes = bytes.subspan(run->bytes().size() + run->header().body_bytes);
      }
      next_lsn_ = std::stoull(field(reply.result, "nextLsn"));
    }
  }

  void check() {
    read_log();
    for (Client& client : clients_) {
      CHECK(client.unanswered.empty());
      const std::vector<uint64_t>& sequences = made_[client.session];
      std::vector<uint64_t> done;
      for (const auto& [sequence, error] : client.answers) {
        if (error == 0 && !client.idle.contains(sequence)) done.push_back(sequence);
        refused_ += error != 0;
      }
      CHECK(sequences == done);
      CHECK(client.answers.size() == client.next - 1);
    }
  }

 public:
  size_t refused() const { return refused_; }

 private:
  Random random_;
  Driver driver_;
  std::vector<Client> clients_;
  std::map<SessionId, std::vector<uint64_t>> made_;
  Lsn next_lsn_ = 1;
  size_t refused_ = 0;
};

}  // namespace

TEST_CASE("whatever is cut, a session's requests are applied once, in order, and refused ones never") {
  const char* given = std::getenv("CLOUDFS_TEST_SEED");
  const uint64_t first = given == nullptr ? 1 : std::strtoull(given, nullptr, 10);
  const uint64_t count = given != nullptr ? 1 : std::getenv("CLOUDFS_TEST_LONG") == nullptr ? 60 : 2000;
  size_t refused = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    Life life(seed);
    life.run(600);
    refused += life.refused();
  }
  CHECK((given != nullptr || refused > 100));
}
