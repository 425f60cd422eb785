#include "core/store/repairs.h"

#include <algorithm>

#include "core/base/hex.h"
#include "core/store/store.h"

namespace cloudfs {

Epoch birth_epoch(const Volume& volume, Lsn birth) {
  // What came before is what the volume's id names: the branch point is part of its creation.
  return birth < volume.first_lsn() ? Epoch{} : epoch_at(volume.applied().epochs, birth);
}

Repairs::Job* Repairs::find(uint64_t number) {
  const auto at =
      std::find_if(jobs_.begin(), jobs_.end(), [&](const Job& job) { return job.number == number; });
  return at == jobs_.end() || at->ended ? nullptr : &*at;
}

bool Repairs::is_live(const Entry& place) const {
  const Segment* segment = store_.segments.find(place.segment);
  return segment != nullptr && segment->holds(place.slot) && segment->is_live(place.slot);
}

bool Repairs::is_wanted(const Entry& place) const {
  return std::any_of(jobs_.begin(), jobs_.end(), [&](const Job& job) {
    return !job.ended && job.place.segment == place.segment && job.place.slot == place.slot;
  });
}

Repairs::Job* Repairs::add(const VolumeId& id, uint64_t block, const Entry& place) {
  for (Job& job : jobs_)
    if (!job.ended && job.place.segment == place.segment && job.place.slot == place.slot) return &job;
  if (jobs_.size() >= kRepairsMax || store_.failed()) return nullptr;
  Job& job = jobs_.emplace_back();
  job.number = next_++;
  job.volume = id;
  job.name = {block, place.birth, {}, place.crc};
  if (const Volume* volume = store_.find(id)) job.name.birth_epoch = birth_epoch(*volume, place.birth);
  job.place = place;
  job.begins_ns = store_.now_ns();
  job.until_ns = job.begins_ns + kRepairNs;
  return &job;
}

bool Repairs::want(const VolumeId& volume, uint64_t block, const Entry& place, RepairWaiter* waiter) {
  Job* job = add(volume, block, place);
  if (job == nullptr) return false;
  // One that was to begin later, for nobody, begins now.
  if (job->begins_ns > store_.now_ns()) {
    job->begins_ns = store_.now_ns();
    job->until_ns = job->begins_ns + kRepairNs;
  }
  if (waiter != nullptr) job->waiters.push_back(waiter);
  return true;
}

void Repairs::want_later(const VolumeId& volume, uint64_t block, const Entry& place, uint64_t delay_ns) {
  if (is_wanted(place)) return;
  if (Job* job = add(volume, block, place)) {
    job->begins_ns += delay_ns;
    job->until_ns += delay_ns;
  }
}

void Repairs::step() {
  // By index: who is told of an end may ask for more.
  for (size_t index = 0; index < jobs_.size(); ++index) {
    Job& job = jobs_[index];
    if (job.ended || job.stage == Stage::appending || job.begins_ns > store_.now_ns()) continue;
    if (!is_live(job.place)) {
      // It was overwritten, or moved in another way: whoever waits finds what there is now.
      end(job, true);
    } else if (job.stage == Stage::asking) {
      ask(job);
    } else if (!write(job)) {
      break;  // a segment is being prepared
    }
  }
  std::erase_if(jobs_, [](const Job& job) { return job.ended; });
}

void Repairs::ask(Job& job) {
  const uint64_t now_ns = store_.now_ns();
  if (now_ns >= job.until_ns) return end(job, false);
  const RepairSources sources = store_.repair_sources(job.volume);
  const auto there = [&](StreamId stream) {
    return std::find(sources.streams.begin(), sources.streams.end(), stream) != sources.streams.end();
  };
  if (job.asked != 0) {
    if (there(job.asked) && now_ns < job.asked_until_ns) return;
    job.tried.push_back({job.asked, UINT64_MAX});
    job.asked = 0;
  }
  bool may_come = sources.may_grow;
  for (const StreamId stream : sources.streams) {
    const auto tried = std::find_if(job.tried.begin(), job.tried.end(),
                                    [&](const Tried& one) { return one.stream == stream; });
    if (tried != job.tried.end() && tried->again_ns > now_ns) {
      may_come |= tried->again_ns != UINT64_MAX;
      continue;
    }
    if (tried != job.tried.end()) job.tried.erase(tried);
    job.asked = stream;
    job.asked_until_ns = now_ns + kBlockAnswerNs;
    store_.streams.send(stream, encode_block_ask(sources.epoch, {job.number, job.name}));
    return;
  }
  if (!may_come) end(job, false);
}

void Repairs::on_answer(StreamId stream, const VolumeId& volume, const BlockAnswerFrame& answer) {
  Job* job = find(answer.ask);
  // It comes too late.
  if (job == nullptr || job->stage != Stage::asking || job->asked != stream || job->volume != volume) return;
  job->asked = 0;
  if (answer.answer != BlockAnswer::here) {
    const bool later = answer.answer == BlockAnswer::later;
    job->tried.push_back({stream, later ? store_.now_ns() + kAskAgainNs : UINT64_MAX});
    return;
  }
  const BlockSum sum = sum_block(answer.bytes.data());
  const bool right = answer.name == job->name && sum.crc == job->name.crc && sum.digest == answer.digest;
  if (!right && store_.params.plant != Plant::repair_unchecked) {
    ++counts.refused;
    job->tried.push_back({stream, UINT64_MAX});
    return;
  }
  BufferRef copy(kBlockBytes);
  std::memcpy(copy.data(), answer.bytes.data(), kBlockBytes);
  job->bytes = {copy, copy.data(), kBlockBytes};
  job->sum = {job->name.crc, sum.digest};
  job->stage = Stage::writing;
}

/// @returns false: not now
bool Repairs::write(Job& job) {
  constexpr SegmentKind kStream = SegmentKind::moved;
  const Room room =
      store_.appender.reserve(kStream, SpaceClass::internal, kRunHeaderBytes + kMovedBlockBytes, kBlockBytes);
  if (room == Room::wait) return false;
  if (room == Room::no_space) return end(job, false), true;
  RunHeader header;
  header.type = RunType::moved;
  header.volume = job.volume;
  if (const Volume* volume = store_.find(job.volume)) {
    header.epoch = epoch_at(volume->applied().epochs, job.name.birth);
    // Tells a recovery that what is applied was committed.
    header.commit_lsn = volume->committed();
  }
  RunBuilder builder(store_.appender.run_room(kStream), header);
  builder.add_moved({job.name.block, job.name.birth, job.place.segment, job.place.slot, job.sum});
  store_.appender.add_body(kStream, job.bytes);
  builder.finish();
  job.stage = Stage::appending;
  store_.appender.add_run(kStream, builder.header(), *this, job.number);
  return true;
}

void Repairs::on_placed(const PlacedRun& placed, uint64_t cookie) {
  Job* job = find(cookie);
  if (job == nullptr) return;  // the store stopped
  job->to_segment = placed.segment;
  job->to_slot = placed.body_slot;
}

void Repairs::on_appended(uint64_t cookie, uint64_t) {
  Job* job = find(cookie);
  if (job == nullptr) return;
  store_.move_block(job->volume,
                    {job->name.block, job->name.birth, job->place.segment, job->place.slot, job->sum},
                    job->to_segment, job->to_slot);
  ++counts.repaired;
  store_.event("block-repaired", "{\"volume\":\"" + to_hex(job->volume) +
                                     "\",\"block\":" + std::to_string(job->name.block) +
                                     ",\"logical\":" + std::to_string(job->place.segment) +
                                     ",\"offset\":" + std::to_string(job->place.slot * kSlotBytes) + "}");
  end(*job, true);
}

void Repairs::end(Job& job, bool is_good) {
  job.ended = true;
  job.bytes = {};
  if (!is_good) ++counts.unrepaired;
  for (RepairWaiter* waiter : std::exchange(job.waiters, {})) waiter->on_repair_ended(is_good);
}

std::optional<uint64_t> Repairs::next_deadline_ns() const {
  std::optional<uint64_t> deadline;
  for (const Job& job : jobs_) {
    if (job.stage == Stage::appending) continue;
    uint64_t when = job.until_ns;
    if (job.ended || job.stage == Stage::writing) {
      when = store_.now_ns();
    } else if (job.begins_ns > store_.now_ns()) {
      when = job.begins_ns;
    } else if (job.asked != 0) {
      when = std::min(when, job.asked_until_ns);
    } else {
      for (const Tried& one : job.tried) when = std::min(when, one.again_ns);
      if (job.tried.empty()) when = std::min(when, store_.now_ns() + kAskAgainNs);
    }
    deadline = std::min(deadline.value_or(UINT64_MAX), when);
  }
  return deadline;
}

void Repairs::fail() {
  for (size_t index = 0; index < jobs_.size(); ++index)
    if (!jobs_[index].ended) end(jobs_[index], false);
}

}  // namespace cloudfs
