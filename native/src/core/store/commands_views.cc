// Verbs of elections and views (docs/core.md, Commands).
#include "core/format/chain.h"
#include "core/store/arguments.h"
#include "core/store/commands.h"

namespace cloudfs {

namespace {

Json json_of(const Epoch& epoch) {
  return {{"counter", epoch.counter}, {"host", to_hex(epoch.host)}};
}

Epoch epoch_in(const Json& arguments, const char* name) {
  return epoch_of({{"epoch", argument(arguments, name)}});
}

Position head_of(const Json& arguments) {
  const Json& head = argument(arguments, "head");
  if (!head.is_object()) throw Refused{"ERR_ARGUMENT", "not an object: head"};
  return {number_of(head, "lsn"), epoch_of(head), id_of<VersionId>(head, "version")};
}

Stamp stamp_of(const Json& arguments, const char* name) {
  const std::vector<uint8_t> bytes = bytes_of(arguments, name);
  Stamp stamp;
  if (bytes.size() != stamp.size()) throw Refused{"ERR_ARGUMENT", "a stamp has 32 bytes"};
  std::copy(bytes.begin(), bytes.end(), stamp.begin());
  return stamp;
}

Json json_of(std::span<const ViewInForce> views) {
  Json out = Json::array();
  for (const ViewInForce& view : views)
    out.push_back({{"epoch", json_of(view.epoch)},
                   {"lsn", view.lsn},
                   {"payload", to_hex(ByteSpan(encode_view(view.payload)))}});
  return out;
}

/// What a replica says of itself with a promise.
Json standing(const Store& store, const VolumeId& id) {
  const Volume* found = store.find(id);
  if (found == nullptr) {
    const Epoch none;
    return {{"store", to_hex(store.identity.store)},
            {"promised", json_of(store.promised(id))},
            {"head", {{"epoch", json_of(none)}, {"lsn", 0}, {"version", to_hex(VersionId{})}}},
            {"committedLsn", 0},
            {"recovering", false},
            {"nonce", ""},
            {"views", Json::array()}};
  }
  const Volume& volume = *found;
  const VolumeState& made = volume.made();
  return {
      {"store", to_hex(store.identity.store)},
      {"promised", json_of(store.promised(volume.id()))},
      {"head", {{"epoch", json_of(made.epoch())}, {"lsn", made.lsn}, {"version", to_hex(made.public_id)}}},
      {"committedLsn", volume.committed()},
      {"recovering", volume.recovering()},
      {"nonce", to_hex(ByteSpan(volume.create_payload().nonce))},
      {"views", json_of(volume.views())}};
}

Volume& kept_volume(const Store& store, const Json& arguments) {
  Volume& volume = volume_by_id(store, arguments);
  if (volume.applied().deleted) throw Refused{"ERR_UNKNOWN_VOLUME", "the volume is deleted"};
  return volume;
}

[[noreturn]] void refuse_stranger() {
  throw Refused{"ERR_NOT_MEMBER", "this store is not in the volume's view"};
}

/// A replica of this store that is a member.
Volume& replica_of(const Store& store, const Json& arguments) {
  Volume& volume = kept_volume(store, arguments);
  if (!store.is_member(volume)) refuse_stranger();
  return volume;
}

/// A replica of this store that promises: a member's, or that of one which is left out, and is kept for others may not know yet
/// that they can do without it (M1): they are told here. A copy was never in a view, and promises nobody.
Volume& promising_replica(const Store& store, const Json& arguments) {
  Volume& volume = kept_volume(store, arguments);
  if (!store.is_member(volume) && !store.has_promised_anybody(volume.id())) refuse_stranger();
  return volume;
}

/// As promising_replica(), or a volume of which nothing is here yet. A store that was told of anything has its creation synced
/// (V1), so having nothing is evidence as any head is.
VolumeId promising(const Store& store, const Json& arguments) {
  const VolumeId id = id_of<VolumeId>(arguments, "volume");
  if (store.find(id) == nullptr && store.may_promise_unseen(id)) return id;
  return promising_replica(store, arguments).id();
}

uint64_t to_ms(uint64_t ns) {
  return (ns + 999'999) / 1'000'000;
}

std::string explain(const char* code) {
  const std::string_view text = code;
  if (text == "ERR_EPOCH_STALE") return "this host has not promised itself this epoch, or has used it";
  if (text == "ERR_IS_PRIMARY") return "this host leads the volume";
  if (text == "ERR_NOT_PRIMARY") return "this host does not lead the volume";
  if (text == "ERR_VOLUME_BUSY") return "updates are under way: ask again when clients pause";
  if (text == "ERR_NOT_MEMBER") return "this store is no member with data: it has not everything";
  if (text == "ERR_HEAD_NOT_HELD") return "no majority holds the head that was adopted";
  if (text == "ERR_STORE_FULL") return "no free segment was left for the stamp of the new view";
  if (text == "ERR_SET_CHANGE")
    return "the set cannot be changed so: one change at a time, and who joins is a learner that has "
           "everything";
  if (text == "ERR_STAMP_MISMATCH") return "the stamp is not the one that the head was made with";
  return "the view is not one that this host can make here: primary and stamps must fit";
}

}  // namespace

bool Commands::run_view_verb(Store& store, const Json& arguments, const Command& command) {
  const std::string& verb = command.verb;
  const auto refuse_if = [](const char* code) {
    if (code != nullptr) throw Refused{code, explain(code)};
  };
  if (verb == "promise" || verb == "would-promise") {
    const VolumeId id = promising(store, arguments);
    const Volume* volume = store.find(id);
    const Epoch epoch = epoch_of(arguments);
    std::optional<Epoch> resigned;
    if (arguments.contains("resigned")) resigned = epoch_in(arguments, "resigned");
    const Store::Judgement judged = store.judge_promise(id, epoch, resigned);
    if (verb == "would-promise") {
      Json out = standing(store, id);
      out["would"] = judged.code == nullptr;
      out["remainingMs"] = to_ms(judged.remaining_ns);
      out["role"] = volume == nullptr ? "follower" : store.role_of(*volume);
      // Nobody stands for what it has not seen: its word on the mode counts nowhere.
      out["mode"] = name_of(volume == nullptr ? Mode::quorum : volume->made().mode);
      answer(command.id, out.dump());
      return true;
    }
    // Whoever forces it has been told that the primary is gone for good.
    const bool passes = flag_of(arguments, "force") && judged.is_local;
    if (judged.code != nullptr && !passes) {
      const Json result = {{"promised", json_of(store.promised(id))},
                           {"remainingMs", to_ms(judged.remaining_ns)}};
      throw Refused{judged.code, judged.message, result.dump()};
    }
    store.promise(id, epoch, begin(command.id));
  } else if (verb == "lead") {
    Volume& volume = replica_of(store, arguments);
    const Lsn known = arguments.contains("knownLsn") ? number_of(arguments, "knownLsn") : 0;
    refuse_if(
        store.lead(volume, epoch_of(arguments), stamp_of(arguments, "stamp"), head_of(arguments), known));
    answer(command.id, "{}");
  } else if (verb == "begin-view") {
    Volume& volume = replica_of(store, arguments);
    const Epoch epoch = epoch_of(arguments);
    std::optional<Stamp> old_stamp;
    if (!flag_of(arguments, "force")) old_stamp = stamp_of(arguments, "oldStamp");
    const Result<ViewPayload> payload = decode_view(bytes_of(arguments, "payload"));
    if (!payload.ok()) throw Refused{"ERR_PAYLOAD_INVALID", payload.error().message};
    const bool restart = flag_of(arguments, "restart");
    const uint64_t number = begin(command.id);
    const char* code = store.begin_view(volume, epoch, old_stamp, *payload, restart, number);
    if (code != nullptr) pending_.erase(number);
    refuse_if(code);
  } else if (verb == "resign") {
    Volume& volume = replica_of(store, arguments);
    const uint64_t number = begin(command.id);
    std::optional<Epoch> next;
    if (arguments.contains("next")) next = epoch_in(arguments, "next");
    std::optional<Stamp> pad;
    if (arguments.contains("pad")) pad = stamp_of(arguments, "pad");
    const char* code = store.resign(volume, next, pad, number);
    if (code != nullptr) pending_.erase(number);
    refuse_if(code);
  } else if (verb == "expect-hand") {
    const Volume& volume = replica_of(store, arguments);
    const Result<ViewPayload> payload = decode_view(bytes_of(arguments, "payload"));
    if (!payload.ok()) throw Refused{"ERR_PAYLOAD_INVALID", payload.error().message};
    refuse_if(store.hand_overs.expect(
        volume, {epoch_of(arguments), stamp_of(arguments, "stamp"), *payload, stamp_of(arguments, "pad")}));
    answer(command.id, "{}");
  } else if (verb == "slice-check") {
    const Volume& volume = replica_of(store, arguments);
    const Position head = head_of(arguments);
    // E4: only to whom it has promised, and for a head that it has.
    if (!store.has_promised(volume.id(), epoch_of(arguments)))
      throw Refused{"ERR_EPOCH_STALE", "this replica has promised another epoch",
                    Json{{"promised", json_of(store.promised(volume.id()))}}.dump()};
    if (volume.own().appended < head.lsn || volume.version_at(head.lsn) != head.version)
      throw Refused{"ERR_HEAD_NOT_HELD", "this replica does not hold that head"};
    answer(command.id, Json{{"view", to_hex(ByteSpan(volume.state_at(head.lsn).view))},
                            {"nonce", to_hex(ByteSpan(volume.create_payload().nonce))}}
                           .dump());
  } else {
    return false;
  }
  return true;
}

void Commands::on_promised(uint64_t command, const Store& store, const VolumeId& volume) {
  const auto at = pending_.find(command);
  if (at == pending_.end()) return;
  Json out = standing(store, volume);
  // Who resigns says more.
  if (Json result = Json::parse(at->second.result); !result.empty()) {
    result["promise"] = std::move(out);
    out = std::move(result);
  }
  on_result(command, out.dump(), {});
}

}  // namespace cloudfs
