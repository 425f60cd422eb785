#include "core/store/hand_overs.h"

#include <algorithm>

#include "core/format/chain.h"
#include "core/store/store.h"

namespace cloudfs {

namespace {

Stamp mask(const Stamp& stamp, const Stamp& pad) {
  Stamp out;
  std::transform(stamp.begin(), stamp.end(), pad.begin(), out.begin(),
                 [](uint8_t a, uint8_t b) { return static_cast<uint8_t>(a ^ b); });
  return out;
}

}  // namespace

// --- At the primary that resigns ----------------------------------------------------------------------------------

void HandOvers::resign(const Volume& volume, const Leader& leader, const Resigned& resigned) {
  // Two hosts decide by themselves where they are a majority of all sets that have a say.
  const StreamId stream = leader.stream_to(resigned.next.host);
  if (stream == 0 || volume.views().size() != 1) return;
  if (const StreamId older = kept(volume.id()); older != 0) store_.streams.close(older);
  Going going{stream, resigned.epoch, {resigned.next, resigned.head, mask(resigned.stamp, resigned.pad)}, 0};
  store_.streams.send(stream, encode_hand(going.epoch, 0, going.hand));
  store_.streams.hand_to(stream, *this);
  going_[volume.id()] = going;
}

StreamId HandOvers::kept(const VolumeId& volume) const {
  const auto at = going_.find(volume);
  return at == going_.end() ? 0 : at->second.stream;
}

void HandOvers::on_promise_settled(const VolumeId& volume) {
  if (const auto at = going_.find(volume); at != going_.end() && at->second.until_ns == 0) {
    Going& going = at->second;
    going.until_ns = store_.now_ns() + kLastWordsNsMax;
    if (store_.has_promised(volume, going.hand.next))
      store_.streams.send(going.stream, encode_hand(going.epoch, kFrameOnDisk, going.hand));
  }
  try_lead(volume);
}

void HandOvers::on_closed(StreamId stream) {
  std::erase_if(going_, [&](const auto& one) { return one.second.stream == stream; });
}

// --- At the heir --------------------------------------------------------------------------------------------------

const char* HandOvers::expect(const Volume& volume, Heir heir) {
  if (heir.epoch.host != store_.identity.host || heir.epoch <= store_.promised(volume.id()))
    return "ERR_EPOCH_STALE";
  if (volume.writable() || store_.leader_of(volume) != nullptr) return "ERR_IS_PRIMARY";
  if (heir.payload.primary != store_.identity.host || heir.payload.stamp_hash != stamp_hash(heir.stamp) ||
      heir.payload.old_stamp)
    return "ERR_PAYLOAD_INVALID";
  Expected& expected = expected_[volume.id()];
  expected = {};
  expected.heir = std::move(heir);
  expected.until_ns = store_.now_ns() + kHeirNsMax;
  return nullptr;
}

/// What replicators would judge by what members answer (E0, R3, M1) is plain here: the two are a majority of the only set that has
/// a say, neither has promised anything since the epoch that is given up, neither is recovering, and both have the same head.
bool HandOvers::may_take(const Volume& volume, const Epoch& leader_epoch, const Heir& heir,
                         const HandFrame& hand) const {
  const std::span<const ViewInForce> views = volume.views();
  if (views.size() != 1 || volume.recovering()) return false;
  const ViewPayload& view = views.back().payload;
  const auto is_voter_at = [&](const HostId& host) {
    return std::any_of(view.members.begin(), view.members.end(),
                       [&](const ViewMember& one) { return one.host == host && is_voter(one); });
  };
  const auto voters = std::count_if(view.members.begin(), view.members.end(), is_voter);
  const auto is_own = [&](const ViewMember& one) {
    return one.host == store_.identity.host && one.store == store_.identity.store &&
           one.role == MemberRole::data;
  };
  const VolumeState& made = volume.made();
  return voters <= 3 && std::any_of(view.members.begin(), view.members.end(), is_own) &&
         is_voter_at(leader_epoch.host) && same_set(view, heir.payload) && hand.head.epoch == leader_epoch &&
         made.epoch() == leader_epoch && made.lsn == hand.head.lsn && made.public_id == hand.head.version &&
         view.stamp_hash == stamp_hash(mask(hand.masked, heir.pad)) &&
         store_.has_promised(volume.id(), leader_epoch) &&
         store_.judge_promise(volume.id(), hand.next, leader_epoch).code == nullptr;
}

void HandOvers::on_hand(const VolumeId& volume, const Epoch& leader_epoch, bool is_on_disk,
                        const HandFrame& hand) {
  const auto at = expected_.find(volume);
  if (at == expected_.end() || at->second.heir.epoch != hand.next) return;
  Expected& expected = at->second;
  if (is_on_disk) {
    expected.is_given = expected.is_promised && expected.head == hand.head;
    return try_lead(volume);
  }
  const Volume* found = store_.find(volume);
  if (expected.is_promised || store_.now_ns() > expected.until_ns || found == nullptr ||
      !may_take(*found, leader_epoch, expected.heir, hand)) {
    expected_.erase(at);
    return;
  }
  expected.is_promised = true;
  expected.head = hand.head;
  expected.heir.payload.old_stamp = mask(hand.masked, expected.heir.pad);
  store_.promise_handed(volume, hand.next);
}

void HandOvers::try_lead(const VolumeId& volume) {
  const auto at = expected_.find(volume);
  if (at == expected_.end()) return;
  Expected& expected = at->second;
  const Epoch& epoch = expected.heir.epoch;
  if (store_.promised(volume) > epoch) {
    expected_.erase(at);
    return;
  }
  if (!expected.is_given || expected.is_elected || !store_.has_promised(volume, epoch)) return;
  Volume* found = store_.find(volume);
  expected.is_elected =
      found != nullptr && store_.lead(*found, epoch, expected.heir.stamp, expected.head) == nullptr;
  if (!expected.is_elected) expected_.erase(at);
}

void HandOvers::step() {
  for (auto at = going_.begin(); at != going_.end();) {
    const Going going = (at++)->second;
    // Which forgets it.
    if (going.until_ns != 0 && store_.now_ns() > going.until_ns) store_.streams.close(going.stream);
  }
  std::erase_if(expected_, [this](const auto& one) {
    const auto& [id, expected] = one;
    if (!expected.is_elected) return false;
    Volume* volume = store_.find(id);
    const Leader* leader = volume == nullptr ? nullptr : store_.leader_of(*volume);
    const ViewPayload& payload = expected.heir.payload;
    if (leader == nullptr || leader->epoch() != expected.heir.epoch) return true;
    // E4
    if (!leader->may_begin_view(false))
      return leader->stage() != Leader::Stage::fetch && leader->stage() != Leader::Stage::adopted;
    store_.begin_view(*volume, expected.heir.epoch, payload.old_stamp, payload, false, 0);
    return true;
  });
}

}  // namespace cloudfs
