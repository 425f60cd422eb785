// Streams to other engines, and who replicates which volume.
#include <algorithm>

#include "core/base/hex.h"
#include "core/store/store.h"

namespace cloudfs {

void Store::on_history_begun(Volume& volume) {
  if (volume.writable() && !is_alone(volume)) {
    add_leader(volume, volume.made().epoch()).begin_new();
  } else {
    replicate(volume);
  }
}

/// Nobody else is a member.
bool Store::is_alone(const Volume& volume) const {
  return volume.views().size() == 1 && volume.views().back().payload.members.size() == 1 && is_member(volume);
}

/// As a follower, for now. A copy outside the view replicates nothing, but takes what it is given.
void Store::replicate(Volume& volume) {
  if (is_alone(volume)) return;
  Follower& follower = follower_of(volume.id());
  follower.adopt(volume);
  volume.set_replication(&follower);
}

Leader& Store::add_leader(Volume& volume, const Epoch& epoch) {
  auto& leader = leaders_[volume.id()];
  ensure(leader == nullptr, "a volume has one leader here");
  leader = std::make_unique<Leader>(volume, streams, io, segments, appender, identity,
                                    static_cast<LeaderHost&>(*this), leases_, epoch);
  volume.set_replication(leader.get());
  return *leader;
}

Follower& Store::follower_of(const VolumeId& volume) {
  auto& follower = followers_[volume];
  if (follower == nullptr)
    follower = std::make_unique<Follower>(volume, streams, io, segments, appender, identity,
                                          static_cast<ReplicaMaker&>(*this), staging, leases_);
  return *follower;
}

/// A primary goes on in its old view where nobody else can have made another.
void Store::resume(Volume& volume) {
  // One whose deletion is not committed yet needs its primary still.
  if (volume.applied().deleted) return;
  const Epoch epoch = volume.made().epoch();
  const std::optional<Stamp> stamp = locals.stamp(volume.id(), epoch);
  // E1: who promised another epoch is not the primary of its own any more.
  if (!stamp || promised(volume.id()) != epoch) return;
  if (params.elections && (volume.recovering() || volume.replication() != nullptr)) return;
  volume.resume(epoch, *stamp);
}

void Store::begin_replication() {
  for (const auto& volume : volumes_) {
    // More members than at the beginning.
    if (volume->replication() == nullptr) replicate(*volume);
    // E2: what an earlier life granted may run still.
    if (params.elections && volume->replication() != nullptr && !volume->applied().deleted)
      leases_.assume_granted(volume->id(), promised(volume->id()), now_ns_ + lease_ns(volume->id()));
    resume(*volume);
    // Of one member, which has to be elected to go on: nobody's lease is waited for.
    if (params.elections && volume->replication() == nullptr && volume->recovering() &&
        !volume->applied().deleted)
      leases_.assume_granted(volume->id(), promised(volume->id()), now_ns_);
    if (!volume->writable() || volume->replication() == nullptr) continue;
    // Until now it was a follower's: what it lacks of what its followers hold is asked for before clients are served.
    followers_.erase(volume->id());
    add_leader(*volume, volume->made().epoch());
  }
}

const Leader* Store::leader_of(const Volume& volume) const {
  const auto at = leaders_.find(volume.id());
  return at == leaders_.end() ? nullptr : at->second.get();
}

/// One that this store joined again has gone on to a later epoch.
bool Store::is_dropped(const VolumeId& id) const {
  const LocalValue* item = locals.find(id, LocalKind::dropped);
  const Volume* volume = find(id);
  return item != nullptr && (volume == nullptr || volume->made().epoch() <= item->epoch);
}

bool Store::has_left(const VolumeId& id) const {
  const LocalValue* recovering = locals.find(id, LocalKind::recovering);
  return is_dropped(id) && recovering != nullptr && recovering->bytes[0] == 1;
}

const char* Store::try_drop(Volume& volume) {
  if (volume.writable() || leaders_.contains(volume.id())) return "ERR_IS_PRIMARY";
  if (volume.applied().deleted) return nullptr;
  const auto follower = followers_.find(volume.id());
  if (follower != followers_.end() && follower->second->connected()) return "ERR_VOLUME_BUSY";
  return volume.try_drop() ? nullptr : "ERR_VOLUME_BUSY";
}

StreamId Store::open_to_follower(const VolumeId& id, const std::optional<HostId>& host,
                                 std::string& refusal) {
  const auto at = leaders_.find(id);
  if (at == leaders_.end()) {
    refusal = find(id) == nullptr ? "ERR_UNKNOWN_VOLUME" : "ERR_NOT_PRIMARY";
    return 0;
  }
  const StreamId stream = streams.open();
  if (stream == 0) {
    refusal = "ERR_TOO_MANY_STREAMS";
    return 0;
  }
  streams.attach(stream, *at->second);
  at->second->begin(stream, host);
  return stream;
}

bool Store::is_member(const ViewPayload& view) const {
  return std::any_of(view.members.begin(), view.members.end(), [&](const ViewMember& one) {
    return one.host == identity.host && one.store == identity.store;
  });
}

bool Store::is_witness(const ViewPayload& view) const {
  return std::any_of(view.members.begin(), view.members.end(), [&](const ViewMember& one) {
    return one.host == identity.host && one.store == identity.store && one.role == MemberRole::witness;
  });
}

bool Store::is_member(const Volume& volume, const Epoch& since) const {
  const std::span<const ViewInForce> views = volume.views();
  return std::any_of(views.begin(), views.end(),
                     [&](const ViewInForce& view) { return view.epoch >= since && is_member(view.payload); });
}

StreamId Store::open_to_leader(const VolumeId& id, bool copy, std::string& refusal) {
  if (leaders_.contains(id)) {
    refusal = "ERR_IS_PRIMARY";
    return 0;
  }
  // Members take from their primary alone what counts as committed.
  if (const Volume* volume = find(id); copy && volume != nullptr && is_member(*volume)) {
    refusal = "ERR_IS_MEMBER";
    return 0;
  }
  if (const Volume* volume = find(id); volume != nullptr) {
    // One deleted by a record follows still: its primary may have started again, and ask whether that is committed.
    const bool dropped = is_dropped(id) && !has_left(id);
    if (volume->replication() == nullptr || dropped) {
      refusal = dropped ? "ERR_UNKNOWN_VOLUME" : "ERR_NOT_MEMBER";
      return 0;
    }
  }
  const StreamId stream = streams.open();
  if (stream == 0) {
    refusal = "ERR_TOO_MANY_STREAMS";
    return 0;
  }
  Follower& follower = follower_of(id);
  streams.attach(stream, follower);
  follower.begin(stream, copy);
  return stream;
}

ReplicaMaker::Made Store::make_replica(const RunView& run, const Slice& bytes, bool copy) {
  const Result<CreatePayload> payload = decode_create((*run.records().begin()).payload());
  ensure(payload.ok(), "a run's payloads were checked");
  // Who joined later is no member of the first view.
  if (copy && is_member(payload->view)) return {.code = "ERR_IS_MEMBER"};
  NodeId parent = 0;
  // A witness has no blocks that a branch could stand on, and needs none.
  const bool stands_on_parent = payload->parent && !is_witness(payload->view);
  if (stands_on_parent) {
    const BranchParent found = find_branch_parent(*payload->parent);
    if (found == BranchParent::not_yet) return {};
    if (found == BranchParent::never) return {.needs_blocks = true};
  }
  if (appender.reserve(SegmentKind::user, SpaceClass::shrink, bytes.size, 0) != Room::ok) return {};
  if (stands_on_parent) parent = branch_node(*payload->parent);
  Volume& volume = add_volume();
  volume.create_replica(run, parent);
  list_volume(volume);
  event("volume-created", "{\"volume\":\"" + to_hex(volume.id()) + "\"}");
  return {.volume = &volume};
}

/// A branch stands on its parent's blocks: a snapshot must stand at the very update it left from, or the parent itself, with
/// nothing under way (recovery finds the branch's creation behind all of the parent's records that it stands on).
Store::BranchParent Store::find_branch_parent(const BranchPoint& point) {
  const Volume* parent = find(point.volume);
  if (parent == nullptr || parent->deleted() || parent->head() == 0) return BranchParent::never;
  // Its map is empty: a branch that keeps data here would read as zeros.
  if (parent->is_witness()) return BranchParent::never;
  for (NodeId id = lineage.node(parent->head()).parent; id != 0; id = lineage.node(id).parent) {
    const VersionNode& node = lineage.node(id);
    if (node.bare) continue;
    if (node.lsn == point.lsn)
      return node.version == point.public_id ? BranchParent::here : BranchParent::never;
    if (node.lsn < point.lsn) break;
  }
  const Lsn applied = parent->applied().lsn;
  if (applied > point.lsn) return BranchParent::never;
  if (applied == point.lsn && parent->applied().public_id != point.public_id) return BranchParent::never;
  if (applied == point.lsn && parent->drained()) return BranchParent::here;
  // It is behind, and on its way while its own stream stands.
  const auto follower = followers_.find(point.volume);
  const bool comes = follower != followers_.end() && follower->second->connected();
  return comes ? BranchParent::not_yet : BranchParent::never;
}

RepairSources Store::repair_sources(const VolumeId& id) const {
  RepairSources sources;
  const Volume* volume = find(id);
  if (volume == nullptr || volume->applied().deleted || is_alone(*volume)) return sources;
  if (const Leader* leader = leader_of(*volume)) {
    sources.epoch = leader->epoch();
    sources.may_grow = !leader->list_streams(sources.streams);
  } else if (const auto follower = followers_.find(id); follower != followers_.end()) {
    if (const StreamId stream = follower->second->leader_stream(sources.epoch); stream != 0)
      sources.streams.push_back(stream);
    sources.may_grow = sources.streams.empty();
  }
  return sources;
}

bool Store::on_repair_frame(StreamId stream, const VolumeId& volume, const Epoch& epoch,
                            const FrameView& frame) {
  if (frame.header.type == FrameType::block_ask) {
    const Result<BlockAskFrame> ask = decode_block_ask(frame);
    if (ask.ok()) block_answers_.on_ask(stream, volume, epoch, *ask);
    return ask.ok();
  }
  const Result<BlockAnswerFrame> answer = decode_block_answer(frame);
  if (answer.ok()) repairs.on_answer(stream, volume, *answer);
  return answer.ok();
}

uint64_t Store::want_checkpoint() {
  begin_checkpoint(0);
  return checkpoint.published() + (checkpoint.running() ? 2 : 1);
}

}  // namespace cloudfs
