#include "core/replication/pace.h"

#include <algorithm>

namespace cloudfs {

namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;
// No rate and no time of a machine is beyond these, and their product fits.
constexpr uint64_t kRateMax = 16ull << 30;
constexpr uint64_t kFillNsMax = kSecondNs;

}  // namespace

uint64_t ByteMeter::per_second(uint64_t now_ns) {
  const uint64_t passed_ns = now_ns - since_ns_;
  if (passed_ns < kMeterNs) return per_second_;
  const double measured = static_cast<double>(bytes_) * 1e9 / static_cast<double>(passed_ns);
  const auto bounded = static_cast<uint64_t>(std::min(measured, static_cast<double>(kRateMax)));
  // What was before a long pause says nothing.
  per_second_ = passed_ns < 2 * kMeterNs ? (per_second_ + bounded) / 2 : bounded;
  bytes_ = 0;
  since_ns_ = now_ns;
  return per_second_;
}

void Allowance::fill(uint64_t now_ns, uint64_t bytes_per_second) {
  const uint64_t passed_ns = std::min(now_ns - filled_ns_, kFillNsMax);
  const uint64_t bytes = std::min(bytes_per_second, kRateMax) * passed_ns / kSecondNs;
  // Less than a byte is counted the next time.
  if (bytes == 0 && bytes_per_second > 0 && passed_ns < kFillNsMax) return;
  filled_ns_ = now_ns;
  const uint64_t saved_max =
      std::max(kFeedPieceBytes, std::min(bytes_per_second, kRateMax) * kFeedSavedNs / kSecondNs);
  bytes_ = std::min(static_cast<int64_t>(saved_max), bytes_ + static_cast<int64_t>(bytes));
}

void Allowance::take(uint64_t bytes) {
  bytes_ = std::max(-kFeedDebtBytesMax, bytes_ - static_cast<int64_t>(bytes));
}

uint64_t Allowance::piece_at_ns(uint64_t bytes_per_second) const {
  if (has_piece()) return filled_ns_;
  if (bytes_per_second == 0) return UINT64_MAX;
  const auto lacking = static_cast<uint64_t>(static_cast<int64_t>(kFeedPieceBytes) - bytes_);
  return filled_ns_ + lacking * kSecondNs / std::min(bytes_per_second, kRateMax) + 1;
}

void CatchUpPace::turn(uint64_t now_ns, uint64_t in_flight) {
  now_ns_ = now_ns;
  quiet_at_ns_ = asked_ns_ == 0 ? 0 : asked_ns_ + (in_flight > 0 ? kStuckNs : kQuietNs);
  shared_.fill(now_ns, kFeedSharedBytesPerSecond);
}

bool CatchUpPace::may_send(FeedPace& feed, uint64_t written) {
  feed.own.fill(now_ns_, rate(written));
  if (feed.piece_bytes > 0) return true;
  feed.of_shared = !feed.own.has_piece();
  if (!clients_quiet() && feed.of_shared && !shared_.has_piece()) return false;
  feed.piece_bytes = kFeedPieceBytes;
  return true;
}

void CatchUpPace::sent(FeedPace& feed, uint64_t bytes) {
  feed.piece_bytes -= std::min(bytes, feed.piece_bytes);
  (feed.of_shared ? shared_ : feed.own).take(bytes);
}

uint64_t CatchUpPace::again_ns(const FeedPace& feed, uint64_t written) const {
  const uint64_t when = std::min({quiet_at_ns_, feed.own.piece_at_ns(rate(written)),
                                  shared_.piece_at_ns(kFeedSharedBytesPerSecond), now_ns_ + kMeterNs});
  return std::max(when, now_ns_ + 1);
}

}  // namespace cloudfs
