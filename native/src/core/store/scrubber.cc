#include "core/store/scrubber.h"

#include <algorithm>
#include <cerrno>

#include "core/store/store.h"

namespace cloudfs {

namespace {

// Versions and map pages looked at in one turn: a step finds few blocks where a map has many pages of others'.
constexpr uint32_t kLooksPerTurn = 64;
// Versions below one that are looked at for volumes that share its blocks, and volumes that are asked for.
constexpr size_t kHeirsMax = 256;
constexpr size_t kVolumesMax = 8;

}  // namespace

void Scrubber::scrub(const Position& from, uint64_t blocks_max, uint64_t command) {
  Job& job = jobs_.emplace_back();
  job.position = from;
  job.blocks_max = std::clamp<uint64_t>(blocks_max, 1, kScrubBlocksMax);
  job.command = command;
}

void Scrubber::fail() {
  for (const Job& job : std::exchange(jobs_, {}))
    store_.command_failed(job.command, "ERR_STORE_FAILED", "the store stopped");
}

void Scrubber::step() {
  if (!has_work()) return;
  Job& job = jobs_.front();
  if (!job.looked) look(job);
  if (!job.looked || reading_ || repairs_open_ > 0) return;
  if (volume_ == 0) job.corrupt = corrupt_;
  job.repaired = job.corrupt - std::min(job.corrupt, failed_);
  if (failed_ == 0 || ++volume_ >= volumes_.size()) return answer();
  read();
}

void Scrubber::read() {
  corrupt_ = failed_ = 0;
  reading_ = true;
  if (read_.start(store_.segments, store_.forwards, store_.read_gate, *this)) reading_ = false;
}

/// Volumes whose replicas elsewhere may have what this version has: its own, and those that left from it, for where they did
/// others have no version of it.
std::vector<VolumeId> Scrubber::volumes_with(NodeId id) const {
  std::vector<VolumeId> volumes;
  std::vector<NodeId> heirs{id};
  for (size_t index = 0; index < heirs.size() && index < kHeirsMax; ++index) {
    const VersionNode& node = store_.lineage.node(heirs[index]);
    const Volume* volume = store_.find(node.volume);
    if (volume != nullptr && !volume->applied().deleted &&
        std::find(volumes.begin(), volumes.end(), node.volume) == volumes.end())
      volumes.push_back(node.volume);
    if (volumes.size() == kVolumesMax) break;
    heirs.insert(heirs.end(), node.children.begin(), node.children.end());
  }
  if (volumes.empty()) volumes.push_back(store_.lineage.node(id).volume);
  return volumes;
}

void Scrubber::look(Job& job) {
  Position& at = job.position;
  read_.clear();
  for (uint32_t looks = 0; looks < kLooksPerTurn; ++looks) {
    const auto& nodes = store_.lineage.nodes();
    const auto next = nodes.lower_bound(at.node);
    if (next == nodes.end()) {
      job.done = job.looked = true;
      corrupt_ = failed_ = 0;
      return;
    }
    if (next->first != at.node) at = {next->first, 0};
    VersionNode& node = store_.lineage.node(at.node);
    if (node.bare || node.kind == NodeKind::remains || at.block >= node.map.blocks()) {
      at = {at.node + 1, 0};
      continue;
    }
    const NodeId parent = store_.lineage.mapped_parent(node);
    const Lsn born_after = parent == 0 ? 0 : store_.lineage.node(parent).lsn;
    const MissingPages missing = node.map.scan(at.block, node.map.blocks(), born_after,
                                               static_cast<size_t>(job.blocks_max), read_.runs);
    if (!missing.empty()) store_.page_reader.fetch(missing, *this);
    std::erase_if(read_.runs, [](const MapRun& run) { return !run.entry.stored(); });
    if (!read_.runs.empty()) {
      job.looked = true;
      job.blocks = read_.runs.size();
      volumes_ = volumes_with(at.node);
      volume_ = 0;
      return read();
    }
    if (pages_missing > 0) return;
  }
}

void Scrubber::on_pages(int error) {
  if (jobs_.empty() || error == 0) return;
  // What lies below cannot be found; of this version nothing more is.
  Job& job = jobs_.front();
  ++job.pages_corrupt;
  job.position = {job.position.node + 1, 0};
}

void Scrubber::on_blocks(BlockRead&, int) {
  reading_ = false;
}

void Scrubber::on_corrupt_block(uint64_t block, const Entry& entry) {
  if (jobs_.empty()) return;
  ++corrupt_;
  if (volume_ == 0) store_.note_corrupt(volumes_[0], block, entry);
  if (store_.repairs.want(volumes_[volume_], block, entry, this)) {
    ++repairs_open_;
  } else {
    ++failed_;
  }
}

void Scrubber::on_repair_ended(bool is_good) {
  --repairs_open_;
  if (!is_good) ++failed_;
}

void Scrubber::answer() {
  const Job job = jobs_.front();
  jobs_.pop_front();
  store_.repairs.counts.scrubbed += job.blocks;
  store_.command_payload(
      job.command,
      "{\"node\":" + std::to_string(job.position.node) + ",\"block\":" + std::to_string(job.position.block) +
          ",\"done\":" + (job.done ? "true" : "false") + ",\"blocks\":" + std::to_string(job.blocks) +
          ",\"corrupt\":" + std::to_string(job.corrupt) + ",\"repaired\":" + std::to_string(job.repaired) +
          ",\"pagesCorrupt\":" + std::to_string(job.pages_corrupt) + "}",
      {});
}

}  // namespace cloudfs
