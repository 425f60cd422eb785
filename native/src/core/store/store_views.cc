// Who may write a volume: promises, elected leaders, their views (docs/protocol.md; rules are named by its letters).
#include <algorithm>

#include "core/base/hex.h"
#include "core/store/store.h"

namespace cloudfs {

namespace {

std::string epoch_text(const Epoch& epoch) {
  return std::to_string(epoch.counter) + "." + to_hex(epoch.host);
}

std::string epoch_json(const Epoch& epoch) {
  return "{\"counter\":" + std::to_string(epoch.counter) + ",\"host\":\"" + to_hex(epoch.host) + "\"}";
}

// Promises kept for volumes of which nothing is here: one stays until its volume has come, which may be never.
constexpr size_t kUnseenPromisesMax = 4096;
// A primary that resigns has all it made applied by then, or stays.
constexpr uint64_t kResignNsMax = 1'000'000'000;

/// Of the newest view.
bool is_primary(const Volume& volume, const HostId& host) {
  return volume.views().back().payload.primary == host;
}

}  // namespace

// --- Promises -----------------------------------------------------------------------------------------------------

Epoch Store::promised(const VolumeId& id) const {
  const Volume* volume = find(id);
  return volume == nullptr ? promises_.of(id) : std::max(promises_.of(id), volume->made().epoch());
}

bool Store::may_promise_unseen(const VolumeId& id) const {
  // What was here is not unseen.
  if (is_dropped(id)) return false;
  if (promises_.of(id) != Epoch{}) return true;
  size_t unseen = 0;
  for (const auto& [key, value] : locals.values())
    if (key.second == LocalKind::promise && find(key.first) == nullptr) ++unseen;
  return unseen < kUnseenPromisesMax;
}

Store::Judgement Store::judge_promise(const VolumeId& id, const Epoch& epoch,
                                      const std::optional<Epoch>& resigned) const {
  const Volume* volume = find(id);
  const Epoch so_far = promised(id);
  Judgement judged;
  // E2. A lease of an epoch before the one promised is none any more: who was elected since has promises of a majority.
  const auto grant = leases_.granted(id, now_ns_);
  if (grant && grant->epoch >= so_far && grant->epoch.host != epoch.host && grant->epoch != resigned)
    judged.remaining_ns = grant->until_ns - now_ns_;
  // E1. Asked again, it says the same again.
  if (epoch < so_far) {
    judged.code = "ERR_EPOCH_STALE";
    judged.message = "this replica has promised " + epoch_text(so_far);
  } else if (epoch > so_far && judged.remaining_ns > 0) {
    judged.code = "ERR_LEASE_RUNS";
    judged.message = "a lease runs that this replica has granted, or may have before its start";
  } else if (epoch > so_far && volume != nullptr && volume->made().mode == Mode::local &&
             !is_primary(*volume, epoch.host)) {
    judged.code = "ERR_LOCAL_PRIMARY";
    judged.is_local = true;
    judged.message =
        "in mode local the primary acknowledges alone: no other host can know that it has everything";
  }
  return judged;
}

void Store::promise(const VolumeId& id, const Epoch& epoch, uint64_t command) {
  if (epoch > promised(id)) {
    // E1: from now on, not from the sync on.
    if (Volume* volume = find(id); volume != nullptr) step_down(*volume, epoch);
    raise_promise(id, epoch, epoch.host == identity.host);
    if (const auto at = followers_.find(id); at != followers_.end()) at->second->end();
  }
  const bool is_others = epoch.host != identity.host;
  if (promises_.is_synced(id) || (params.plant == Plant::unsynced_promise && is_others)) {
    commands_.on_promised(command, *this, id);
    return;
  }
  if (!promises_.is_under_way(id)) raise_promise(id, epoch, epoch.host == identity.host);
  promises_.wait(id, command);
}

bool Store::try_promise(const VolumeId& id, const Epoch& epoch) {
  const Epoch so_far = promised(id);
  // It may never come to be here.
  if (find(id) == nullptr && so_far == Epoch{}) return true;
  if (so_far == epoch && promises_.is_synced(id)) return true;
  if (so_far < epoch || (so_far == epoch && !promises_.is_under_way(id))) raise_promise(id, epoch, false);
  return false;
}

void Store::raise_promise(const VolumeId& id, const Epoch& epoch, bool to_candidate) {
  const uint64_t number = promises_.raise(id, epoch, to_candidate);
  put_local(id, epoch, LocalKind::promise, Promises::item(epoch), kPromiseItem | number);
}

void Store::promise_settled(uint64_t number, bool is_synced) {
  const Promises::Settled settled = promises_.settle(number, is_synced);
  for (const uint64_t command : settled.waiting) {
    if (is_synced) {
      commands_.on_promised(command, *this, settled.volume);
    } else {
      commands_.on_failed(command, "ERR_STORE_FULL", "the promise could not be logged");
    }
  }
  hand_overs.on_promise_settled(settled.volume);
  if (const auto at = followers_.find(settled.volume); at != followers_.end()) at->second->on_advanced();
}

const char* Store::role_of(const Volume& volume) const {
  if (volume.writable()) return "primary";
  return leader_of(volume) != nullptr ? "elected" : "follower";
}

bool Store::is_led(const Volume& volume) const {
  return volume.writable() || leases_.granted(volume.id(), now_ns_).has_value();
}

// --- Leaders ------------------------------------------------------------------------------------------------------

void Store::step_down(Volume& volume, const Epoch& promised_epoch) {
  const auto at = leaders_.find(volume.id());
  if (!volume.writable() && at == leaders_.end()) return;
  volume.step_down();
  if (at != leaders_.end()) {
    at->second->retire(promised_epoch, hand_overs.kept(volume.id()));
    retired_.push_back(std::move(at->second));
    leaders_.erase(at);
  }
  Follower& follower = follower_of(volume.id());
  follower.adopt(volume);
  volume.set_replication(&follower);
  event("stepped-down",
        "{\"volume\":\"" + to_hex(volume.id()) + "\",\"promised\":" + epoch_json(promised_epoch) + "}");
}

const char* Store::lead(Volume& volume, const Epoch& epoch, const Stamp& stamp, const Position& head,
                        Lsn known) {
  if (volume.writable() || leaders_.contains(volume.id())) return "ERR_IS_PRIMARY";
  // An epoch is used once: what another life of this store made of it is not known here.
  if (epoch.host != identity.host || promised(volume.id()) != epoch ||
      !promises_.is_fresh(volume.id(), epoch))
    return "ERR_EPOCH_STALE";
  promises_.use(volume.id());
  follower_of(volume.id()).end();
  put_local(volume.id(), epoch, LocalKind::stamp, {stamp.begin(), stamp.end()}, 0);
  add_leader(volume, epoch).begin_elected(head, known);
  return nullptr;
}

const char* Store::begin_view(Volume& volume, const Epoch& epoch, const std::optional<Stamp>& old_stamp,
                              const ViewPayload& payload, bool restart, uint64_t command) {
  const auto at = leaders_.find(volume.id());
  if (at == leaders_.end() || at->second->epoch() != epoch) return "ERR_EPOCH_STALE";
  Leader& leader = *at->second;
  // E4
  const bool forced = !old_stamp;
  if (!leader.may_begin_view(forced)) return "ERR_HEAD_NOT_HELD";
  const ViewPayload& before = volume.views().back().payload;
  // Who forces it knows no token: the record names the head by its public id.
  const Token token =
      old_stamp ? token_of(*old_stamp, volume.head_link()) : Token{volume.made().public_id.bytes};
  if (old_stamp &&
      (before.stamp_hash != stamp_hash(*old_stamp) || public_of(token) != volume.made().public_id))
    return "ERR_STAMP_MISMATCH";
  const std::optional<Stamp> stamp = locals.stamp(volume.id(), epoch);
  if (!stamp) return "ERR_STORE_FULL";
  const auto is_primary = [&](const ViewMember& one) {
    return one.host == identity.host && one.store == identity.store && one.role == MemberRole::data;
  };
  if (payload.primary != identity.host || payload.stamp_hash != stamp_hash(*stamp) ||
      payload.old_stamp != old_stamp ||
      std::none_of(payload.members.begin(), payload.members.end(), is_primary))
    return "ERR_PAYLOAD_INVALID";
  if (forced) {
    if (const char* code = force_refusal(volume, payload); code != nullptr) return code;
    volume.begin_view({epoch, *stamp, token, encode_view(payload), kFlagRestart | kFlagForce, command});
    leader.begin_view(payload);
    return nullptr;
  }
  // R3: a restart is judged by the set that there is.
  if (!same_set(payload, before) && (restart || leader.change_refusal(payload) != nullptr))
    return "ERR_SET_CHANGE";
  const uint8_t flags = restart ? kFlagRestart : 0;
  volume.begin_view({epoch, *stamp, token, encode_view(payload), flags, command});
  leader.begin_view(payload);
  return nullptr;
}

/// It goes on alone, with all that it has: others learn from it.
const char* Store::force_refusal(const Volume& volume, const ViewPayload& payload) const {
  const auto is_own = [&](const ViewMember& one) {
    return one.host == identity.host && one.store == identity.store && one.role == MemberRole::data;
  };
  const std::vector<ViewMember>& before = volume.views().back().payload.members;
  if (std::none_of(before.begin(), before.end(), is_own)) return "ERR_NOT_MEMBER";
  return payload.members.size() == 1 && is_own(payload.members[0]) ? nullptr : "ERR_SET_CHANGE";
}

const char* Store::resign(Volume& volume, const std::optional<Epoch>& next, const std::optional<Stamp>& pad,
                          uint64_t command) {
  if (!volume.writable()) return "ERR_NOT_PRIMARY";
  const auto at = leaders_.find(volume.id());
  if (at != leaders_.end() && !at->second->serving()) return "ERR_NOT_PRIMARY";
  const auto is_under_way = [&](const Resignation& one) { return one.volume == volume.id(); };
  if (std::any_of(resignations_.begin(), resignations_.end(), is_under_way)) return "ERR_VOLUME_BUSY";
  volume.hold(true);
  resignations_.push_back({volume.id(), next, pad, command, now_ns_ + kResignNsMax});
  return nullptr;
}

void Store::mind_resignations() {
  std::erase_if(resignations_, [this](const Resignation& one) {
    Volume& volume = *find(one.volume);
    const char* code = nullptr;
    const char* message = nullptr;
    if (!volume.writable()) {
      code = "ERR_NOT_PRIMARY";
      message = "the host has promised another epoch meanwhile";
    } else if (!volume.drained() && now_ns_ >= one.until_ns) {
      code = "ERR_VOLUME_BUSY";
      message = "updates that are under way are not committed in time";
    } else if (!volume.drained()) {
      return false;
    }
    volume.hold(false);
    if (code == nullptr) {
      give_up_epoch(volume, one);
    } else {
      make_soon(volume);
      commands_.on_failed(one.command, code, message);
    }
    return true;
  });
}

/// It is drained, so whoever has its head has everything. What clients ask for and is no record yet ends unanswered.
void Store::give_up_epoch(Volume& volume, const Resignation& resignation) {
  const Epoch epoch = volume.made().epoch();
  const std::optional<Stamp> stamp = locals.stamp(volume.id(), epoch);
  ensure(stamp.has_value(), "a primary has logged its stamp");
  commands_.set_result(resignation.command,
                       "{\"epoch\":" + epoch_json(epoch) + ",\"head\":{\"epoch\":" + epoch_json(epoch) +
                           ",\"lsn\":" + std::to_string(volume.made().lsn) + ",\"version\":\"" +
                           to_hex(volume.made().public_id) + "\"},\"token\":\"" +
                           to_hex(token_of(*stamp, volume.head_link())) + "\",\"stamp\":\"" +
                           to_hex(ByteSpan(*stamp)) + "\"}");
  // A stamp of no epoch: no later life goes on in this one.
  const auto forget_stamp = [&](uint64_t command) {
    put_local(volume.id(), {}, LocalKind::stamp, std::vector<uint8_t>(stamp->size()), command);
  };
  const std::optional<Epoch>& next = resignation.next;
  if (next && !judge_promise(volume.id(), *next, {}).code) {
    forget_stamp(0);
    const Position head{volume.made().lsn, epoch, volume.made().public_id};
    if (const Leader* leader = leader_of(volume); leader != nullptr && resignation.pad)
      hand_overs.resign(volume, *leader, {epoch, *next, head, *stamp, *resignation.pad});
    promise(volume.id(), *next, resignation.command);
  } else {
    step_down(volume, epoch);
    forget_stamp(resignation.command);
  }
}

// --- Leases -------------------------------------------------------------------------------------------------------

bool Store::may_grant(const VolumeId& id, const Epoch& epoch) const {
  const Volume* volume = find(id);
  // L1. With the record of that view goes the length of its leases.
  return volume != nullptr && !volume->recovering() && volume->made().epoch() == epoch &&
         has_promised(id, epoch);
}

uint64_t Store::lease_ns(const VolumeId& id) const {
  return uint64_t{find(id)->views().back().payload.lease_ms} * 1'000'000;
}

void Store::on_leases_moved(const StoreId& store) {
  for (const auto& [id, leader] : leaders_) leader->on_leases_moved(store);
}

void Store::on_grants_over(const std::vector<VolumeId>& volumes) {
  std::string list;
  for (const VolumeId& id : volumes) list += (list.empty() ? "\"" : ",\"") + to_hex(id) + "\"";
  event("lease-over", "{\"volumes\":[" + list + "]}");
}

void Store::on_lease_lost(const Volume& volume) {
  event("lease-lost", "{\"volume\":\"" + to_hex(volume.id()) + "\"}");
}

void Store::on_lease_back(const Volume& volume) {
  event("lease-back", "{\"volume\":\"" + to_hex(volume.id()) + "\"}");
}

// --- Recovering ---------------------------------------------------------------------------------------------------

void Store::restore_recovering() {
  for (const auto& volume : volumes_) {
    const LocalValue* value = locals.find(volume->id(), LocalKind::recovering);
    volume->set_recovering(value != nullptr && value->bytes[0] == 1);
  }
}

void Store::mark_recovering(uint64_t command) {
  for (const auto& volume : volumes_) {
    volume->set_recovering(true);
    put_local(volume->id(), volume->made().epoch(), LocalKind::recovering, {1},
              volume == volumes_.back() ? command : 0);
  }
}

// --- What leaders and followers tell ------------------------------------------------------------------------------

void Store::on_recovered(Volume& volume) {
  volume.set_recovering(false);
  put_local(volume.id(), volume.made().epoch(), LocalKind::recovering, {0}, 0);
  event("recovered", "{\"volume\":\"" + to_hex(volume.id()) + "\"}");
}

void Store::on_epoch_refused(const Volume& volume, const Epoch& promised_epoch) {
  event("epoch-refused",
        "{\"volume\":\"" + to_hex(volume.id()) + "\",\"promised\":" + epoch_json(promised_epoch) + "}");
}

void Store::on_adopted(const Volume& volume, const Epoch& epoch,
                       const std::vector<const ViewMember*>& holders) {
  std::string list;
  for (const ViewMember* holder : holders)
    list += std::string(list.empty() ? "" : ",") + "{\"host\":\"" + to_hex(holder->host) + "\",\"store\":\"" +
            to_hex(holder->store) + "\"}";
  event("adopted", "{\"volume\":\"" + to_hex(volume.id()) + "\",\"epoch\":" + epoch_json(epoch) +
                       ",\"holders\":[" + list + "]}");
}

void Store::on_leading(Volume& volume, const Epoch& epoch) {
  // It has all of its own epoch.
  if (volume.recovering()) on_recovered(volume);
  event("leading", "{\"volume\":\"" + to_hex(volume.id()) + "\",\"epoch\":" + epoch_json(epoch) + "}");
}

}  // namespace cloudfs
