#include <algorithm>

#include "core/store/commands.h"

#include "core/base/hex.h"
#include "core/store/arguments.h"

namespace cloudfs {

namespace {

// Payload of one `records` answer, about; who wants more asks again.
constexpr uint64_t kRecordsBytesMax = 16u << 20;

void refuse_witness(const Volume& volume) {
  if (volume.is_witness())
    throw Refused{"ERR_WITNESS", "this store is a witness of the volume: it keeps no data of it"};
}

void create(Store& store, const Json& arguments, uint64_t command, bool branch) {
  Store::Creation creation;
  creation.command = command;
  const Result<CreatePayload> payload = decode_create(bytes_of(arguments, "payload"));
  if (!payload.ok()) throw Refused{"ERR_PAYLOAD_INVALID", payload.error().message};
  const std::vector<ViewMember>& members = payload->view.members;
  if (std::none_of(members.begin(), members.end(), [&](const ViewMember& one) {
        return one.host == store.identity.host && one.store == store.identity.store &&
               one.role == MemberRole::data;
      }))
    throw Refused{"ERR_NOT_MEMBER",
                  "this store is not a data member of the view that the volume begins with"};
  creation.payload = *payload;
  const std::vector<uint8_t> stamp = bytes_of(arguments, "stamp");
  if (stamp.size() != creation.stamp.size()) throw Refused{"ERR_ARGUMENT", "a stamp has 32 bytes"};
  std::copy(stamp.begin(), stamp.end(), creation.stamp.begin());
  if (stamp_hash(creation.stamp) != payload->view.stamp_hash)
    throw Refused{"ERR_PAYLOAD_INVALID", "the view's stamp hash is not that of the stamp"};
  creation.epoch = epoch_of(arguments);
  if (branch) {
    const Exports::Found found = Exports::resolve(store, text_of(arguments, "from"));
    if (found.refusal != nullptr && std::string_view(found.refusal) == "ambiguous")
      throw Refused{"ERR_AMBIGUOUS_NAME", "several volumes have this name"};
    if (found.target.volume == nullptr)
      throw Refused{"ERR_UNKNOWN_VOLUME", "no volume or snapshot of this name is here"};
    refuse_witness(*found.target.volume);
    creation.branch_of = found.target.volume;
    creation.branch_of_snapshot = found.target.snapshot;
    if (arguments.contains("version")) {
      if (found.target.snapshot != 0) throw Refused{"ERR_ARGUMENT", "a snapshot is one version already"};
      creation.version = id_of<VersionId>(arguments, "version");
    }
  } else if (payload->parent) {
    throw Refused{"ERR_PAYLOAD_INVALID", "a creation with a parent is made by branch"};
  }
  store.create(std::move(creation));
}

/// Bytes of the log that hold the volume's records behind `lsn`, about: a segment's bytes are taken to be spread evenly
/// over its records. 0 = it lacks nothing.
uint64_t log_bytes_behind(const Store& store, const Volume& volume, Lsn lsn) {
  double bytes = 0;
  for (const Segment& segment : store.segments.places()) {
    if (segment.free()) continue;
    for (const LsnRange& range : segment.ranges) {
      if (range.volume != volume.id() || range.last <= lsn) continue;
      const Lsn first = std::max(range.first, lsn + 1);
      const auto lacking = static_cast<double>(range.last - first + 1);
      bytes += segment.used_bytes * (lacking / static_cast<double>(range.last - range.first + 1));
    }
  }
  return static_cast<uint64_t>(bytes);
}

Json describe_members(const Store& store, const Volume& volume, const Leader& leader) {
  Json list = Json::array();
  for (const MemberStatus& member : leader.members()) {
    Json& out = list.emplace_back();
    out = {{"host", to_hex(member.host)},
           {"store", to_hex(member.store)},
           {"state", member.state},
           {"appendedLsn", member.appended},
           {"syncedLsn", member.synced}};
    // Of one that has not been heard since the start nothing is known.
    if (member.appended > 0) out["behindBytes"] = log_bytes_behind(store, volume, member.appended);
  }
  return list;
}

Json describe_attach(const VolumeState& state) {
  const Result<AttachPayload> payload = decode_attach(state.attach);
  Json holders = Json::array();
  if (!payload.ok()) return {{"revision", 0}, {"holders", holders}};
  for (const Holder& holder : payload->holders)
    holders.push_back({{"session", to_hex(ByteSpan(holder.session))},
                       {"host", to_hex(holder.host)},
                       {"isShared", holder.shared},
                       {"socket", holder.socket}});
  return {{"revision", payload->revision}, {"holders", std::move(holders)}};
}

Json describe(const Store& store, const Volume& volume) {
  Json out;
  const VolumeState& state = volume.applied();
  out["volume"] = to_hex(volume.id());
  out["name"] = volume.name();
  out["sizeBytes"] = state.size_bytes;
  out["mode"] = name_of(state.mode);
  out["lsn"] = state.lsn;
  out["version"] = to_hex(state.public_id);
  out["committedLsn"] = volume.committed();
  out["syncedLsn"] = volume.synced();
  out["writable"] = volume.writable();
  out["established"] = volume.established();
  out["deleted"] = volume.deleted();
  out["witness"] = volume.is_witness();
  out["deletionCommitted"] = state.deleted;
  out["left"] = store.has_left(volume.id());
  out["serving"] = volume.replication() == nullptr || volume.replication()->serving();
  out["epoch"] = {{"counter", state.epoch().counter}, {"host", to_hex(state.epoch().host)}};
  const Epoch promised = store.promised(volume.id());
  out["promised"] = {{"counter", promised.counter}, {"host", to_hex(promised.host)}};
  out["role"] = store.role_of(volume);
  out["led"] = store.is_led(volume);
  out["view"] = to_hex(ByteSpan(state.view));
  out["attach"] = describe_attach(state);
  if (const auto& parent = volume.create_payload().parent) {
    out["parent"] = {
        {"volume", to_hex(parent->volume)}, {"lsn", parent->lsn}, {"version", to_hex(parent->public_id)}};
  }
  Json snapshots = Json::array();
  for (const auto& [id, node] : store.lineage.nodes()) {
    if (node.kind != NodeKind::named || node.volume != volume.id()) continue;
    snapshots.push_back({{"name", node.name},
                         {"lsn", node.lsn},
                         {"version", to_hex(node.version)},
                         {"sizeBytes", node.map.blocks() * kBlockBytes}});
  }
  out["snapshots"] = std::move(snapshots);
  if (const Leader* leader = store.leader_of(volume))
    out["members"] = describe_members(store, volume, *leader);
  return out;
}

const char* kind_name(SegmentKind kind) {
  return kind == SegmentKind::user ? "user" : kind == SegmentKind::moved ? "moved" : "index";
}

/// The volume that is or lately was at a version.
Volume* volume_at(const Store& store, const VersionId& version) {
  for (const auto& volume : store.volumes()) {
    if (volume->deleted() || !volume->established()) continue;
    if (volume->applied().public_id == version) return volume.get();
    if (store.lineage.find_shown(volume->head(), version) != 0) return volume.get();
  }
  return nullptr;
}

Json describe_segments(const Store& store) {
  Json list = Json::array();
  for (const Segment& segment : store.segments.places()) {
    if (segment.free()) continue;
    list.push_back({{"logical", segment.logical},
                    {"physical", segment.physical},
                    {"kind", kind_name(segment.kind)},
                    {"state", segment.state == PlaceState::open ? "open" : "sealed"},
                    {"usedBytes", segment.used_bytes},
                    {"liveBytes", uint64_t{segment.live} * kBlockBytes},
                    {"firstSequence", segment.first_sequence}});
  }
  return {{"segments", std::move(list)},
          {"free", store.segments.free_count()},
          {"reserved", store.params.reserved_segments}};
}

Json describe_stats(const Store& store) {
  return {{"appendedSequence", store.appender.appended()},
          {"syncedSequence", store.appender.synced()},
          {"logBytes", store.appender.log_bytes()},
          {"unsyncedBytes", store.appender.unsynced_bytes()},
          {"liveBytes", store.segments.live_blocks() * kBlockBytes},
          {"freeSegments", store.segments.free_count()},
          {"mapPages", store.pages.node_count()},
          {"mapDirtyPages", store.pages.dirty_count()},
          {"mapBytes", store.pages.memory_bytes()},
          {"checkpoints", store.checkpoint.published()},
          {"checkpointBytes", store.checkpoint.written_bytes()},
          {"checkpointNs", store.checkpoint.spent_ns()},
          {"checkpointLogBytes", store.checkpoint.log_bytes_behind()},
          {"versions", store.lineage.nodes().size() - store.lineage.bare_count()},
          {"shownVersions", store.lineage.bare_count()},
          {"shownSteps", store.lineage.step_count()},
          {"volumes", store.volumes().size()},
          {"blocksCorrupt", store.repairs.counts.corrupt},
          {"blocksRepaired", store.repairs.counts.repaired},
          {"blocksUnrepaired", store.repairs.counts.unrepaired},
          {"blocksGiven", store.repairs.counts.given},
          {"answersRefused", store.repairs.counts.refused},
          {"blocksScrubbed", store.repairs.counts.scrubbed}};
}

}  // namespace

void Commands::run(Store& store, const Exports& exports, const Command& command) {
  const Json arguments = Json::parse(command.arguments.empty() ? "{}" : command.arguments, nullptr, false);
  if (!arguments.is_object()) return refuse(command, "ERR_ARGUMENT", "arguments are not a JSON object");
  const std::string& verb = command.verb;
  try {
    if (verb == "create" || verb == "branch") {
      const uint64_t number = begin(command.id);
      try {
        create(store, arguments, number, verb == "branch");
      } catch (const Refused&) {
        pending_.erase(number);
        throw;
      }
    } else if (verb == "delete") {
      // By id also before its creation is committed: that is how one that never will be is given up.
      const bool by_id = parse_id<VolumeId>(text_of(arguments, "volume")).has_value();
      Volume& volume = by_id ? volume_by_id(store, arguments) : volume_of(store, arguments);
      if (exports.is_open(volume)) throw Refused{"ERR_VOLUME_BUSY", "a client has the volume open"};
      volume.control(RecordKind::remove, {}, begin(command.id));
    } else if (verb == "drop") {
      Volume& volume = volume_by_id(store, arguments);
      if (exports.is_open(volume) && !volume.writable())
        throw Refused{"ERR_VOLUME_BUSY", "a client has the volume open"};
      // Whoever found out that nobody needs this replica did so a moment ago, by the view of an epoch. If the store was taken in
      // again since, as it has to be known here before it votes, what it holds may count.
      if (flag_of(arguments, "left") &&
          store.is_member(volume, arguments.contains("epoch") ? epoch_of(arguments) : Epoch{}))
        throw Refused{"ERR_IS_MEMBER", "this store is a member of the volume, or is becoming one"};
      if (const char* code = store.try_drop(volume))
        throw Refused{code, "the replica cannot be dropped while its records are under way"};
      if (flag_of(arguments, "left")) {
        // It may join again, and knows nothing then (R4).
        volume.set_recovering(true);
        store.put_local(volume.id(), volume.made().epoch(), LocalKind::recovering, {1}, 0);
      }
      store.put_local(volume.id(), volume.made().epoch(), LocalKind::dropped, {}, begin(command.id));
    } else if (verb == "snapshot" || verb == "delete-snapshot") {
      Volume& volume = volume_of(store, arguments);
      const std::string name = text_of(arguments, "name");
      if (name.empty() || name.size() > kNameBytesMax || !is_utf8(as_bytes(name)))
        throw Refused{"ERR_ARGUMENT", "a snapshot's name has 1 to 255 bytes of UTF-8"};
      volume.control(verb == "snapshot" ? RecordKind::snapshot : RecordKind::snapshot_remove,
                     encode_snapshot_name(name), begin(command.id));
    } else if (verb == "resize") {
      Volume& volume = volume_of(store, arguments);
      const uint64_t size_bytes = number_of(arguments, "sizeBytes");
      if (size_bytes == 0 || !volume_bytes_valid(size_bytes))
        throw Refused{"ERR_MALFORMED_QUANTITY", "a size is a multiple of 4096, up to 2^62"};
      volume.control(RecordKind::resize, encode_resize(size_bytes), begin(command.id));
    } else if (verb == "attach") {
      Volume& volume = volume_of(store, arguments);
      volume.control(RecordKind::attach, encode_attach(attach_of(arguments)), begin(command.id));
    } else if (verb == "volumes") {
      const bool all = flag_of(arguments, "all");
      const bool one = arguments.contains("volume");
      const VolumeId only = one ? id_of<VolumeId>(arguments, "volume") : VolumeId{};
      Json list = Json::array();
      for (const auto& volume : store.volumes()) {
        if (one && volume->id() != only) continue;
        if (all || (!volume->deleted() && volume->established())) list.push_back(describe(store, *volume));
      }
      answer(command.id, list.dump());
    } else if (verb == "find-version") {
      const Volume* volume = volume_at(store, id_of<VersionId>(arguments, "version"));
      if (volume == nullptr)
        throw Refused{"ERR_UNKNOWN_VERSION",
                      "no volume is at this version, nor showed it in the last 10 s: "
                      "`cloudfs branch VOLUME` takes the newest state"};
      answer(command.id, Json{{"volume", to_hex(volume->id())}}.dump());
    } else if (verb == "checkpoint") {
      store.begin_checkpoint(begin(command.id));
    } else if (verb == "sync") {
      store.sync(begin(command.id));
    } else if (verb == "records") {
      Volume& volume = volume_of(store, arguments);
      refuse_witness(volume);
      const uint64_t bytes_max = std::min<uint64_t>(number_of(arguments, "bytesMax"), kRecordsBytesMax);
      const Lsn lsn = number_of(arguments, "lsn");
      store.records.read(volume, lsn, bytes_max, begin(command.id));
    } else if (verb == "audit") {
      store.audit(begin(command.id));
    } else if (verb == "clean") {
      const uint64_t logical = number_of(arguments, "logical");
      if (logical > UINT32_MAX) throw Refused{"ERR_MALFORMED_QUANTITY", "no segment has such an id"};
      store.cleaner.clean(static_cast<uint32_t>(logical), begin(command.id));
    } else if (verb == "scrub") {
      store.scrubber.scrub({number_of(arguments, "node"), number_of(arguments, "block")},
                           number_of(arguments, "blocksMax"), begin(command.id));
    } else if (verb == "segments") {
      answer(command.id, describe_segments(store).dump());
    } else if (verb == "stats") {
      answer(command.id, describe_stats(store).dump());
    } else if (verb == "put-local" || verb == "get-local") {
      const VolumeId volume = id_of<VolumeId>(arguments, "volume");
      const auto kind = static_cast<LocalKind>(number_of(arguments, "kind"));
      if (verb == "put-local") {
        const std::vector<uint8_t> bytes = bytes_of(arguments, "bytes");
        if (bytes.size() > 4096 || !local_item_valid(kind, bytes))
          throw Refused{"ERR_ARGUMENT", "not what a local item of this kind holds"};
        store.put_local(volume, arguments.contains("epoch") ? epoch_of(arguments) : Epoch{}, kind, bytes,
                        begin(command.id));
      } else {
        const LocalValue* value = store.locals.find(volume, kind);
        answer(
            command.id,
            (value == nullptr
                 ? Json{{"bytes", nullptr}}
                 : Json{{"bytes", to_hex(ByteSpan(value->bytes))},
                        {"epoch", {{"counter", value->epoch.counter}, {"host", to_hex(value->epoch.host)}}}})
                .dump());
      }
    } else if (!run_view_verb(store, arguments, command)) {
      throw Refused{"ERR_UNKNOWN_VERB", "no such command: " + verb};
    }
  } catch (const Refused& refused) {
    refuse(command, refused.code, refused.message);
    replies_.back().result = refused.result;
  }
}

uint64_t Commands::internal() {
  internal_ = begin(0);
  internal_failed_ = false;
  pending_[internal_].internal = true;
  return internal_;
}

uint64_t Commands::begin(uint64_t id) {
  const uint64_t number = next_++;
  pending_[number].id = id;
  return number;
}

void Commands::on_control_made(uint64_t command, const Volume& volume, Lsn lsn, const VersionId& version) {
  const auto at = pending_.find(command);
  if (at == pending_.end()) return;
  at->second.result =
      Json{{"volume", to_hex(volume.id())}, {"version", to_hex(version)}, {"lsn", lsn}}.dump();
}

void Commands::on_done(uint64_t command) {
  const auto at = pending_.find(command);
  if (at == pending_.end()) return;
  if (!at->second.internal) answer(at->second.id, std::move(at->second.result));
  pending_.erase(at);
}

void Commands::on_result(uint64_t command, std::string result, Slice payload) {
  const auto at = pending_.find(command);
  if (at == pending_.end()) return;
  if (!at->second.internal) answer(at->second.id, std::move(result), std::move(payload));
  pending_.erase(at);
}

void Commands::on_failed(uint64_t command, const char* code, std::string message) {
  const auto at = pending_.find(command);
  if (at == pending_.end()) return;
  if (at->second.internal) {
    internal_failed_ = true;
    pending_.erase(at);
    return;
  }
  CommandReply& reply = replies_.emplace_back();
  reply.id = at->second.id;
  reply.error_code = code;
  reply.message = std::move(message);
  pending_.erase(at);
}

void Commands::answer(uint64_t command, std::string result, Slice payload) {
  CommandReply& reply = replies_.emplace_back();
  reply.id = command;
  reply.result = std::move(result);
  reply.payload = std::move(payload);
}

void Commands::refuse(const Command& command, const char* code, std::string message) {
  CommandReply& reply = replies_.emplace_back();
  reply.id = command.id;
  reply.error_code = code;
  reply.message = std::move(message);
}

std::vector<CommandReply> Commands::take() {
  return std::exchange(replies_, {});
}

}  // namespace cloudfs
