// How fast replicas that lack something are fed while clients are at work (docs/core.md, Catching up beside clients).
//
// Decides only: the time, what clients ask and what was sent come in; whether more may be sent comes out.
//
// Invariants
// - While clients are quiet nothing is held back: a volume has a copy less until its replica is in step.
// - A feed that is held back gets more than its volume's clients write, always: it comes nearer, and ends.
#pragma once

#include <cstdint>

namespace cloudfs {

/// A feed gets this many quarters of what is written to its volume. Two copies of each byte went to followers while all were
/// in step and one goes now, so a feed of about that size costs clients little; what it gets beyond it brings it nearer.
constexpr uint64_t kFeedQuarters = 6;
/// What all feeds of a store share besides: about a tenth of what one core reads from the log, checks and sends. Clients that
/// read, or write little while they wait for each other, leave no more to go by.
constexpr uint64_t kFeedSharedBytesPerSecond = 32u << 20;
/// A feed is given so much at once, and what it was given for begins in whole: a run, a frame of blocks. More would be a pause
/// for clients, less a turn, a send and an append for little.
constexpr uint64_t kFeedPieceBytes = 128 << 10;
/// Of what is not sent so much time's worth is saved up, or a piece: turns are further apart where clients ask seldom, and
/// timers are of milliseconds.
constexpr uint64_t kFeedSavedNs = 2'000'000;
/// What was sent and not granted, at most. So much is repaid before clients have to make room again: what was sent while they
/// seemed quiet counts, for a turn may come late, and see a pause that is its own.
constexpr int64_t kFeedDebtBytesMax = 2 << 20;
/// Clients are quiet when they have asked nothing for so long and nothing of theirs is under way: half the pause between
/// 250 requests a second. One that asks again as soon as it is answered does so much sooner.
constexpr uint64_t kQuietNs = 2'000'000;
/// The same with requests under way. Past this they wait for what sending less would not help: for a majority, say.
constexpr uint64_t kStuckNs = 100'000'000;
/// How much is written is measured over so long, and half of what was measured before counts on.
constexpr uint64_t kMeterNs = 100'000'000;

/// How many bytes a second something is.
class ByteMeter {
 public:
  void add(uint64_t bytes) { bytes_ += bytes; }
  uint64_t per_second(uint64_t now_ns);

 private:
  uint64_t bytes_ = 0;  // since
  uint64_t since_ns_ = 0;
  uint64_t per_second_ = 0;
};

/// Bytes that may be sent, which become more with time. More than that may be taken at once; it is waited for afterwards, up
/// to a bound.
class Allowance {
 public:
  void fill(uint64_t now_ns, uint64_t bytes_per_second);
  /// Enough for a piece.
  bool has_piece() const { return bytes_ >= static_cast<int64_t>(kFeedPieceBytes); }
  void take(uint64_t bytes);
  /// When there is enough for a piece at this rate; UINT64_MAX: never.
  uint64_t piece_at_ns(uint64_t bytes_per_second) const;

 private:
  int64_t bytes_ = 0;
  uint64_t filled_ns_ = 0;
};

/// Of one feed that is behind.
struct FeedPace {
  Allowance own;
  // Of the piece that it was allowed last: what is not sent yet, and whether it is of what all share. A piece is taken whole from
  // where it was allowed: else one whose first bytes used its own up would take the rest from the others, piece after piece.
  uint64_t piece_bytes = 0;
  bool of_shared = false;
};

/// Of a store: what its clients leave for all feeds.
class CatchUpPace {
 public:
  /// A client asks something.
  void asked(uint64_t now_ns) { asked_ns_ = now_ns; }
  /// Before anything is sent in a turn. `in_flight`: requests of clients that are not answered.
  void turn(uint64_t now_ns, uint64_t in_flight);

  /// Whether a feed may send now, of a piece that it was allowed or of another. `written`: bytes a second that its volume's
  /// clients write.
  [[nodiscard]] bool may_send(FeedPace& feed, uint64_t written);
  /// Bytes that a feed was given.
  void sent(FeedPace& feed, uint64_t bytes);
  /// When a feed that may not send is to ask again: later than now.
  uint64_t again_ns(const FeedPace& feed, uint64_t written) const;
  bool clients_quiet() const { return now_ns_ >= quiet_at_ns_; }

 private:
  static uint64_t rate(uint64_t written) { return written * kFeedQuarters / 4; }

  uint64_t now_ns_ = 0;
  uint64_t asked_ns_ = 0;
  uint64_t quiet_at_ns_ = 0;
  Allowance shared_;
};

}  // namespace cloudfs
