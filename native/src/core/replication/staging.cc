#include "core/replication/staging.h"

#include <algorithm>
#include <array>
#include <set>

#include "core/base/hex.h"
#include "core/format/chain.h"

namespace cloudfs {

namespace {

constexpr size_t kBlocksPerRun = 256;
constexpr size_t kDigestsTogether = 16;
constexpr Volume::Accepted kWait{true, nullptr, nullptr};

/// Of the data blocks that follow one another from item `next` on, whose bodies begin at `body`. @returns how many
size_t digest_next(const BlocksFrame& blocks, size_t next, size_t body,
                   std::array<BlockDigest, kDigestsTogether>& out) {
  std::array<const uint8_t*, kDigestsTogether> at{};
  size_t count = 0;
  while (count < at.size() && next + count < blocks.items.size() &&
         blocks.items[next + count].zeroed_count == 0) {
    at[count] = blocks.bodies.data() + body + count * kBlockBytes;
    ++count;
  }
  block_digests(std::span(at).first(count), out);
  return count;
}

Volume::Accepted corrupt(const char* message) {
  return {false, "ERR_FRAME_CORRUPT", message};
}

/// The history described lacks what is committed here: a restart has taken it (docs/protocol.md, R3).
bool is_undone(const Volume& volume, const CompactFrame& frame, const CheckpointVolume& described) {
  return frame.from_lsn == 0 && described.epochs.back().epoch > volume.made().epoch() &&
         (frame.to_lsn < volume.committed() ||
          epoch_at(described.epochs, volume.committed()) > volume.made().epoch());
}

VolumeState state_of(const CheckpointVolume& from) {
  VolumeState state;
  state.lsn = from.applied_lsn;
  state.public_id = from.applied_public;
  state.size_bytes = from.size_bytes;
  state.mode = from.mode;
  state.deleted = (from.flags & kVolumeDeleted) != 0;
  state.epochs = from.epochs;
  state.view = from.view;
  state.attach = from.attach;
  state.sessions = from.sessions;
  return state;
}

}  // namespace

Staging::Transfer& Staging::at(TransferId transfer) {
  const auto found = transfers_.find(transfer);
  ensure(found != transfers_.end(), "a transfer that is named is open");
  return *found->second;
}

// --- Opening ------------------------------------------------------------------------------------------------------

/// Checks what the primary says of the volume: it comes from another host.
Volume::Accepted Staging::describe(const VolumeId& id, const CompactFrame& frame, Transfer& out) {
  Result<CheckpointVolume> described = decode_checkpoint_volume(frame.volume);
  if (!described) return corrupt(described.error().message);
  CheckpointVolume& state = *described;
  const Result<CreatePayload> create = decode_create(state.create);
  const Result<ViewPayload> view = decode_view(state.view);
  if (!create.ok() || !view.ok() || state.id != id || state.head_node != 0 || state.name != create->name ||
      state.size_bytes == 0 || state.size_bytes != frame.size_bytes || state.applied_lsn != frame.to_lsn ||
      frame.from_lsn > frame.to_lsn || state.epochs.empty() ||
      link_epoch(state.applied_link) != state.epochs.back().epoch)
    return corrupt("a description that does not fit the volume");
  const Lsn first = create->parent ? create->parent->lsn + 1 : 1;
  Lsn last = first;
  for (const CheckpointEpoch& epoch : state.epochs) {
    const bool is_first = &epoch == &state.epochs.front();
    if (is_first ? epoch.first_lsn != first : epoch.first_lsn <= last)
      return corrupt("a description whose epochs do not follow each other");
    last = epoch.first_lsn;
  }
  if (last > state.applied_lsn) return corrupt("a description whose epochs begin behind its end");
  if (std::none_of(view->members.begin(), view->members.end(), [&](const ViewMember& one) {
        return one.host == parts_.identity.host && one.store == parts_.identity.store;
      }))
    return {false, "ERR_NOT_MEMBER", "this host and store are not in the volume's view"};
  std::set<std::string> names;
  Lsn before = 0;
  for (const SnapshotItem& snapshot : frame.snapshots) {
    if (snapshot.lsn <= before || snapshot.lsn > frame.to_lsn || !volume_bytes_valid(snapshot.size_bytes) ||
        snapshot.size_bytes == 0 || !is_utf8(as_bytes(snapshot.name)) || !names.insert(snapshot.name).second)
      return corrupt("a description whose snapshots do not follow each other");
    before = snapshot.lsn;
  }
  out.id = id;
  out.state = std::move(state);
  out.snapshots = frame.snapshots;
  return {};
}

Volume::Accepted Staging::open(const VolumeId& id, const Epoch& epoch, const CompactFrame& frame,
                               TransferId& transfer) {
  auto made = std::make_unique<Transfer>();
  if (const Volume::Accepted described = describe(id, frame, *made); described.code != nullptr)
    return described;
  if (made->state.epochs.back().epoch > epoch) return corrupt("a description of a later epoch");
  Volume* volume = parts_.host.find(id);
  if (volume == nullptr) {
    if (frame.from_lsn != 0)
      return {false, "ERR_CHAIN_BROKEN", "blocks on top of a history that is not here"};
    if ((made->state.flags & kVolumeDeleted) != 0)
      return {false, "ERR_UNKNOWN_VOLUME", "the volume is deleted"};
  } else if (parts_.host.has_left(id)) {
    if (volume->create_bytes() != made->state.create) return corrupt("a description of another volume");
    // Its description has this store for a member, so it is of an epoch behind the one it left in.
    if (made->state.epochs.back().epoch <= volume->made().epoch())
      return corrupt("a description of what this store has left");
    made->returns = true;
  } else {
    if (volume->writable()) return {false, "ERR_HISTORY_DIVERGED", "a primary takes no blocks"};
    if (volume->deleted()) return {false, "ERR_UNKNOWN_VOLUME", "the volume is deleted here"};
    if (volume->create_bytes() != made->state.create) return corrupt("a description of another volume");
    if (volume->made().lsn < frame.from_lsn)
      return {false, "ERR_CHAIN_BROKEN", "blocks on top of a history that is not here"};
    made->base = std::max(frame.from_lsn, volume->committed());
    // What is not known to be committed need not be the primary's.
    if (!volume->try_drop_above(made->base) || volume->applied().lsn < made->base) return kWait;
    made->undoes = is_undone(*volume, frame, made->state);
    if (made->undoes) made->base = 0;
  }
  const bool deleted = (made->state.flags & kVolumeDeleted) != 0;
  if (frame.to_lsn > made->base && !deleted) {
    for (const SnapshotItem& snapshot : frame.snapshots)
      if (snapshot.lsn > made->base)
        made->stages.push_back(
            {snapshot.lsn, snapshot.version, snapshot.size_bytes / kBlockBytes, snapshot.name, 0});
    made->stages.push_back(
        {frame.to_lsn, made->state.applied_public, made->state.size_bytes / kBlockBytes, {}, 0});
    if (volume != nullptr && !made->undoes && !made->returns) {
      const NodeId hidden =
          parts_.lineage.branch_point(volume->head(), made->base, volume->applied().public_id);
      made->head = parts_.lineage.branch(hidden, id);
    } else {
      made->head = parts_.lineage.create(id, made->stages.front().blocks, 0);
    }
  }
  transfer = next_transfer_++;
  transfers_[transfer] = std::move(made);
  return {};
}

// --- Blocks -------------------------------------------------------------------------------------------------------

/// @returns whether the pages are there; else they are asked for
bool Staging::fetch(Transfer& transfer, const MissingPages& missing) {
  if (missing.empty()) return true;
  parts_.page_reader.fetch(missing, transfer);
  return false;
}

/// Goes on to a stage: the snapshots before it are complete.
Volume::Accepted Staging::reach(Transfer& transfer, size_t stage) {
  Lineage& lineage = parts_.lineage;
  for (;;) {
    const Stage& present = transfer.stages[transfer.stage];
    const bool resize = lineage.node(transfer.head).map.blocks() != present.blocks;
    // What came before belongs to the version before: it must be in the map.
    if ((resize || transfer.stage != stage) && transfer.runs_unplaced > 0) return kWait;
    if (resize) {
      if (!fetch(transfer, lineage.prepare_resize(transfer.head, present.blocks))) return kWait;
      lineage.resize(transfer.head, present.blocks, present.lsn);
    }
    if (transfer.stage == stage) return {};
    transfer.stages[transfer.stage].node = lineage.hide(transfer.head, present.lsn, present.version);
    ++transfer.stage;
  }
}

Volume::Accepted Staging::check(Transfer& transfer, const BlocksFrame& blocks) {
  const uint8_t* body = blocks.bodies.data();
  Lsn newest = 0;
  for (const BlockItem& item : blocks.items) {
    newest = std::max(newest, item.birth);
    if (item.zeroed_count > 0) continue;
    if (block_crc(body) != item.crc) return {false, "ERR_BLOCK_CORRUPT", "a block differs from its checksum"};
    body += kBlockBytes;
  }
  if (transfer.head == 0) return {};  // all of it is here already
  size_t stage = transfer.stage;
  while (stage + 1 < transfer.stages.size() && newest > transfer.stages[stage].lsn) ++stage;
  if (const Volume::Accepted reached = reach(transfer, stage); reached.wait) return reached;
  const Lsn limit = parts_.lineage.limit(parts_.lineage.node(transfer.head));
  for (const BlockItem& item : blocks.items) {
    const uint64_t count = std::max(1u, item.zeroed_count);
    if (item.birth > transfer.stages[stage].lsn || (item.birth <= limit && item.birth > transfer.base) ||
        item.block >= transfer.stages[stage].blocks || count > transfer.stages[stage].blocks - item.block)
      return corrupt("a block that is no part of the version");
  }
  return {};
}

Volume::Accepted Staging::add(TransferId id, const BlocksFrame& blocks, const Slice& frame) {
  Transfer& transfer = at(id);
  if (transfer.pages_missing > 0) return kWait;
  if (std::exchange(transfer.page_error, 0) != 0)
    return {false, "ERR_STORE_CORRUPT", "a map page cannot be read"};
  if (!transfer.checked) {
    const Volume::Accepted checked = check(transfer, blocks);
    if (checked.wait || checked.code != nullptr) return checked;
    transfer.checked = true;
    transfer.items_done = 0;
  }
  while (transfer.head != 0 && transfer.items_done < blocks.items.size()) {
    const BlockItem& item = blocks.items[transfer.items_done];
    if (item.birth <= transfer.base) {
      ++transfer.items_done;  // it is held already
    } else if (item.zeroed_count > 0) {
      if (add_zeroed(transfer, item).wait) return kWait;
      ++transfer.items_done;
    } else if (!add_run(id, transfer, blocks, frame)) {
      return kWait;
    }
  }
  transfer.checked = false;
  return {};
}

Volume::Accepted Staging::add_zeroed(Transfer& transfer, const BlockItem& item) {
  Lineage& lineage = parts_.lineage;
  if (!fetch(transfer, lineage.prepare_zero(transfer.head, item.block, item.zeroed_count))) return kWait;
  // Pages become dirty as they do for a trim: room for them is kept back alike.
  if (parts_.appender.reserve(SegmentKind::moved, SpaceClass::data, kRunHeaderBytes + kMovedBlockBytes,
                              kBlockBytes) != Room::ok)
    return kWait;
  // Who is behind gets blocks from here perhaps, and has to hear since when these are zero.
  lineage.zero(transfer.head, item.block, item.zeroed_count, item.birth, true);
  return {};
}

/// Appends the next data blocks of the frame that one run can hold. @returns false: not now
bool Staging::add_run(TransferId id, Transfer& transfer, const BlocksFrame& blocks, const Slice& frame) {
  constexpr SegmentKind kStream = SegmentKind::moved;
  // All pages first: from here to the batch's end nothing may be missing.
  MissingPages missing;
  for (size_t index = transfer.items_done; index < blocks.items.size(); ++index) {
    const BlockItem& item = blocks.items[index];
    if (item.zeroed_count > 0 || item.birth <= transfer.base) continue;
    const MissingPages more = parts_.lineage.prepare_write(transfer.head, item.block, 1);
    for (const MissingPage& page : more)
      if (std::find(missing.begin(), missing.end(), page) == missing.end()) missing.push_back(page);
    if (missing.size() >= kMissingMax) break;
  }
  if (!fetch(transfer, missing)) return false;
  if (parts_.appender.reserve(kStream, SpaceClass::data, kRunHeaderBytes + kMovedBlockBytes, kBlockBytes) !=
      Room::ok)
    return false;
  size_t body = 0;
  for (size_t index = 0; index < transfer.items_done; ++index)
    body += blocks.items[index].zeroed_count == 0 ? kBlockBytes : 0;

  RunHeader header;
  header.type = RunType::moved;
  header.volume = transfer.id;
  header.epoch = epoch_at(transfer.state.epochs, blocks.items[transfer.items_done].birth);
  RunBuilder builder(parts_.appender.run_room(kStream), header);
  Run run;
  run.transfer = id;
  std::array<BlockDigest, kDigestsTogether> digests;
  size_t digests_made = 0;
  size_t digests_used = 0;
  do {
    const BlockItem& item = blocks.items[transfer.items_done];
    if (digests_used == digests_made) {
      digests_made = digest_next(blocks, transfer.items_done, body, digests);
      digests_used = 0;
    }
    // Its crc is the body's: check()
    builder.add_moved(
        {item.block, item.birth, kFromElsewhere, 0, BlockSum{item.crc, digests[digests_used++]}});
    parts_.appender.add_body(kStream, {frame.owner, blocks.bodies.data() + body, kBlockBytes});
    body += kBlockBytes;
    run.items.push_back(item);
    ++transfer.items_done;
    if (transfer.items_done == blocks.items.size()) break;
  } while (blocks.items[transfer.items_done].zeroed_count == 0 &&
           blocks.items[transfer.items_done].birth > transfer.base && run.items.size() < kBlocksPerRun &&
           epoch_at(transfer.state.epochs, blocks.items[transfer.items_done].birth) == header.epoch &&
           parts_.appender.fits(kStream, builder.header().run_bytes + kMovedBlockBytes,
                                builder.header().body_bytes + kBlockBytes));
  builder.finish();
  ++transfer.runs_open;
  ++transfer.runs_unplaced;
  runs_[next_run_] = std::move(run);
  parts_.appender.add_run(kStream, builder.header(), *this, next_run_++);
  return true;
}

void Staging::on_placed(const PlacedRun& placed, uint64_t cookie) {
  Run& run = runs_.at(cookie);
  Transfer& transfer = at(run.transfer);
  --transfer.runs_unplaced;
  if (transfer.abandoned) return;
  // Of no reader's concern yet; a checkpoint that has it is published after a sync that covers the batch.
  Segment& segment = parts_.segments.at(placed.segment);
  uint32_t slot = placed.body_slot;
  for (const BlockItem& item : run.items) {
    const Entry entry{placed.segment, static_cast<uint16_t>(slot), item.birth, item.crc};
    parts_.segments.set_live(segment, slot, 1);
    parts_.lineage.write(transfer.head, item.block, std::span(&entry, 1));
    slot += kBlockBytes / kSlotBytes;
  }
  run.items.clear();
}

void Staging::on_appended(uint64_t cookie, uint64_t) {
  const auto run = runs_.find(cookie);
  --at(run->second.transfer).runs_open;
  runs_.erase(run);
}

// --- The end ------------------------------------------------------------------------------------------------------

Volume::Accepted Staging::close(TransferId id, const CompactedFrame& frame) {
  Transfer& transfer = at(id);
  if (transfer.pages_missing > 0) return kWait;
  if (std::exchange(transfer.page_error, 0) != 0)
    return {false, "ERR_STORE_CORRUPT", "a map page cannot be read"};
  if (frame.to_lsn != transfer.state.applied_lsn || frame.version != transfer.state.applied_public)
    return corrupt("the end of another transfer");
  if (transfer.head != 0 && reach(transfer, transfer.stages.size() - 1).wait) return kWait;
  if (transfer.runs_open > 0) return kWait;
  if (transfer.state.applied_lsn > transfer.base) move(transfer);
  transfers_.erase(id);
  return {};
}

void Staging::move(Transfer& transfer) {
  Lineage& lineage = parts_.lineage;
  Volume* volume = parts_.host.find(transfer.id);
  if (volume == nullptr) {
    volume = &parts_.host.add_volume();
    volume->restore(transfer.id, state_of(transfer.state), std::move(transfer.state.applied_link),
                    transfer.head, std::move(transfer.state.create));
    parts_.host.list_volume(*volume);
    parts_.host.event("volume-created", "{\"volume\":\"" + to_hex(transfer.id) + "\"}");
  } else if (transfer.returns) {
    volume->forget_history();
    volume->jump(state_of(transfer.state), std::move(transfer.state.applied_link), transfer.head);
    parts_.host.event("volume-created", "{\"volume\":\"" + to_hex(transfer.id) + "\"}");
  } else if (transfer.head == 0) {
    lineage.delete_volume(transfer.id);
    volume->jump(state_of(transfer.state), std::move(transfer.state.applied_link), 0);
  } else {
    const NodeId old_head = volume->head();
    std::vector<NodeId> gone;
    for (const auto& [node_id, node] : lineage.nodes()) {
      if (node.kind != NodeKind::named || node.volume != transfer.id) continue;
      const bool kept = !transfer.undoes && std::any_of(transfer.snapshots.begin(), transfer.snapshots.end(),
                                                        [&, &one = node](const SnapshotItem& item) {
                                                          return item.name == one.name &&
                                                                 item.lsn == one.lsn &&
                                                                 item.version == one.version;
                                                        });
      if (!kept) gone.push_back(node_id);
    }
    if (transfer.undoes) {
      parts_.host.event("history-undone", "{\"volume\":\"" + to_hex(transfer.id) +
                                              "\",\"lsn\":" + std::to_string(volume->applied().lsn) + "}");
      volume->forget_history();
    }
    volume->jump(state_of(transfer.state), std::move(transfer.state.applied_link), transfer.head);
    lineage.drop_head(old_head);
    for (const NodeId node : gone)
      if (const VersionNode* left = lineage.find(node); left != nullptr && left->kind == NodeKind::named)
        lineage.delete_snapshot(node);
  }
  // Only now: until the move nobody could see them.
  for (const Stage& stage : transfer.stages)
    if (stage.node != 0) lineage.name_snapshot(stage.node, stage.name);
}

void Staging::abandon(TransferId id) {
  Transfer& transfer = at(id);
  if (std::exchange(transfer.abandoned, true)) return;
  const VersionNode* head = parts_.lineage.find(transfer.head);
  if (head != nullptr && head->kind == NodeKind::head) parts_.lineage.drop_head(transfer.head);
}

void Staging::reap() {
  std::erase_if(transfers_, [](const auto& one) {
    return one.second->abandoned && one.second->runs_open == 0 && one.second->pages_missing == 0;
  });
}

}  // namespace cloudfs
