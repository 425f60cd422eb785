// How a leader comes to have the history that it goes on from, and when it may: one that was elected adopts the head that
// the election found (docs/protocol.md, E3 to E5); one that starts again in its old view asks who has more.
#include <algorithm>

#include "core/replication/leader.h"
#include "core/volume/volume.h"

namespace cloudfs {

namespace {

/// Its store holds the volume without blocks, or would.
bool is_creation_witness(const Volume& volume, const ViewMember& member) {
  const std::vector<ViewMember>& first = volume.create_payload().view.members;
  return std::any_of(first.begin(), first.end(), [&](const ViewMember& one) {
    return one.role == MemberRole::witness && one.host == member.host && one.store == member.store;
  });
}

}  // namespace

void Leader::step() {
  switch (stage_) {
    case Stage::gather:
      return gather();
    case Stage::fetch:
      return fetch_head();
    case Stage::adopted:
      return tell_holders();
    case Stage::view:
      // R2: of its own epoch it has everything. Where others do not take a restart's view it may have to stand again, with evidence.
      if (volume_.recovering() && volume_.made().epoch() == epoch_ &&
          volume_.own().synced >= volume_.view_lsn())
        host_.on_recovered(volume_);
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
  if (volume_.made().epoch() == epoch_) return std::nullopt;
  // E6: until it has its own view's record, an elected host commits nothing by counting. M1: what it was told it knows, once it
  // has the history of which that is true.
  return std::max(volume_.committed(), has_history() ? known_ : 0);
}

// --- Elected ------------------------------------------------------------------------------------------------------

void Leader::begin_elected(const Position& head, Lsn known) {
  stage_ = Stage::fetch;
  target_ = head;
  known_ = std::min(known, head.lsn);
  moved_ = true;
}

void Leader::fetch_head() {
  const VolumeState& made = volume_.made();
  if (made.lsn == target_.lsn && made.public_id == target_.version) {
    // It counts itself among the holders.
    if (volume_.own().appended != made.lsn) return;
    stage_ = Stage::adopted;
    fetching_ = nullptr;
    volume_.ask_to_advance();
    for (const auto& feed : feeds_)
      if (!feed->closed) say_hello(*feed);
    moved_ = true;
    return tell_holders();
  }
  if (fetching_ != nullptr) return;
  for (const Member& member : members_) {
    if (member.feed == nullptr || !member.feed->has_volume || member.feed->head != target_) continue;
    // A witness serves where nobody else does: of what is not here it can give views alone, which have no blocks.
    if (fetching_ == nullptr || !member.is_witness) fetching_ = member.feed;
  }
  if (fetching_ == nullptr) return;
  say_hello(*fetching_);
  // What is known to be committed it has as well. Where the rest differs from what is here, that is dropped (E3).
  streams_.send(fetching_->stream, encode_fetch(epoch_, {volume_.committed()}));
}

/// Members of the newest view that hold all that was adopted, learners too.
std::vector<const ViewMember*> Leader::holders() const {
  std::vector<const ViewMember*> who;
  for (const ViewMember& member : volume_.views().back().payload.members)
    if (is_own(member) || members_[place_of(member)].held >= target_.lsn) who.push_back(&member);
  return who;
}

void Leader::tell_holders() {
  const std::vector<const ViewMember*> who = holders();
  if (who.size() <= holders_told_) return;
  holders_told_ = who.size();
  host_.on_adopted(volume_, epoch_, who);
}

bool Leader::may_begin_view(bool forced) const {
  if (stage_ != Stage::adopted) return false;
  if (forced) return true;
  const std::vector<ViewMember>& members = volume_.views().back().payload.members;
  const auto voters = static_cast<size_t>(std::count_if(members.begin(), members.end(), is_voter));
  const std::vector<const ViewMember*> who = holders();
  const auto holding =
      std::count_if(who.begin(), who.end(), [](const ViewMember* one) { return is_voter(*one); });
  return static_cast<size_t>(holding) >= voters / 2 + 1;
}

void Leader::begin_view(const ViewPayload& view) {
  stage_ = Stage::view;
  note_members(view);
  moved_ = true;
}

/// This host has forced its view: who was a member is none, and is not to follow as if it were.
void Leader::forget_members() {
  for (const auto& feed : feeds_) {
    feed->member.reset();
    if (!feed->closed) refuse_stranger(feed->stream);
  }
  members_.clear();
  progress_.clear();
}

// --- Sets that have to agree (M1) ---------------------------------------------------------------------------------

bool Leader::is_own(const ViewMember& member) const {
  return member.host == self_.host && member.store == self_.store;
}

/// members_.size(): nowhere.
size_t Leader::place_of(const ViewMember& member) const {
  const auto at = std::find_if(members_.begin(), members_.end(), [&](const Member& one) {
    return one.host == member.host && one.store == member.store;
  });
  return static_cast<size_t>(at - members_.begin());
}

void Leader::note_members(const ViewPayload& view) {
  for (const ViewMember& member : view.members)
    if (!is_own(member) && place_of(member) == members_.size())
      members_.push_back(
          {.host = member.host, .store = member.store, .is_witness = member.role == MemberRole::witness});
  progress_.resize(members_.size());
}

void Leader::on_views_moved() {
  const std::span<const ViewInForce> views = volume_.views();
  if (views.size() == 1 && views[0].forced && views[0].epoch == epoch_) forget_members();
  quorums_.clear();
  for (const ViewInForce& view : views) {
    note_members(view.payload);
    Quorum quorum{.peers = {}, .has_own = false};
    for (const ViewMember& member : view.payload.members) {
      if (!is_voter(member)) continue;
      if (is_own(member)) {
        quorum.has_own = true;
      } else {
        quorum.peers.push_back(static_cast<uint8_t>(place_of(member)));
        if (member.role == MemberRole::witness) quorum.witnesses.push_back(quorum.peers.back());
      }
    }
    quorum.majority = static_cast<uint32_t>(quorum.peers.size() + (quorum.has_own ? 1 : 0)) / 2 + 1;
    if (volume_.parts().plant == Plant::ack_before_majority) quorum.majority = 1;
    quorums_.push_back(std::move(quorum));
  }
  if (host_.leases_used()) lease_until_ns_ = lease_until();
  moved_ = true;
}

bool Leader::degrades(const ViewPayload& before, const ViewPayload& next) {
  size_t left_off = 0;
  bool has_witness = false;
  const auto role_in_next = [&](const ViewMember& one) {
    const auto at = std::find_if(next.members.begin(), next.members.end(), [&](const ViewMember& other) {
      return other.host == one.host && other.store == one.store;
    });
    return at == next.members.end() ? MemberRole::learner : at->role;
  };
  for (const ViewMember& one : before.members) {
    has_witness |= one.role == MemberRole::witness;
    if (!is_voter(one) || role_in_next(one) == one.role) continue;
    if (one.role != MemberRole::data || role_in_next(one) != MemberRole::learner) return false;
    ++left_off;
  }
  const auto voters = [](const ViewPayload& view) {
    return static_cast<size_t>(std::count_if(view.members.begin(), view.members.end(), is_voter));
  };
  return has_witness && left_off > 0 && voters(next) + left_off == voters(before);
}

const char* Leader::change_refusal(const ViewPayload& next) const {
  const std::span<const ViewInForce> views = volume_.views();
  const ViewPayload& before = views.back().payload;
  for (const ViewInForce& view : views)
    if (!same_set(view.payload, before) && !degrades(before, next))
      return "an earlier change of the set is not known to be committed";
  for (const ViewMember& member : next.members) {
    const bool is_witness = member.role == MemberRole::witness;
    if (is_witness != is_creation_witness(volume_, member))
      return "a witness is one from the volume's creation on, and stays one";
    if (!is_voter(member) || is_own(member)) continue;
    const auto was = std::find_if(before.members.begin(), before.members.end(), [&](const ViewMember& one) {
      return one.host == member.host && one.store == member.store;
    });
    if (was == before.members.end()) return "who joins is a learner first";
    if (!is_voter(*was) && members_[place_of(member)].held < target_.lsn)
      return "a learner that is to vote does not have everything yet";
  }
  return nullptr;
}

// --- Leases -------------------------------------------------------------------------------------------------------

/// Until when leases of a majority of each set run.
uint64_t Leader::lease_until() const {
  if (!host_.leases_used()) return UINT64_MAX;
  uint64_t until = UINT64_MAX;
  for (const ViewInForce& view : volume_.views()) until = std::min(until, lease_until(view.payload));
  return until;
}

uint64_t Leader::lease_until(const ViewPayload& view) const {
  const uint64_t lease_ns = uint64_t{volume_.views().back().payload.lease_ms} * 1'000'000;
  std::vector<uint64_t> ends;
  for (const ViewMember& member : view.members)
    if (is_voter(member))
      ends.push_back(is_own(member) ? UINT64_MAX
                                    : leases_.held_until(member.store, volume_.id(), epoch_, lease_ns));
  const auto majority = static_cast<std::ptrdiff_t>(ends.size() / 2 + 1);
  std::nth_element(ends.begin(), ends.begin() + majority - 1, ends.end(), std::greater<>());
  return ends[static_cast<size_t>(majority - 1)];
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
    const size_t majority = quorums_.back().majority;
    const size_t members = quorums_.back().peers.size() + 1;
    size_t heard = 1;
    Feed* best = nullptr;
    for (const Member& member : members_) {
      // What a witness has more it cannot give, and what was acknowledged a data member has.
      if (member.feed == nullptr || member.is_witness) continue;
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
  const bool headers = (frame.view.header.flags & kFrameHeaders) != 0;
  const Volume::Accepted accepted =
      volume_.accept_runs(frame.bytes, runs->runs, {.headers = headers}, epoch_);
  if (accepted.wait) return false;
  if (accepted.code != nullptr) streams_.refuse(feed.stream, epoch_, accepted.code, accepted.message);
  moved_ = true;
  return true;
}

}  // namespace cloudfs
