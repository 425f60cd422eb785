// Versions of heads that were shown lately (docs/core.md): they have a place among the versions, and a dead list, so that
// what they hold is not freed; their maps are made from the head's when somebody branches from them.
#include <algorithm>
#include <utility>

#include "core/index/lineage.h"

namespace cloudfs {

namespace {

// Of a volume: 20 a second for as long as they are kept. Past this the oldest goes.
constexpr size_t kKeptMax = 240;
// Of all volumes, 64 MiB; past this the oldest version of the volume that is written goes.
constexpr size_t kStepsMax = 2'000'000;
// A zeroing of more blocks is not noted block by block.
constexpr uint64_t kZeroingMax = 4096;
// Expiry wakes an idle store; it waits for company.
constexpr uint64_t kExpirySlackNs = 500'000'000;

}  // namespace

NodeId Lineage::mapped_parent(const VersionNode& node) const {
  NodeId id = node.parent;
  while (id != 0 && nodes_.at(id).bare) id = nodes_.at(id).parent;
  return id;
}

void Lineage::give_map(VersionNode& bare, const ExtentMap& map) {
  ensure(bare.bare, "a version is given a map once");
  bare.map = map;
  bare.bare = false;
  --bare_count_;
}

// --- Which are kept ------------------------------------------------------------------------------------------------

void Lineage::keep_shown(NodeId head_id, Lsn lsn, const VersionId& version, uint64_t until_ns) {
  VersionNode& head = head_node(head_id);
  if (head.trail == nullptr) {
    head.trail = std::make_unique<Trail>();
    trails_.push_back(head_id);
  }
  Trail& trail = *head.trail;
  if (!trail.kept.empty() && trail.kept.back().lsn == lsn) {
    trail.kept.back().until_ns = until_ns;
    return;
  }
  while (trail.kept.size() >= kKeptMax && forget_oldest(head)) {
  }
  NodeId id = head.parent;
  if (id == 0 || node(id).lsn != lsn) id = insert_above(head, NodeKind::hidden, lsn, version, {}, true);
  hold(id);
  trail.kept.push_back({id, lsn, until_ns});
  recount_kept(head);
  if (!next_expiry_ns_) next_expiry_ns_ = until_ns + kExpirySlackNs;
}

void Lineage::set_anchor(NodeId head_id, Lsn lsn, const VersionId& version) {
  VersionNode& head = head_node(head_id);
  if (head.trail == nullptr) return;
  const uint64_t until_ns = head.trail->kept.back().until_ns;
  const NodeId id = branch_point(head_id, lsn, version);
  if (head.trail->kept.back().node == id) return;
  while (head.trail->kept.size() >= kKeptMax && forget_oldest(head)) {
  }
  hold(id);
  head.trail->kept.push_back({id, lsn, until_ns});
  recount_kept(head);
}

NodeId Lineage::find_shown(NodeId head, const VersionId& version) const {
  const VersionNode* const node = find(head);
  if (node == nullptr || node->trail == nullptr) return 0;
  for (const Trail::Kept& kept : node->trail->kept)
    if (nodes_.at(kept.node).version == version) return kept.node;
  return 0;
}

void Lineage::hold(NodeId id) {
  ++node(id).holds;
}

void Lineage::release(NodeId id) {
  const auto at = nodes_.find(id);
  if (at == nodes_.end() || at->second.kind == NodeKind::remains) return;
  ensure(at->second.holds > 0, "what is released was held");
  --at->second.holds;
  collect(id);
}

/// @returns false: none is kept, or the oldest is being branched from
bool Lineage::forget_oldest(VersionNode& head) {
  Trail& trail = *head.trail;
  if (trail.kept.empty() || node(trail.kept.front().node).holds > 1) return false;
  const NodeId id = trail.kept.front().node;
  trail.kept.pop_front();
  while (!trail.steps.empty() &&
         (trail.kept.empty() || trail.steps.front().lsn() <= trail.kept.front().lsn)) {
    trail.steps.pop_front();
    ++trail.dropped;
    --step_count_;
  }
  release(id);
  return true;
}

/// The head goes: all that is made from it goes before.
void Lineage::forget_shown(VersionNode& head) {
  if (head.trail == nullptr) return;
  const std::unique_ptr<Trail> trail = std::move(head.trail);
  for (const Trail::Kept& kept : trail->kept) {
    VersionNode& gone = node(kept.node);
    // Whoever makes a map for it finds that it is gone.
    gone.holds = gone.bare ? 0 : gone.holds - 1;
    collect(kept.node);
  }
  step_count_ -= trail->steps.size();
  tail_entries_ -= trail->tail_entries;
  std::erase(trails_, head.id);
}

void Lineage::expire_shown(uint64_t now_ns) {
  if (!next_expiry_ns_ || now_ns < *next_expiry_ns_) return;
  next_expiry_ns_.reset();
  for (const NodeId id : std::vector<NodeId>(trails_)) {
    VersionNode& head = node(id);
    const std::deque<Trail::Kept>& kept = head.trail->kept;
    while (!kept.empty() && kept.front().until_ns <= now_ns && forget_oldest(head)) {
    }
    recount_kept(head);
    if (kept.empty()) {
      forget_shown(head);
      continue;
    }
    const uint64_t when = std::max(kept.front().until_ns, now_ns) + kExpirySlackNs;
    next_expiry_ns_ = std::min(next_expiry_ns_.value_or(when), when);
  }
}

bool Lineage::forget_half() {
  bool any = false;
  for (const NodeId id : std::vector<NodeId>(trails_)) {
    VersionNode& head = node(id);
    for (size_t count = (head.trail->kept.size() + 1) / 2; count > 0 && forget_oldest(head); --count)
      any = true;
    recount_kept(head);
    if (head.trail->kept.empty()) forget_shown(head);
  }
  return any;
}

void Lineage::recount_kept(VersionNode& head) {
  Trail& trail = *head.trail;
  tail_entries_ -= trail.tail_entries;
  trail.tail_entries = 0;
  for (const Trail::Kept& kept : trail.kept)
    if (const VersionNode& at = node(kept.node); at.bare) trail.tail_entries += at.dead.tail().size();
  tail_entries_ += trail.tail_entries;
}

// --- What was replaced since ---------------------------------------------------------------------------------------

void Lineage::note_before(VersionNode& head, uint64_t first, Lsn lsn) {
  const size_t count = before_.size();
  for (size_t index = 0; index < count;) {
    size_t end = index + 1;
    // Neighbours that were zero since the same update are one step.
    if (!before_[index].stored())
      while (end < count && !before_[end].stored() && before_[end].birth() == before_[index].birth()) ++end;
    add_step(head, lsn, first + index, end - index, before_[index]);
    index = end;
  }
  mind_steps(head);
}

bool Lineage::needs_anchor(NodeId head_id, uint64_t first, uint64_t count) {
  VersionNode& head = head_node(head_id);
  if (head.trail == nullptr) return false;
  if (count > kZeroingMax) return true;
  runs_.clear();
  return !head.map.lookup(first, count, runs_).empty();
}

void Lineage::note_zeroing(VersionNode& head, uint64_t first, uint64_t count, Lsn lsn) {
  // Behind an anchor that was set for this very update, nothing is to be taken back.
  if (head.trail->kept.back().lsn + 1 == lsn && !node(head.trail->kept.back().node).bare) return;
  runs_.clear();
  const MissingPages missing = head.map.lookup(first, count, runs_);
  ensure(missing.empty() && count <= kZeroingMax, "an anchor was set where it is needed");
  for (const MapRun& run : runs_) add_step(head, lsn, run.block, run.count, PackedEntry::pack(run.entry));
  mind_steps(head);
}

void Lineage::add_step(VersionNode& head, Lsn lsn, uint64_t first, uint64_t count, const PackedEntry& entry) {
  // No version that is kept has it.
  if (entry.birth() > head.trail->kept.back().lsn) return;
  ensure(count <= Trail::kStepBlocksMax && lsn <= kBirthMax, "a step fits its fields");
  head.trail->steps.emplace_back(lsn, first, count, entry);
  ++step_count_;
}

void Lineage::mind_steps(VersionNode& head) {
  while (step_count_ > kStepsMax && head.trail->kept.size() > 1 && forget_oldest(head)) {
  }
}

// --- Their maps ----------------------------------------------------------------------------------------------------

Lineage::Rebuild Lineage::begin_rebuild(NodeId head_id, NodeId target, Lsn lsn, const VersionId& version) {
  const Trail& trail = *head_node(head_id).trail;
  ensure(node(target).bare, "a map is made where there is none");
  Rebuild work;
  work.head = head_id;
  work.target = target;
  bool is_behind = false;
  for (const Trail::Kept& kept : trail.kept) {
    if (is_behind && work.base == 0 && !node(kept.node).bare) work.base = kept.node;
    is_behind = is_behind || kept.node == target;
  }
  if (work.base == 0) work.base = branch_point(head_id, lsn, version);
  if (work.base == target) return work;  // the head stands there: it has a map now
  hold(work.base);
  work.map = node(work.base).map;
  const Lsn base_lsn = node(work.base).lsn;
  const auto behind = std::partition_point(trail.steps.begin(), trail.steps.end(),
                                           [&](const Trail::Step& step) { return step.lsn() <= base_lsn; });
  work.next = trail.dropped + static_cast<uint64_t>(behind - trail.steps.begin());
  return work;
}

bool Lineage::rebuild(Rebuild& work, size_t budget, MissingPages& missing, bool& done) {
  const auto at = nodes_.find(work.target);
  const auto head = nodes_.find(work.head);
  if (at == nodes_.end() || at->second.kind == NodeKind::remains || head == nodes_.end()) return false;
  VersionNode& target = at->second;
  if (target.bare) {
    ensure(head->second.trail != nullptr, "what takes a head back stays while it is needed");
    const Trail& trail = *head->second.trail;
    while (work.next > trail.dropped && trail.step(work.next - 1).lsn() > target.lsn) {
      if (budget == 0) return true;
      const Trail::Step& step = trail.step(work.next - 1);
      missing = work.map.prepare_set(step.first, step.count());
      if (!missing.empty()) return true;
      work.map.put_back(step.first, step.count(), step.entry, target.lsn);
      budget -= std::min<size_t>(budget, step.count());
      --work.next;
    }
    give_map(target, work.map);
  }
  done = true;
  end_rebuild(work);
  return true;
}

void Lineage::end_rebuild(Rebuild& work) {
  work.map = {};
  if (const NodeId base = std::exchange(work.base, 0); base != 0 && base != work.target) release(base);
}

}  // namespace cloudfs
