// How a leader feeds those of its followers that are behind: how fast, and with what the log has.
#include <algorithm>
#include <cerrno>

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

// --- What is read from the log ------------------------------------------------------------------------------------

/// While a piece of the log is sent the next one is read.
void Leader::read_ahead(Feed& feed) {
  if (!feed.member || feed.closed || feed.live || feed.reader.busy() ||
      feed.runs_read_bytes >= kFeedReadBytes)
    return;
  const Lsn next = feed.read_end();
  // Where there is none, that is seen when it is its turn.
  if (next <= volume_.placed_lsn() && backlog_from(next) == nullptr) (void)feed.reader.read(next, feed);
}

void Leader::Feed::on_runs(std::vector<LogReaderOwner::Run>& runs, int error) {
  leader.moved_ = true;
  // What was read before is sent first; then this is asked for again.
  if (error == EAGAIN || (error != 0 && !runs_read.empty())) return;
  // Its table said that the log holds it, and it does not, or not whole.
  if (error != 0) return leader.compact(*this, verified ? next - 1 : commit_lsn);
  for (LogReaderOwner::Run& run : runs) {
    // Asked for before it was sent on from elsewhere.
    if (run.view.header().first_lsn != read_end()) return;
    runs_read_bytes += run.bytes.size + run.body.size;
    runs_read.push_back(std::move(run));
  }
}

const LogReaderOwner::Run* Leader::Feed::next_read() {
  // The one before was sent. Else it goes on from elsewhere, and what was read is of no use.
  while (!runs_read.empty() && runs_read.front().view.header().first_lsn < next) {
    runs_read_bytes -= runs_read.front().bytes.size + runs_read.front().body.size;
    runs_read.pop_front();
  }
  if (!runs_read.empty() && runs_read.front().view.header().first_lsn != next) forget_read();
  return runs_read.empty() ? nullptr : &runs_read.front();
}

void Leader::Feed::forget_read() {
  runs_read.clear();
  runs_read_bytes = 0;
}

}  // namespace cloudfs
