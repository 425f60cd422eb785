#include "core/store/hand_overs.h"

#include <algorithm>

#include "core/base/hex.h"
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

/// Two hosts decide by themselves where they are a majority of all sets that have a say.
const char* set_refusal(const Volume& volume) {
  const std::span<const ViewInForce> views = volume.views();
  if (views.size() != 1) return "a change of the set is not known to be committed";
  const std::vector<ViewMember>& members = views.back().payload.members;
  return std::count_if(members.begin(), members.end(), is_voter) <= 3 ? nullptr : "two are no majority";
}

/// What replicators would judge by what members answer (E0, R3, M1) is plain here: the two are a majority of the only set that has
/// a say, neither has promised anything since the epoch that is given up, neither is recovering, and both have the same head.
const char* take_refusal(const Store& store, const Volume& volume, const Epoch& leader_epoch,
                         const HandOvers::Heir& heir, const HandFrame& hand) {
  if (const char* why = set_refusal(volume); why != nullptr) return why;
  if (volume.recovering()) return "this replica is recovering";
  const ViewPayload& view = volume.views().back().payload;
  const auto is_voter_at = [&](const HostId& host) {
    return std::any_of(view.members.begin(), view.members.end(),
                       [&](const ViewMember& one) { return one.host == host && is_voter(one); });
  };
  const auto is_own = [&](const ViewMember& one) {
    return one.host == store.identity.host && one.store == store.identity.store &&
           one.role == MemberRole::data;
  };
  if (std::none_of(view.members.begin(), view.members.end(), is_own) || !is_voter_at(leader_epoch.host))
    return "one of the two is no member";
  if (!same_set(view, heir.payload)) return "the set has changed since the view was made";
  const VolumeState& made = volume.made();
  if (hand.head.epoch != leader_epoch || made.epoch() != leader_epoch || made.lsn != hand.head.lsn ||
      made.public_id != hand.head.version)
    return "this replica has another head";
  if (view.stamp_hash != stamp_hash(mask(hand.masked, heir.pad))) return "the stamp is hidden by another pad";
  if (!store.has_promised(volume.id(), leader_epoch)) return "another epoch is promised";
  return store.judge_promise(volume.id(), hand.next, leader_epoch).code;
}

/// The replicators do it then: their operator sees why the cores did not.
void refuse(Store& store, const VolumeId& volume, const char* why) {
  store.event("hand-refused", "{\"volume\":\"" + to_hex(volume) + "\",\"why\":" + json_text(why) + "}");
}

}  // namespace

// --- At the primary that resigns ----------------------------------------------------------------------------------

void HandOvers::resign(const Volume& volume, const Leader& leader, const Resigned& resigned) {
  const StreamId stream = leader.stream_to(resigned.next.host);
  if (stream == 0) return refuse(store_, volume.id(), "that host does not follow");
  if (const char* why = set_refusal(volume); why != nullptr) return refuse(store_, volume.id(), why);
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

void HandOvers::on_hand(const VolumeId& volume, const Epoch& leader_epoch, bool is_on_disk,
                        const HandFrame& hand) {
  const auto at = expected_.find(volume);
  if (at == expected_.end() || at->second.heir.epoch != hand.next) {
    if (!is_on_disk) refuse(store_, volume, "nothing is expected of it");
    return;
  }
  Expected& expected = at->second;
  if (is_on_disk) {
    expected.is_given = expected.is_promised && expected.head == hand.head;
    return try_lead(volume);
  }
  const Volume* found = store_.find(volume);
  const char* why = found == nullptr       ? "the volume is not here"
                    : expected.is_promised ? "it is handed over twice"
                    : store_.now_ns() > expected.until_ns
                        ? "it was expected long ago"
                        : take_refusal(store_, *found, leader_epoch, expected.heir, hand);
  if (why != nullptr) {
    expected_.erase(at);
    return refuse(store_, volume, why);
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
    const bool was_told = expected.is_promised;
    expected_.erase(at);
    if (was_told) refuse(store_, volume, "a later epoch is promised");
    return;
  }
  const bool is_given =
      expected.is_given || (expected.is_promised && store_.params.plant == Plant::heir_leads_at_first_word);
  if (!is_given || expected.is_elected || !store_.has_promised(volume, epoch)) return;
  Volume* found = store_.find(volume);
  const char* why = found == nullptr ? "the volume is not here"
                                     : store_.lead(*found, epoch, expected.heir.stamp, expected.head);
  expected.is_elected = why == nullptr;
  if (expected.is_elected) return;
  expected_.erase(at);
  refuse(store_, volume, why);
}

void HandOvers::step() {
  for (auto at = going_.begin(); at != going_.end();) {
    const Going going = (at++)->second;
    // Which forgets it.
    if (going.until_ns != 0 && store_.now_ns() > going.until_ns) store_.streams.close(going.stream);
  }
  std::erase_if(expected_, [this](const auto& one) {
    const auto& [id, expected] = one;
    // The second word has not come: it is another's to lead, and this host's replicator's to ask for it.
    if (!expected.is_elected) return store_.now_ns() > expected.until_ns;
    Volume* volume = store_.find(id);
    const Leader* leader = volume == nullptr ? nullptr : store_.leader_of(*volume);
    const ViewPayload& payload = expected.heir.payload;
    if (leader == nullptr || leader->epoch() != expected.heir.epoch) return true;
    // E4
    if (!leader->may_begin_view(false))
      return leader->stage() != Leader::Stage::fetch && leader->stage() != Leader::Stage::adopted;
    store_.begin_view(*volume, expected.heir.epoch, payload.old_stamp, payload, false, 0);
    const Epoch& epoch = expected.heir.epoch;
    store_.event("hand-taken", "{\"volume\":\"" + to_hex(id) +
                                   "\",\"epoch\":{\"counter\":" + std::to_string(epoch.counter) +
                                   ",\"host\":\"" + to_hex(epoch.host) + "\"}}");
    return true;
  });
}

}  // namespace cloudfs
