// How a leader comes to have the history that it goes on from, and when it may: one that was elected adopts the head that
// the election found (docs/protocol.md, E3 to E5); one that starts again in its old view asks who has more.
#include <algorithm>

#include "core/replication/leader.h"
#include "core/volume/volume.h"

namespace cloudfs {

void Leader::step() {
  switch (stage_) {
    case Stage::gather:
      return gather();
    case Stage::fetch:
      return fetch_head();
    case Stage::adopted:
      return tell_holders();
    case Stage::view:
      // E5
      if (volume_.committed() < volume_.view_lsn() || volume_.made().epoch() != epoch_) return;
      stage_ = Stage::lead;
      moved_ = true;  // clients' requests that waited become records in another turn
      host_.on_leading(volume_, epoch_);
      volume_.serve();
      return;
    case Stage::lead:
      return;
  }
}

std::optional<Lsn> Leader::leader_commit() const {
  // E6: until it has its own view's record, an elected host commits nothing by counting.
  if (volume_.made().epoch() != epoch_) return volume_.committed();
  return std::nullopt;
}

// --- Elected ------------------------------------------------------------------------------------------------------

void Leader::begin_elected(const Position& head) {
  stage_ = Stage::fetch;
  target_ = head;
  moved_ = true;
}

void Leader::fetch_head() {
  const VolumeState& made = volume_.made();
  if (made.lsn == target_.lsn && made.public_id == target_.version) {
    // It counts itself among the holders.
    if (volume_.own().appended != made.lsn) return;
    stage_ = Stage::adopted;
    fetching_ = nullptr;
    for (const auto& feed : feeds_)
      if (!feed->closed) say_hello(*feed);
    moved_ = true;
    return tell_holders();
  }
  if (fetching_ != nullptr) return;
  for (const Member& member : members_) {
    if (member.feed == nullptr || !member.feed->has_volume || member.feed->head != target_) continue;
    fetching_ = member.feed;
    say_hello(*fetching_);
    // What is known to be committed it has as well. Where the rest differs from what is here, that is dropped (E3).
    streams_.send(fetching_->stream, encode_fetch(epoch_, {volume_.committed()}));
    return;
  }
}

void Leader::tell_holders() {
  std::vector<HostId> holders{self_.host};
  for (const Member& member : members_)
    if (member.held >= target_.lsn) holders.push_back(member.host);
  if (holders.size() <= holders_told_) return;
  holders_told_ = holders.size();
  host_.on_adopted(volume_, epoch_, holders);
}

bool Leader::may_begin_view() const {
  if (stage_ != Stage::adopted) return false;
  size_t holders = 1;
  for (const Member& member : members_) holders += member.held >= target_.lsn ? 1 : 0;
  return holders >= (members_.size() + 1) / 2 + 1;
}

void Leader::begin_view() {
  stage_ = Stage::view;
  moved_ = true;
}

// --- Leases -------------------------------------------------------------------------------------------------------

/// Until when a majority's leases run, this host among it.
uint64_t Leader::lease_until() const {
  const size_t others = (members_.size() + 1) / 2;
  if (others == 0 || !host_.leases_used()) return UINT64_MAX;
  const Result<ViewPayload> view = decode_view(volume_.made().view);
  ensure(view.ok(), "a view's payload was checked");
  const uint64_t lease_ns = uint64_t{view->lease_ms} * 1'000'000;
  std::vector<uint64_t> ends;
  for (const Member& member : members_)
    ends.push_back(leases_.held_until(member.store, volume_.id(), epoch_, lease_ns));
  std::nth_element(ends.begin(), ends.begin() + static_cast<std::ptrdiff_t>(others - 1), ends.end(),
                   std::greater<>());
  return ends[others - 1];
}

bool Leader::has_lease() const {
  return volume_.applied().mode == Mode::local || host_.now_ns() < lease_until_ns_ ||
         volume_.parts().plant == Plant::lease_ignored;
}

void Leader::on_leases_moved(const StoreId& store) {
  if (std::none_of(members_.begin(), members_.end(),
                   [&](const Member& member) { return member.store == store; }))
    return;
  lease_until_ns_ = lease_until();
  mind_lease();
}

void Leader::mind_lease() {
  const bool has = has_lease();
  if (has == lease_told_) return;
  lease_told_ = has;
  moved_ = true;
  if (!has) return host_.on_lease_lost(volume_);
  host_.on_lease_back(volume_);
  volume_.ask_to_advance();
  if (stage_ == Stage::lead) volume_.serve();
}

// --- A primary that starts again ----------------------------------------------------------------------------------

void Leader::gather() {
  if (adopted_ == 0) {
    const size_t members = members_.size() + 1;
    const size_t majority = members / 2 + 1;
    size_t heard = 1;
    Feed* best = nullptr;
    for (const Member& member : members_) {
      if (member.feed == nullptr) continue;
      ++heard;
      Feed& feed = *member.feed;
      if (feed.has_volume && (best == nullptr || feed.head.lsn > best->head.lsn)) best = &feed;
    }
    if (heard < members - majority + 1) return;
    const Lsn made = volume_.made().lsn;
    if (best == nullptr || best->head.lsn <= made) {
      adopted_ = made;
      fetching_ = nullptr;
    } else if (fetching_ == nullptr) {
      fetching_ = best;
      streams_.send(best->stream, encode_fetch(epoch_, {made}));
      return;
    } else {
      return;
    }
  }
  if (volume_.committed() < adopted_) return;
  stage_ = Stage::lead;
  moved_ = true;  // clients' requests that waited become records in another turn
  volume_.serve();
}

bool Leader::on_fetched(Feed& feed, const FrameChannel::Frame& frame) {
  const Result<RunsFrame> runs = decode_runs(frame.view);
  if (!runs) {
    streams_.refuse(feed.stream, epoch_, "ERR_FRAME_CORRUPT", runs.error().message);
    return true;
  }
  const Volume::Accepted accepted = volume_.accept_runs(frame.bytes, runs->runs, false, epoch_);
  if (accepted.wait) return false;
  if (accepted.code != nullptr) streams_.refuse(feed.stream, epoch_, accepted.code, accepted.message);
  moved_ = true;
  return true;
}

}  // namespace cloudfs
