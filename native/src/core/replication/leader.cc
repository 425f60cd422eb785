#include "core/replication/leader.h"

#include <algorithm>

#include "core/volume/volume.h"

namespace cloudfs {

Leader::Leader(Volume& volume, Streams& streams, IoQueue& io, Segments& segments, const Appender& appender,
               const StoreIdentity& self, LeaderHost& host, Leases& leases, const Epoch& epoch)
    : volume_(volume),
      streams_(streams),
      io_(io),
      segments_(segments),
      appender_(appender),
      self_(self),
      host_(host),
      leases_(leases),
      epoch_(epoch) {
  on_views_moved();
  lease_told_ = has_lease();
}

Leader::~Leader() = default;

// --- Records ------------------------------------------------------------------------------------------------------

void Leader::on_placed(const PlacedRun& placed, const std::vector<Slice>& bodies, bool sync) {
  Run run;
  // The descriptors are copied: they are short, and stand in a buffer that is much longer than they are.
  BufferRef descriptors(placed.bytes.size);
  std::memcpy(descriptors.data(), placed.bytes.data, placed.bytes.size);
  run.first = load<uint64_t>(descriptors.data() + 56);
  run.last = run.first + load<uint32_t>(descriptors.data() + 64) - 1;
  run.bytes = static_cast<uint32_t>(placed.bytes.size);
  run.sync = sync;
  run.slices.reserve(bodies.size() + 1);
  run.slices.push_back({descriptors, descriptors.data(), placed.bytes.size});
  for (const Slice& body : bodies) {
    run.bytes += static_cast<uint32_t>(body.size);
    run.slices.push_back(body);
  }
  for (const Slice& slice : run.slices) backlog_bytes_ += slice.owner.size();
  written_.add(run.bytes);
  backlog_.push_back(std::move(run));
  moved_ = true;
}

const Leader::Run* Leader::backlog_from(Lsn lsn) const {
  const auto at = std::lower_bound(backlog_.begin(), backlog_.end(), lsn,
                                   [](const Run& run, Lsn wanted) { return run.first < wanted; });
  return at == backlog_.end() || at->first != lsn ? nullptr : &*at;
}

void Leader::trim_backlog() {
  Lsn needed = volume_.placed_lsn() + 1;
  for (const auto& feed : feeds_)
    if (!feed->closed && feed->member) needed = std::min(needed, feed->next);
  while (!backlog_.empty() && (backlog_.front().last < needed || backlog_bytes_ > kBacklogBytesMax)) {
    for (const Slice& slice : backlog_.front().slices) backlog_bytes_ -= slice.owner.size();
    backlog_.pop_front();
  }
}

// --- Streams ------------------------------------------------------------------------------------------------------

Leader::Feed* Leader::find(StreamId stream) {
  for (const auto& feed : feeds_)
    if (feed->stream == stream) return feed.get();
  return nullptr;
}

void Leader::begin(StreamId stream, const std::optional<HostId>& host) {
  feeds_.push_back(std::make_unique<Feed>(*this, stream, io_, segments_, appender_));
  feeds_.back()->host = host;
  // Our hello would have it promise this epoch.
  if (host && std::none_of(members_.begin(), members_.end(),
                           [&](const Member& member) { return member.host == *host; }))
    return refuse_stranger(stream);
  // Its head would be taken for the history that this leader goes on from.
  if (stage_ != Stage::fetch) say_hello(*feeds_.back());
  moved_ = true;
}

void Leader::say_hello(Feed& feed) {
  if (std::exchange(feed.said_hello, true)) return;
  HelloFrame hello = volume_.hello();
  hello.host = self_.host;
  hello.store = self_.store;
  streams_.send(feed.stream, encode_hello(epoch_, hello));
  if (feed.member && host_.leases_used()) leases_.led(feed.stream, members_[*feed.member].store, epoch_);
}

void Leader::refuse_stranger(StreamId stream) {
  streams_.refuse(stream, epoch_, "ERR_NOT_MEMBER", "this host and store are not in the volume's view");
}

void Leader::on_refused(StreamId, const Epoch& epoch) {
  if (epoch > epoch_) host_.on_epoch_refused(volume_, epoch);
}

void Leader::retire(const Epoch& promised, StreamId kept) {
  for (size_t index = 0; index < feeds_.size(); ++index) {
    if (feeds_[index]->closed) continue;
    if (feeds_[index]->stream == kept) {
      on_closed(kept);
    } else {
      streams_.refuse(feeds_[index]->stream, promised, "ERR_EPOCH_STALE",
                      "this host is not the primary any more");
    }
  }
}

StreamId Leader::stream_to(const HostId& host) const {
  for (const Member& member : members_)
    if (member.host == host && member.feed != nullptr && member.feed->verified && member.feed->live)
      return member.feed->stream;
  return 0;
}

bool Leader::done() const {
  return std::none_of(feeds_.begin(), feeds_.end(), [](const auto& feed) { return feed->in_flight(); });
}

void Leader::on_closed(StreamId stream) {
  Feed* feed = find(stream);
  if (feed == nullptr) return;
  feed->closed = true;
  leases_.left(stream);
  feed->reader.cancel();
  if (feed->compaction != nullptr) feed->compaction->cancel();
  if (fetching_ == feed) fetching_ = nullptr;
  if (feed->member && members_[*feed->member].feed == feed) {
    members_[*feed->member].feed = nullptr;
    // What it had appended may be gone when it comes back; what it synced is not.
    progress_[*feed->member].appended = progress_[*feed->member].synced;
    members_[*feed->member].held = 0;
  }
  moved_ = true;
}

bool Leader::on_frame(StreamId stream, const FrameChannel::Frame& frame) {
  Feed* feed = find(stream);
  if (feed == nullptr || feed->closed) return true;
  const auto refuse = [&](const char* code, const char* message) {
    streams_.refuse(stream, epoch_, code, message);
    return true;
  };
  const Epoch& epoch = frame.view.header.epoch;
  if (epoch > epoch_) {
    host_.on_epoch_refused(volume_, epoch);
    return refuse("ERR_EPOCH_STALE", "the follower has promised a later epoch");
  }
  if (frame.view.header.type == FrameType::hello) {
    const Result<HelloFrame> hello = decode_hello(frame.view);
    if (!hello) return refuse("ERR_FRAME_CORRUPT", hello.error().message);
    if (feed->member) return refuse("ERR_FRAME_CORRUPT", "a second hello");
    on_hello(*feed, *hello);
    return true;
  }
  if (!feed->member) return refuse("ERR_FRAME_CORRUPT", "the first frame is not a hello");
  // A hello may be of an earlier epoch: its sender promises this one when it has ours.
  if (epoch != epoch_) return refuse("ERR_EPOCH_STALE", "the frame is of an epoch that is over");
  switch (frame.view.header.type) {
    case FrameType::ack: {
      const Result<AckFrame> ack = decode_ack(frame.view);
      if (!ack) return refuse("ERR_FRAME_CORRUPT", ack.error().message);
      if (!feed->greeted || ack->appended_lsn > volume_.placed_lsn())
        return refuse("ERR_FRAME_CORRUPT", "it acknowledges what it was not sent");
      on_ack(*feed, *ack, (frame.view.header.flags & kFrameRecovering) == 0);
      return true;
    }
    case FrameType::runs:
      if (feed != fetching_) return refuse("ERR_FRAME_CORRUPT", "runs that nobody asked for");
      return on_fetched(*feed, frame);
    case FrameType::want_blocks:
      // Else they are on their way already, or it has no need of them.
      if (!feed->has_volume && feed->compaction == nullptr) compact(*feed, 0);
      return true;
    case FrameType::ping:
      return true;
    case FrameType::block_ask:
    case FrameType::block_answer:
      if (!host_.on_repair_frame(stream, volume_.id(), epoch_, frame.view))
        return refuse("ERR_FRAME_CORRUPT", "a malformed word about a block");
      return true;
    case FrameType::lease_grant: {
      const Result<LeaseGrantFrame> grant = decode_lease_grant(frame.view);
      if (!grant) return refuse("ERR_FRAME_CORRUPT", grant.error().message);
      leases_.on_grant(stream, *grant);
      return true;
    }
    default:
      return refuse("ERR_FRAME_CORRUPT", "a frame that a follower does not send");
  }
}

void Leader::on_hello(Feed& feed, const HelloFrame& hello) {
  const auto refuse = [&](const char* code, const char* message) {
    streams_.refuse(feed.stream, epoch_, code, message);
  };
  if (hello.protocol_version != kStreamVersion || hello.format_version != kFormatVersion)
    return refuse("ERR_STREAM_VERSION", "this engine speaks stream version 1 and format version 1");
  if (hello.volume != volume_.id()) return refuse("ERR_UNKNOWN_VOLUME", "the hello names another volume");
  // A member that spoke for another would be counted twice towards a majority.
  if (feed.host && hello.host != *feed.host)
    return refuse("ERR_TICKET", "the hello names another host than the ticket");
  const auto member = std::find_if(members_.begin(), members_.end(), [&](const Member& one) {
    return one.host == hello.host && one.store == hello.store;
  });
  if (member == members_.end()) return refuse_stranger(feed.stream);
  if (hello.has_volume && hello.head.epoch > epoch_)
    return refuse("ERR_EPOCH_STALE", "the follower has seen a later epoch");
  feed.member = static_cast<size_t>(member - members_.begin());
  feed.head = hello.head;
  feed.has_volume = hello.has_volume;
  feed.commit_lsn = hello.commit_lsn;
  const Lsn first = volume_.first_lsn();
  feed.next = hello.has_volume ? hello.head.lsn + 1 : first;
  feed.verified = !hello.has_volume;
  if (hello.has_volume &&
      (hello.head.lsn < first || hello.commit_lsn < first || hello.commit_lsn > hello.head.lsn))
    return refuse("ERR_FRAME_CORRUPT", "a hello whose head cannot be");
  // An answer counts only on the stream opened last. The older one ends.
  if (Feed* older = member->feed; older != nullptr) streams_.close(older->stream);
  member->feed = &feed;
  progress_[*feed.member].appended = progress_[*feed.member].synced;
  member->held = 0;
  moved_ = true;
  if (feed.said_hello && host_.leases_used()) leases_.led(feed.stream, hello.store, epoch_);
}

void Leader::on_ack(Feed& feed, const AckFrame& ack, bool counts) {
  Member& member = members_[*feed.member];
  if (member.feed != &feed || !feed.verified) return;
  member.held = ack.appended_lsn;
  moved_ = true;
  if (!counts) return;
  MemberProgress& progress = progress_[*feed.member];
  progress.appended = ack.appended_lsn;
  progress.synced = std::max(progress.synced, ack.synced_lsn);
  // It has the view's record, so its lease may be had.
  if (!has_lease()) leases_.ask_soon(member.store);
  volume_.ask_to_advance();
}

// --- Sending ------------------------------------------------------------------------------------------------------

void Leader::turn(uint64_t now_ns) {
  now_ns_ = now_ns;
  std::erase_if(feeds_, [](const auto& feed) { return feed->closed && !feed->in_flight(); });
  mind_lease();
  mind_witness();
  const bool commit_due = commit_since_ns_ != 0 && now_ns - commit_since_ns_ >= kCommitPushNs;
  const bool feed_due = held_until_ns_ != 0 && now_ns >= held_until_ns_;
  if (!std::exchange(moved_, false) && !commit_due && !feed_due) return;
  held_until_ns_ = 0;
  step();
  // By index: refusing a stream may change the list's contents, not its order.
  for (size_t index = 0; index < feeds_.size(); ++index) pump(*feeds_[index]);
  bool unsent_commit = false;
  for (const auto& feed : feeds_) {
    if (feed->closed || !feed->member) continue;
    push_commit(*feed);
    // Runs that are still to go carry it; a stream that takes nothing now says when it does.
    unsent_commit |= feed->greeted && feed->verified && feed->next > volume_.placed_lsn() &&
                     feed->commit_sent < committed_for(*feed);
  }
  if (!unsent_commit) {
    commit_since_ns_ = 0;
  } else if (commit_since_ns_ == 0) {
    commit_since_ns_ = now_ns;
  }
  trim_backlog();
}

/// R3: a restart that it knows nothing of went on without what it knows to be committed. Where that is, this history has an
/// epoch that the follower's never came to.
bool Leader::is_left_behind(const Feed& feed) const {
  if (feed.verified || !feed.has_volume || feed.head.epoch >= epoch_) return false;
  const VolumeState& made = volume_.made();
  if (feed.commit_lsn > made.lsn) return stage_ == Stage::lead;
  return epoch_at(made.epochs, feed.commit_lsn) > feed.head.epoch;
}

void Leader::pump(Feed& feed) {
  if (!has_history()) return;
  if (feed.compaction != nullptr) pump_blocks(feed);
  if (feed.compaction != nullptr) return;
  if (feed.member && !feed.closed && is_left_behind(feed)) {
    // It gets everything anew, once the restart is committed: less would not tell what of its own is to go.
    if (stage_ == Stage::lead && volume_.applied().epoch() == epoch_) compact(feed, 0);
    return;
  }
  while (feed.member && !feed.closed && feed.next <= volume_.placed_lsn() &&
         streams_.unsent(feed.stream) < kStreamUnsentBytesMax && send_next(feed)) {
  }
  if (feed.compaction != nullptr) return;
  read_ahead(feed);
  if (feed.closed || !feed.member || feed.next <= volume_.placed_lsn()) return;
  feed.live = true;
  if (feed.verified) return;
  // Nothing behind its head to compare by: the heads themselves tell.
  if (feed.head.lsn == volume_.made().lsn && feed.head.version == volume_.made().public_id) {
    feed.verified = true;
  } else if (feed.next > feed.commit_lsn + 1) {
    feed.next = feed.commit_lsn + 1;
    moved_ = true;
  } else if (feed.commit_lsn == volume_.placed_lsn() && feed.head.lsn > feed.commit_lsn) {
    // What it knows to be committed is all there is. What it has besides it drops when a record comes in its place.
    feed.verified = true;
  } else {
    streams_.refuse(feed.stream, epoch_, "ERR_HISTORY_DIVERGED",
                    "the follower knows another history to be committed");
  }
}

/// The next run, from memory or from the log. @returns false: not now
bool Leader::send_next(Feed& feed) {
  const Run* made = backlog_from(feed.next);
  // From here on it is fed beside clients.
  if (made == nullptr) feed.live = false;
  if (!may_feed(feed)) return false;
  if (made != nullptr) {
    const Result<RunView> view = decode_run({made->slices[0].data, made->slices[0].size});
    ensure(view.ok(), "a run made here is well-formed");
    if (verify(feed, *view)) send_run(feed, *made);
    return true;
  }
  if (const LogReaderOwner::Run* read = feed.next_read(); read != nullptr) {
    if (verify(feed, read->view)) send_log_run(feed, *read);
    (void)feed.next_read();  // lets go of it
    return true;
  }
  if (feed.reader.busy()) return false;
  if (feed.reader.read(feed.next, feed)) return false;
  compact(feed, feed.verified ? feed.next - 1 : feed.commit_lsn);
  return false;
}

/// The log no longer holds what comes behind `from`, up to which the follower's history is ours: it gets blocks.
void Leader::compact(Feed& feed, Lsn from) {
  if (feed.closed) return;
  if (volume_.deleted() && !feed.has_volume)
    return streams_.refuse(feed.stream, epoch_, "ERR_UNKNOWN_VOLUME", "the volume is deleted");
  feed.reader.cancel();
  feed.forget_read();
  feed.live = false;
  feed.compaction = std::make_unique<Compaction>(volume_, streams_, epoch_, feed.stream, feed,
                                                 feed.has_volume ? from : 0, is_witness(feed));
  moved_ = true;
}

void Leader::pump_blocks(Feed& feed) {
  feed.compaction->pump();
  if (!feed.compaction->done()) return;
  feed.next = feed.compaction->to() + 1;
  feed.verified = feed.has_volume = feed.greeted = true;
  feed.compaction.reset();
}

bool Leader::verify(Feed& feed, const RunView& run) {
  if (feed.verified) return true;
  const VersionId before = version_before(*run.records().begin());
  if (feed.next == feed.head.lsn + 1 && before == feed.head.version) {
    feed.verified = true;
  } else if (feed.next == feed.commit_lsn + 1) {
    // From what it knows to be committed on it gets everything anew, and drops by itself what differs.
    feed.verified = true;
  } else {
    feed.next = feed.commit_lsn + 1;
    return false;
  }
  return true;
}

void Leader::send_run(Feed& feed, const Run& run) {
  const bool headers = is_witness(feed);
  const auto flags = static_cast<uint8_t>((run.sync ? kFrameSync : 0) | (headers ? kFrameHeaders : 0));
  const uint32_t bytes = headers ? static_cast<uint32_t>(run.slices[0].size) : run.bytes;
  std::vector<Slice> slices;
  slices.reserve(run.slices.size() + 1);
  BufferRef head = encode_runs(epoch_, flags, committed_for(feed), bytes);
  slices.push_back({head, head.data(), head.size()});
  slices.insert(slices.end(), run.slices.begin(), headers ? run.slices.begin() + 1 : run.slices.end());
  streams_.send(feed.stream, std::move(slices));
  note_fed(feed, bytes);
  feed.next = run.last + 1;
  if (run.sync) feed.sync_sent = run.last;
  feed.greeted = true;
  feed.commit_sent = committed_for(feed);
  // Behind the view's record goes the question for the lease, which that follower may answer before it has synced the record.
  if (stage_ == Stage::view && !has_lease()) leases_.ask_soon(members_[*feed.member].store);
}

void Leader::send_log_run(Feed& feed, const LogReaderOwner::Run& run) {
  const bool headers = is_witness(feed);
  const size_t bytes = run.bytes.size + (headers ? 0 : run.body.size);
  BufferRef head = encode_runs(epoch_, headers ? kFrameHeaders : kFrameUnchecked, committed_for(feed),
                               static_cast<uint32_t>(bytes));
  std::vector<Slice> slices{{head, head.data(), head.size()}, run.bytes};
  if (run.body.size > 0 && !headers) slices.push_back(run.body);
  streams_.send(feed.stream, std::move(slices));
  note_fed(feed, run.bytes.size + run.body.size);
  feed.next = run.view.last_lsn() + 1;
  feed.greeted = true;
  feed.commit_sent = committed_for(feed);
}

/// What a follower is told of as committed. W6: a witness hears of what this leader counted and has on its own disk too. So it
/// never knows what a restart may leave off, for it could not go back: it has no blocks, and applies what is committed.
Lsn Leader::committed_for(const Feed& feed) const {
  if (!is_witness(feed)) return volume_.committed();
  const bool counts = volume_.made().epoch() == epoch_ && volume_.committed() >= volume_.view_lsn();
  return counts ? std::min(volume_.committed(), volume_.own().synced) : 0;
}

/// What a witness is not told stays pending there: it is on this disk soon, whether anybody flushes or not.
void Leader::mind_witness() {
  const bool has_witness =
      std::any_of(members_.begin(), members_.end(), [](const Member& member) { return member.is_witness; });
  if (!has_witness || volume_.committed() <= volume_.own().synced) {
    unsynced_since_ns_ = 0;
  } else if (unsynced_since_ns_ == 0) {
    unsynced_since_ns_ = now_ns_;
  } else if (now_ns_ - unsynced_since_ns_ >= kWitnessSyncNs) {
    unsynced_since_ns_ = now_ns_;
    volume_.want_sync();
  }
}

void Leader::push_commit(Feed& feed) {
  // While runs are on their way they carry the commit point.
  if (!has_history()) return;
  if (!feed.verified || feed.next <= volume_.placed_lsn()) return;
  const Lsn wish = volume_.durable_wanted();
  const bool sync = wish > feed.sync_sent && wish > progress_[*feed.member].synced;
  const Lsn committed = committed_for(feed);
  const bool due =
      committed > feed.commit_sent && commit_since_ns_ != 0 && now_ns_ - commit_since_ns_ >= kCommitPushNs;
  if (feed.greeted && !sync && !due) return;
  streams_.send(feed.stream, encode_commit(epoch_, {committed, sync ? wish : 0, feed.next - 1}));
  feed.greeted = true;
  feed.commit_sent = committed;
  if (sync) feed.sync_sent = wish;
}

std::optional<uint64_t> Leader::next_deadline_ns() const {
  if (moved_) return now_ns_;
  std::optional<uint64_t> deadline;
  if (commit_since_ns_ != 0) deadline = commit_since_ns_ + kCommitPushNs;
  if (held_until_ns_ != 0) deadline = std::min(deadline.value_or(UINT64_MAX), held_until_ns_);
  if (unsynced_since_ns_ != 0)
    deadline = std::min(deadline.value_or(UINT64_MAX), unsynced_since_ns_ + kWitnessSyncNs);
  if (lease_told_ && lease_until_ns_ != UINT64_MAX)
    deadline = std::min(deadline.value_or(UINT64_MAX), lease_until_ns_);
  return deadline;
}

bool Leader::list_streams(std::vector<StreamId>& streams) const {
  for (const Member& member : members_)
    if (member.feed != nullptr && member.feed->said_hello) streams.push_back(member.feed->stream);
  return streams.size() == members_.size();
}

std::vector<MemberStatus> Leader::members() const {
  std::vector<MemberStatus> out;
  for (size_t index = 0; index < members_.size(); ++index) {
    const Member& member = members_[index];
    // One that left hears what is to be heard, and is nobody's concern.
    const auto counts = [&](const ViewInForce& view) {
      return std::any_of(
          view.payload.members.begin(), view.payload.members.end(),
          [&](const ViewMember& one) { return one.host == member.host && one.store == member.store; });
    };
    if (std::none_of(volume_.views().begin(), volume_.views().end(), counts)) continue;
    // W4: to a restart that cannot be committed without it, it is.
    const bool is_away =
        member.feed == nullptr || (stage_ != Stage::lead && has_history() && is_left_behind(*member.feed));
    const char* state = is_away ? "away"
                        : member.feed->verified && progress_[index].appended >= volume_.committed()
                            ? "in-step"
                            : "behind";
    out.push_back({member.host, member.store, state, progress_[index].appended, progress_[index].synced});
  }
  return out;
}

}  // namespace cloudfs
