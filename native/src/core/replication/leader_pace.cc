// How fast a leader feeds those of its followers that are behind.
#include <algorithm>

#include "core/replication/leader.h"
#include "core/volume/volume.h"

namespace cloudfs {

/// Who has had everything gets what is new in the turn that made it: clients wait for that.
bool Leader::may_feed(Feed& feed) {
  if (feed.live || !is_spare(feed)) return true;
  CatchUpPace& pace = host_.catch_up_pace();
  const uint64_t written = written_.per_second(now_ns_);
  if (pace.may_send(feed.pace, written)) return true;
  const uint64_t again_ns = pace.again_ns(feed.pace, written);
  held_until_ns_ = held_until_ns_ == 0 ? again_ns : std::min(held_until_ns_, again_ns);
  return false;
}

void Leader::note_fed(Feed& feed, uint64_t bytes) {
  if (!feed.live && is_spare(feed)) host_.catch_up_pace().sent(feed.pace, bytes);
}

/// Updates are committed without this member. Else clients wait for nothing so much as for it.
bool Leader::is_spare(const Feed& feed) const {
  if (stage_ != Stage::lead) return false;
  const auto has = [](const std::vector<uint8_t>& peers, std::optional<size_t> peer) {
    return peer && std::find(peers.begin(), peers.end(), *peer) != peers.end();
  };
  return std::all_of(quorums_.begin(), quorums_.end(), [&](const Quorum& quorum) {
    // W1: while a data member lacks something, no witness counts.
    const bool is_data = has(quorum.peers, feed.member) && !has(quorum.witnesses, feed.member);
    const auto count = std::count_if(quorum.peers.begin(), quorum.peers.end(), [&](uint8_t peer) {
      return peer != feed.member && !(is_data && has(quorum.witnesses, peer)) &&
             progress_[peer].appended >= volume_.committed();
    });
    return static_cast<uint64_t>(count) + (quorum.has_own ? 1 : 0) >= quorum.majority;
  });
}

}  // namespace cloudfs
