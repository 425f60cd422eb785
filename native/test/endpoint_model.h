// A primary as docs/protocol.md has it (S1, S2), played plainly: a history of updates, of which a part is committed; and an
// endpoint's life in front of it: routes end at any point, answers get lost, primaries follow one another, and what was not
// committed may be gone. At the end each request must have been applied once, answered once, and in order.
#pragma once

#include <deque>
#include <map>
#include <set>

#include "bridge/endpoint.h"
#include "nbd_ordeal.h"

namespace bridge_test {

using cloudfs::ClientOp;
using cloudfs::Reply;
using cloudfs::bridge::Endpoint;
using cloudfs::bridge::Route;
using nbd_test::demand;
using nbd_test::Random;
using Kind = ClientOp::Kind;

inline bool changes_data(const ClientOp& op) {
  return op.kind == Kind::write || op.kind == Kind::trim || op.kind == Kind::write_zeroes;
}

/// What an endpoint could do wrong.
enum class Plant { none, reused_sequence, skipped_sequence, resent_out_of_order, seen_untold };

struct Record {
  uint64_t sequence = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t request = 0;  // of the client: a write's payload says it
};

/// All primaries there are, one at a time.
class Primary {
 public:
  Primary(Random& random, uint64_t record_bytes_max) : random_(random), record_bytes_max_(record_bytes_max) {}

  /// Another connection, to the same primary or the next.
  void open(bool is_next) {
    queue_.clear();
    settled_.clear();
    unseen_ = 0;
    last_on_route_ = 0;
    if (!is_next) return;
    history_.resize(committed_ + random_.below(history_.size() - committed_ + 1));
    committed_ = history_.size();
  }

  void submit(const ClientOp& op, uint64_t request) {
    if (changes_data(op)) {
      demand(op.sequence > last_on_route_, "a sequence out of order");
      demand(op.sequence <= highest_ + 1, "a sequence was left out");
      highest_ = std::max(highest_, op.sequence);
      last_on_route_ = op.sequence;
      demand(op.kind != Kind::write || blocks_of(op) * cloudfs::kBlockBytes <= record_bytes_max_, "too long");
    } else {
      demand(op.sequence == 0, "a sequence where none is to be");
    }
    queue_.push_back({op, request});
  }
  void seen(uint64_t sequence) {
    demand(sequence <= last_on_route_, "seen what was never sent");
    if (sequence == unseen_) unseen_ = 0;
  }

  /// Goes on a little. @returns answers
  std::vector<Reply> step() {
    std::vector<Reply> answers;
    for (size_t count = random_.below(8); count > 0; --count) take(answers);
    committed_ += random_.below(history_.size() - committed_ + 1);
    for (size_t i = 0; i < settled_.size();) {
      if (settled_[i].second > committed_ || random_.one_in(3)) {
        ++i;
        continue;
      }
      answers.push_back({0, settled_[i].first, 0, {}, {}});
      settled_.erase(settled_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return answers;
  }

  const std::vector<Record>& history() const { return history_; }

 private:
  static uint64_t blocks_of(const ClientOp& op) {
    return (op.offset + op.length + cloudfs::kBlockBytes - 1) / cloudfs::kBlockBytes -
           op.offset / cloudfs::kBlockBytes;
  }

  void take(std::vector<Reply>& answers) {
    if (queue_.empty()) return;
    const auto [op, request] = queue_.front();
    if (!changes_data(op)) {
      queue_.pop_front();
      settled_.emplace_back(op.request, op.kind == Kind::flush ? history_.size() : 0);
      return;
    }
    if (unseen_ != 0) return;
    queue_.pop_front();
    const uint64_t last = history_.empty() ? 0 : history_.back().sequence;
    if (op.sequence <= last) {  // S1
      settled_.emplace_back(op.request, history_.size());
    } else if (random_.one_in(10)) {
      unseen_ = op.sequence;  // S2
      answers.push_back({0, op.request, ENOSPC, {}, {}});
    } else {
      history_.push_back({op.sequence, op.offset, op.length, request});
      settled_.emplace_back(op.request, history_.size());
    }
  }

  Random& random_;
  const uint64_t record_bytes_max_;
  std::vector<Record> history_;
  size_t committed_ = 0;
  std::deque<std::pair<ClientOp, uint64_t>> queue_;
  std::vector<std::pair<uint64_t, size_t>> settled_;  // to be answered once so many updates are committed
  uint64_t unseen_ = 0;
  uint64_t last_on_route_ = 0;
  uint64_t highest_ = 0;
};

class EndpointLife final : public cloudfs::bridge::Clients {
 public:
  EndpointLife(uint64_t seed, Plant plant)
      : random_(seed), plant_(plant), primary_(random_, kRecordBytes), endpoint_(*this) {}

  void run() {
    reroute(false);
    for (size_t turns = 0; turns < kTurns || endpoint_.waiting() > 0; ++turns) {
      demand(turns < 100 * kTurns, "requests are not answered");
      for (size_t count = turns < kTurns ? random_.below(6) : 0; count > 0; --count) ask();
      if (route_ != nullptr) pass(primary_.step());
      // Towards the end there is peace.
      if (turns < kTurns + 50) trouble();
      if (route_ == nullptr && (turns >= kTurns || random_.one_in(4))) reroute(random_.one_in(2));
    }
    check();
  }

  void deliver(Reply reply) override {
    demand(reply.client == kClient, "an answer to somebody else");
    Asked& asked = asked_.at(reply.request);
    demand(asked.answered_at == 0, "a request was answered twice");
    asked.answered_at = ++clock_;
    asked.error = reply.error;
  }

 private:
  static constexpr uint64_t kClient = 5;
  static constexpr uint64_t kRecordBytes = 16 << 10;
  static constexpr size_t kTurns = 200;

  struct Asked {
    Kind kind;
    uint64_t offset, length;
    uint64_t asked_at;
    uint64_t answered_at = 0;
    int error = 0;
  };

  class Way final : public Route {
   public:
    explicit Way(EndpointLife& life) : life_(life) {}
    void send(const ClientOp& op) override { life_.tamper(op); }
    void seen(uint64_t sequence) override {
      if (life_.plant_ != Plant::seen_untold) life_.primary_.seen(sequence);
    }

   private:
    EndpointLife& life_;
  };

  /// Between the endpoint and the primary, as if the endpoint had done so.
  void tamper(ClientOp op) {
    const uint64_t request = request_of(op);
    if (plant_ == Plant::reused_sequence && op.sequence > 50) op.sequence -= 1;
    if (plant_ == Plant::skipped_sequence && op.sequence > 50) op.sequence += 1;
    if (plant_ == Plant::resent_out_of_order && routes_ > 3 && op.sequence != 0) {
      if (!held_) {
        held_ = {op, request};
        return;
      }
      primary_.submit(op, request);
      primary_.submit(held_->first, held_->second);
      held_.reset();
      return;
    }
    primary_.submit(op, request);
  }

  /// Trims and zeroes have their request in their length, writes in their payload.
  static uint64_t request_of(const ClientOp& op) {
    if (op.kind != Kind::write) return changes_data(op) ? op.length : 0;
    uint64_t request;
    std::memcpy(&request, op.payload.data, sizeof request);
    for (size_t at = 0; at + 8 <= op.payload.size; at += 8)
      demand(std::memcmp(op.payload.data + at, &request, 8) == 0, "a payload of two requests");
    demand(op.payload.size == op.length, "a payload of another length");
    return request;
  }

  void ask() {
    const Kind kind = random_.pick({Kind::write, Kind::write, Kind::write, Kind::trim, Kind::write_zeroes,
                                    Kind::read, Kind::flush, Kind::block_status});
    const uint64_t request = asked_.size() + 1;
    ClientOp op;
    op.kind = kind;
    op.client = kClient;
    op.request = request;
    op.offset = 8 * random_.below(8 << 10);
    op.length = 8 + 8 * random_.below(random_.one_in(4) ? 8 << 10 : 512);
    if (kind == Kind::trim || kind == Kind::write_zeroes) op.length = request;
    if (kind == Kind::flush) op.offset = op.length = 0;
    if (kind == Kind::write) {
      std::string payload;
      for (uint64_t at = 0; at < op.length; at += 8)
        payload.append(reinterpret_cast<const char*>(&request), 8);
      op.payload =
          nbd_test::MemoryDisk::copy(reinterpret_cast<const uint8_t*>(payload.data()), payload.size());
    }
    asked_[request] = {kind, op.offset, op.length, ++clock_};
    endpoint_.submit(std::move(op));
  }

  void pass(std::vector<Reply> answers) {
    for (Reply& answer : answers) {
      if (route_ == nullptr || random_.one_in(200)) return lose();  // this one, and those behind it
      endpoint_.answer(*route_, std::move(answer));
    }
  }

  void trouble() {
    if (route_ == nullptr || !random_.one_in(8)) return;
    if (random_.one_in(3)) return reroute(random_.one_in(2));  // while the old one is good
    if (random_.one_in(2)) return lose();
    // A primary that ends, or steps down, says so instead of an answer.
    endpoint_.answer(*route_, {0, 0, random_.one_in(2) ? cloudfs::kUnanswered : ESHUTDOWN, {}, {}});
    demand(!endpoint_.is_routed(), "a route that has ended");
    route_.reset();
  }

  void lose() {
    if (route_ == nullptr) return;
    endpoint_.lost(*route_);
    route_.reset();
  }

  void reroute(bool is_next) {
    primary_.open(is_next);
    held_.reset();
    ++routes_;
    auto next = std::make_unique<Way>(*this);
    endpoint_.route(*next, kRecordBytes);
    route_ = std::move(next);
  }

  void check() const {
    std::set<uint64_t> sequences;
    std::map<uint64_t, std::vector<size_t>> applied;  // by request: where in the history
    const std::vector<Record>& history = primary_.history();
    for (size_t at = 0; at < history.size(); ++at) {
      demand(sequences.insert(history[at].sequence).second, "an update was applied twice");
      applied[history[at].request].push_back(at);
    }
    for (const auto& [request, asked] : asked_) {
      demand(asked.answered_at != 0, "a request was never answered");
      if (asked.kind != Kind::write && asked.kind != Kind::trim && asked.kind != Kind::write_zeroes) continue;
      uint64_t next = asked.offset;
      for (const size_t at : applied[request]) {
        demand(asked.error != 0 || history[at].offset == next,
               "a request was applied in part, twice, or elsewhere");
        next = history[at].offset + history[at].length;
      }
      const bool is_whole = next == asked.offset + asked.length && !applied[request].empty();
      demand(is_whole || asked.error != 0, "a request was answered and not applied");
      demand(asked.error == 0 || applied[request].size() < pieces_of(asked),
             "a request was refused and applied");
    }
    check_order(applied);
  }

  static size_t pieces_of(const Asked& asked) {
    if (asked.kind != Kind::write) return 1;
    const uint64_t blocks = (asked.offset + asked.length + cloudfs::kBlockBytes - 1) / cloudfs::kBlockBytes -
                            asked.offset / cloudfs::kBlockBytes;
    const uint64_t per_piece = kRecordBytes / cloudfs::kBlockBytes;
    return (blocks + per_piece - 1) / per_piece;
  }

  /// What was asked after another was answered comes behind it.
  void check_order(std::map<uint64_t, std::vector<size_t>>& applied) const {
    for (const auto& [later, of_later] : asked_) {
      if (of_later.error != 0 || applied[later].empty()) continue;
      for (const auto& [earlier, of_earlier] : asked_) {
        if (of_earlier.asked_at > of_later.asked_at) break;
        if (of_earlier.error != 0 || applied[earlier].empty() || of_earlier.answered_at > of_later.asked_at)
          continue;
        demand(applied[earlier].back() < applied[later].front(), "acknowledged updates changed places");
      }
    }
  }

  Random random_;
  const Plant plant_;
  Primary primary_;
  Endpoint endpoint_;
  std::unique_ptr<Way> route_;
  std::optional<std::pair<ClientOp, uint64_t>> held_;
  std::map<uint64_t, Asked> asked_;
  uint64_t clock_ = 0;
  size_t routes_ = 0;
};

}  // namespace bridge_test
