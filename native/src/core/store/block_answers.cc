#include "core/store/block_answers.h"

#include <cerrno>

#include "core/store/store.h"

namespace cloudfs {

void BlockAnswers::on_ask(StreamId stream, const VolumeId& volume, const Epoch& epoch,
                          const BlockAskFrame& ask) {
  const bool has_room = open_.size() < kAnswersMax;
  One here(*this);
  One& one = has_room ? open_.emplace_back(*this) : here;
  one.stream = stream;
  one.volume = volume;
  one.epoch = epoch;
  one.ask = ask;
  has_room ? look_up(one) : answer(one, BlockAnswer::later);
}

void BlockAnswers::step() {
  while (!open_.empty() && open_.front().stage == One::Stage::done) open_.pop_front();
}

void BlockAnswers::look_up(One& one) {
  const BlockName& name = one.ask.name;
  const Volume* volume = store_.find(one.volume);
  if (volume == nullptr || volume->applied().deleted || volume->head() == 0)
    return answer(one, BlockAnswer::nowhere);
  if (volume->applied().lsn < name.birth) return answer(one, BlockAnswer::later);
  // Of another history, which a restart went on without (docs/protocol.md, R3).
  const bool same_update = birth_epoch(*volume, name.birth) == name.birth_epoch;
  if (!same_update && store_.params.plant != Plant::repair_unchecked)
    return answer(one, BlockAnswer::nowhere);
  // From a version that is there still, else from the head again.
  if (store_.lineage.find(one.node) == nullptr) one.node = volume->head();
  for (; one.node != 0 && one.looked < kAnswerVersionsMax; one.node = store_.lineage.node(one.node).parent) {
    VersionNode& node = store_.lineage.node(one.node);
    // No version before the update has what it wrote.
    if (node.kind != NodeKind::head && node.lsn < name.birth) break;
    if (node.bare || name.block >= node.map.blocks()) continue;
    std::vector<MapRun>& runs = one.read.runs;
    runs.clear();
    const MissingPages missing = node.map.lookup(name.block, 1, runs);
    if (!missing.empty()) return store_.page_reader.fetch(missing, one);
    ++one.looked;
    const Entry& entry = runs[0].entry;
    if (!entry.stored() || entry.birth != name.birth || entry.crc != name.crc) {
      if (entry.stored() && store_.params.plant == Plant::repair_unchecked) {
        one.stage = One::Stage::reading;
        if (one.read.start(store_.segments, store_.forwards, store_.read_gate, one)) found(one, 0);
        return;
      }
      continue;
    }
    one.stage = One::Stage::reading;
    if (one.read.start(store_.segments, store_.forwards, store_.read_gate, one)) found(one, 0);
    return;
  }
  answer(one, BlockAnswer::nowhere);
}

void BlockAnswers::found(One& one, int error) {
  if (error == 0) return answer(one, BlockAnswer::here, {one.read.parts()[0].data, kBlockBytes});
  // A primary asks others in its turn; a follower has nobody else to ask than the one that asks it.
  const Volume* volume = store_.find(one.volume);
  const bool leads = volume != nullptr && store_.leader_of(*volume) != nullptr;
  answer(one, one.is_rotten && leads ? BlockAnswer::later : BlockAnswer::nowhere);
}

void BlockAnswers::answer(One& one, BlockAnswer kind, ByteSpan bytes) {
  one.stage = One::Stage::done;
  BlockAnswerFrame frame{one.ask.ask, kind, one.ask.name, {}, bytes};
  if (kind == BlockAnswer::here) {
    frame.digest = sum_block(bytes.data()).digest;
    ++store_.repairs.counts.given;
  }
  store_.streams.send(one.stream, encode_block_answer(one.epoch, frame));
  one.read.clear();
}

void BlockAnswers::One::on_pages(int error) {
  error != 0 ? all.answer(*this, BlockAnswer::nowhere) : all.look_up(*this);
}

void BlockAnswers::One::on_blocks(BlockRead&, int error) {
  all.found(*this, error);
}

void BlockAnswers::One::on_corrupt_block(uint64_t block, const Entry& entry) {
  is_rotten = true;
  all.store_.note_corrupt(volume, block, entry);
  const Volume* here = all.store_.find(volume);
  const bool leads = here != nullptr && all.store_.leader_of(*here) != nullptr;
  // Of a follower the one that asks now may have a good copy when it has got one itself.
  if (leads) {
    all.store_.repairs.want(volume, block, entry, nullptr);
  } else {
    all.store_.repairs.want_later(volume, block, entry, 2 * kRepairNs);
  }
}

}  // namespace cloudfs
