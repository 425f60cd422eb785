#include "core/replication/follower.h"

#include <algorithm>
#include <cerrno>

#include "core/volume/volume.h"

namespace cloudfs {

Follower::Follower(const VolumeId& id, Streams& streams, IoQueue& io, Segments& segments,
                   const Appender& appender, const StoreIdentity& self, ReplicaMaker& maker, Staging& staging,
                   Leases& leases)
    : id_(id),
      streams_(streams),
      io_(io),
      segments_(segments),
      appender_(appender),
      self_(self),
      maker_(maker),
      staging_(staging),
      leases_(leases) {}

Follower::~Follower() = default;

void Follower::adopt(Volume& volume) {
  commit_ = std::max(commit_, volume.committed());
  if (std::exchange(volume_, &volume) != &volume) reader_.emplace(io_, segments_, appender_, volume);
}

Epoch Follower::epoch() const {
  return std::max(leader_epoch_, maker_.promised(id_));
}

void Follower::end() {
  if (stream_ == 0) return;
  leader_epoch_ = {};
  refuse("ERR_EPOCH_STALE", "this replica has promised another host");
}

void Follower::refuse(const char* code, const char* message) {
  streams_.refuse(stream_, epoch(), code, message);
}

StreamId Follower::leader_stream(Epoch& epoch) const {
  epoch = leader_epoch_;
  return hello_ && !copy_ ? stream_ : 0;
}

void Follower::begin(StreamId stream, bool copy) {
  copy_ = copy;
  if (stream_ != 0) streams_.close(stream_);
  stream_ = stream;
  hello_ = greeted_ = false;
  leader_epoch_ = {};
  asked_ = 0;
  acked_appended_ = acked_synced_ = 0;
  acked_recovering_ = false;
  told_commit_ = 0;
  returns_ = volume_ != nullptr && volume_->applied().deleted && maker_.has_left(id_);
  shared_ = volume_ == nullptr || returns_ ? 0 : volume_->committed();
  fetch_next_.reset();
  wants_blocks_ = false;
  abandon();
  HelloFrame hello;
  if (volume_ != nullptr && !returns_) hello = volume_->hello();
  hello.volume = id_;
  hello.host = self_.host;
  hello.store = self_.store;
  streams_.send(stream, encode_hello(epoch(), hello));
}

void Follower::on_closed(StreamId stream) {
  leases_.unfollowed(stream);
  if (stream != stream_) return;
  stream_ = 0;
  fetch_next_.reset();
  abandon();
  if (reader_) reader_->cancel();
}

bool Follower::on_frame(StreamId stream, const FrameChannel::Frame& frame) {
  if (stream != stream_) return true;
  const FrameView& view = frame.view;
  if (view.header.type == FrameType::hand) return on_hand(view), true;
  // A copy outside the view promises nobody anything.
  if (!copy_) {
    if (view.header.epoch < epoch())
      return refuse("ERR_EPOCH_STALE", "the frame is of an epoch that is over"), true;
    if (!maker_.try_promise(id_, view.header.epoch)) return false;
  }
  if (!hello_) {
    if (view.header.type != FrameType::hello)
      return refuse("ERR_FRAME_CORRUPT", "the first frame is not a hello"), true;
    const Result<HelloFrame> hello = decode_hello(view);
    if (!hello) return refuse("ERR_FRAME_CORRUPT", hello.error().message), true;
    leader_epoch_ = view.header.epoch;
    return on_hello(*hello);
  }
  if (view.header.epoch != leader_epoch_)
    return refuse("ERR_EPOCH_STALE", "the frame is of another epoch than the hello"), true;
  const FrameType type = view.header.type;
  // For all volumes that this pair of stores share: it waits for nothing that this one waits for.
  if (type == FrameType::lease_ask) {
    const Result<LeaseAskFrame> ask = decode_lease_ask(view);
    if (!ask) return refuse("ERR_FRAME_CORRUPT", ask.error().message), true;
    leases_.on_ask(stream, *ask, maker_.now_ns());
    return true;
  }
  if (type == FrameType::block_ask || type == FrameType::block_answer) {
    if (!maker_.on_repair_frame(stream, id_, leader_epoch_, view))
      refuse("ERR_FRAME_CORRUPT", "a malformed word about a block");
    return true;
  }
  if (type == FrameType::compact || type == FrameType::blocks || type == FrameType::compacted)
    return on_blocks_frame(frame);
  if (transfer_ != 0 && type != FrameType::ping)
    return refuse("ERR_FRAME_CORRUPT", "a frame amid the blocks of a version"), true;
  // A move that is not durable yet: no record behind it is taken before.
  if (landing_) return false;
  if (wants_blocks_) return true;
  switch (type) {
    case FrameType::runs:
      return on_runs_frame(frame);
    case FrameType::commit: {
      const Result<CommitFrame> commit = decode_commit(view);
      if (!commit) return refuse("ERR_FRAME_CORRUPT", commit.error().message), true;
      if (volume_ == nullptr)
        return refuse("ERR_FRAME_CORRUPT", "a commit of a volume that is not here yet"), true;
      greeted_ = true;
      note_shared(std::min(commit->shared_lsn, volume_->made().lsn));
      note_commit(commit->commit_lsn);
      if (commit->sync_lsn > volume_->own().synced) volume_->want_sync();
      moved_ = true;
      return true;
    }
    case FrameType::fetch: {
      const Result<FetchFrame> fetch = decode_fetch(view);
      if (!fetch) return refuse("ERR_FRAME_CORRUPT", fetch.error().message), true;
      if (volume_ == nullptr)
        return refuse("ERR_FRAME_CORRUPT", "a fetch of a volume that is not here"), true;
      fetch_next_ = fetch->after_lsn + 1;
      fetch_last_ = volume_->made().lsn;
      moved_ = true;
      return true;
    }
    case FrameType::ping:
      return true;
    default:
      return refuse("ERR_FRAME_CORRUPT", "a frame that a leader does not send"), true;
  }
}

bool Follower::on_hello(const HelloFrame& hello) {
  if (hello.protocol_version != kStreamVersion || hello.format_version != kFormatVersion)
    return refuse("ERR_STREAM_VERSION", "this engine speaks stream version 1 and format version 1"), true;
  if (hello.volume != id_) return refuse("ERR_UNKNOWN_VOLUME", "the hello names another volume"), true;
  if (!hello.has_volume) return refuse("ERR_UNKNOWN_VOLUME", "the leader does not have the volume"), true;
  hello_ = true;
  asked_ = hello.head.lsn;
  if (!copy_) leases_.followed(stream_, id_, hello.store, leader_epoch_);
  if (volume_ == nullptr) return true;
  if (returns_) {
    wants_blocks_ = true;
    streams_.send(stream_, encode_want_blocks(epoch()));
    return true;
  }
  const VersionId version = volume_->version_at(hello.head.lsn);
  if (version == hello.head.version) {
    shared_ = std::max(shared_, hello.head.lsn);
  } else if (!version.is_zero() && hello.head.lsn <= volume_->committed() &&
             leader_epoch_ <= volume_->made().epoch()) {
    refuse("ERR_HISTORY_DIVERGED", "the leader has another history than is committed here");
  }
  return true;
}

/// By the second of the two the heir has promised its own epoch: it is the epoch of the stream that counts.
void Follower::on_hand(const FrameView& view) {
  if (!hello_ || copy_ || view.header.epoch != leader_epoch_)
    return refuse("ERR_EPOCH_STALE", "the frame is of another epoch than the hello");
  const Result<HandFrame> hand = decode_hand(view);
  if (!hand) return refuse("ERR_FRAME_CORRUPT", hand.error().message);
  maker_.on_hand(id_, leader_epoch_, (view.header.flags & kFrameOnDisk) != 0, *hand);
}

bool Follower::on_runs_frame(const FrameChannel::Frame& frame) {
  const Result<RunsFrame> runs = decode_runs(frame.view);
  if (!runs) return refuse("ERR_FRAME_CORRUPT", runs.error().message), true;
  ByteSpan rest = runs->runs;
  if (volume_ == nullptr) {
    const Result<RunView> run = decode_run(rest);
    if (!run) return refuse("ERR_RECORD_CORRUPT", run.error().message), true;
    if (run->header().volume != id_ || !starts_volume(*run) || run->header().count != 1)
      return refuse("ERR_CHAIN_BROKEN", "the first run does not start the volume"), true;
    if (!verify_links(*run, {}))
      return refuse("ERR_CHAIN_BROKEN", "the volume's id is not its creation's"), true;
    const ReplicaMaker::Made made =
        maker_.make_replica(*run, {frame.bytes.owner, rest.data(), run->bytes().size()}, copy_);
    if (made.code != nullptr) return refuse(made.code, "the replica cannot be made here"), true;
    if (made.needs_blocks) {
      wants_blocks_ = true;
      streams_.send(stream_, encode_want_blocks(epoch()));
      return true;
    }
    if (made.volume == nullptr) return false;
    ensure(volume_ == made.volume, "a replica that was made is adopted");
    note_shared(run->last_lsn());
    rest = rest.subspan(run->bytes().size());
  }
  const uint8_t flags = frame.view.header.flags;
  const Volume::Taking taking{(flags & kFrameSync) != 0, (flags & kFrameUnchecked) != 0,
                              (flags & kFrameHeaders) != 0};
  const Volume::Accepted accepted = volume_->accept_runs(frame.bytes, rest, taking, frame.view.header.epoch);
  if (accepted.wait) return false;
  if (accepted.code != nullptr) return refuse(accepted.code, accepted.message), true;
  greeted_ = true;
  note_shared(accepted.last);
  note_commit(runs->commit_lsn);
  moved_ = true;
  return true;
}

bool Follower::on_blocks_frame(const FrameChannel::Frame& frame) {
  switch (frame.view.header.type) {
    case FrameType::compact: {
      const Result<CompactFrame> compact = decode_compact(frame.view);
      if (!compact) return refuse("ERR_FRAME_CORRUPT", compact.error().message), true;
      if (transfer_ != 0) return refuse("ERR_FRAME_CORRUPT", "a version amid another"), true;
      if (landing_) return false;
      // Up to there its history is the leader's, and committed.
      if (volume_ != nullptr && !returns_ && compact->from_lsn <= volume_->made().lsn) {
        note_shared(compact->from_lsn);
        note_commit(compact->from_lsn);
      }
      return settle(staging_.open(id_, frame.view.header.epoch, *compact, transfer_));
    }
    case FrameType::blocks: {
      const Result<BlocksFrame> blocks = decode_blocks(frame.view);
      if (!blocks) return refuse("ERR_FRAME_CORRUPT", blocks.error().message), true;
      if (transfer_ == 0) return refuse("ERR_FRAME_CORRUPT", "blocks of no version"), true;
      return settle(staging_.add(transfer_, *blocks, frame.bytes));
    }
    default: {
      const Result<CompactedFrame> end = decode_compacted(frame.view);
      if (!end) return refuse("ERR_FRAME_CORRUPT", end.error().message), true;
      if (transfer_ == 0) return refuse("ERR_FRAME_CORRUPT", "the end of no version"), true;
      const Volume::Accepted closed = staging_.close(transfer_, *end);
      if (closed.wait || closed.code != nullptr) return settle(closed);
      ensure(volume_ != nullptr, "a volume that was brought is adopted");
      transfer_ = 0;
      wants_blocks_ = returns_ = false;
      // What was here and the leader's history lacks is gone.
      shared_ = std::min(std::max(shared_, end->to_lsn), volume_->made().lsn);
      commit_ = std::min(std::max(commit_, end->to_lsn), volume_->made().lsn);
      landing_ = maker_.want_checkpoint();
      moved_ = true;
      return true;
    }
  }
}

/// @returns false to be given the frame again
bool Follower::settle(const Volume::Accepted& accepted) {
  if (accepted.wait) return false;
  if (accepted.code != nullptr) refuse(accepted.code, accepted.message);
  return true;
}

void Follower::abandon() {
  if (const TransferId transfer = std::exchange(transfer_, 0); transfer != 0) staging_.abandon(transfer);
}

void Follower::note_commit(Lsn lsn) {
  told_commit_ = std::max(told_commit_, lsn);
  const Lsn commit = std::min(told_commit_, shared_);
  if (commit <= commit_) return;
  commit_ = commit;
  if (volume_ != nullptr) volume_->ask_to_advance();
}

void Follower::note_shared(Lsn lsn) {
  shared_ = std::max(shared_, lsn);
  if (volume_->parts().plant == Plant::own_tail_acknowledged) shared_ = volume_->made().lsn;
}

void Follower::turn() {
  if (landing_ && maker_.checkpointed(*landing_)) {
    landing_.reset();
    volume_->landed();
    greeted_ = stream_ != 0;
    moved_ = true;
  }
  if (!std::exchange(moved_, false) || stream_ == 0 || volume_ == nullptr) return;
  if (fetch_next_) send_fetched();
  if (!greeted_ || landing_) return;
  // The volume may have come to be here with this leader's first frame.
  if (!copy_ && !maker_.try_promise(id_, leader_epoch_)) return;
  if (volume_->recovering() && has_recovered()) maker_.on_recovered(*volume_);
  const Lsn appended = std::min(volume_->countable(), shared_);
  const Lsn synced = std::min(volume_->own().synced, appended);
  const bool recovering = volume_->recovering();
  if (appended == acked_appended_ && synced == acked_synced_ && recovering == acked_recovering_) return;
  acked_appended_ = appended;
  acked_synced_ = synced;
  acked_recovering_ = recovering;
  streams_.send(stream_, encode_ack(leader_epoch_, {acked_appended_, acked_synced_},
                                    recovering ? kFrameRecovering : uint8_t{0}));
}

/// R2: all that the leader had when this stream was opened, and the record of its view.
bool Follower::has_recovered() const {
  const Lsn held = std::min(volume_->countable(), shared_);
  return hello_ && volume_->made().epoch() == leader_epoch_ && held >= asked_ && held >= volume_->view_lsn();
}

void Follower::send_fetched() {
  if (*fetch_next_ > fetch_last_) return fetch_next_.reset();
  if (reader_->busy() || streams_.unsent(stream_) >= kStreamUnsentBytesMax) return;
  if (*fetch_next_ > volume_->own().appended) return;
  if (!reader_->read(*fetch_next_, *this, true))
    refuse("ERR_HISTORY_GONE", "the log no longer holds what is asked for");
}

void Follower::on_runs(std::vector<LogReaderOwner::Run>& runs, int error) {
  moved_ = true;
  if (!fetch_next_ || error == EAGAIN) return;
  if (error == ENODATA) return refuse("ERR_HISTORY_GONE", "the log no longer holds what is asked for");
  if (error != 0) return refuse("ERR_STORE_IO", "the log cannot be read");
  for (const LogReaderOwner::Run& run : runs) {
    BufferRef head = encode_runs(epoch(), run.has_body() ? 0 : kFrameHeaders, volume_->committed(),
                                 static_cast<uint32_t>(run.bytes.size + run.body.size));
    std::vector<Slice> slices{{head, head.data(), head.size()}, run.bytes};
    if (run.body.size > 0) slices.push_back(run.body);
    streams_.send(stream_, std::move(slices));
    fetch_next_ = run.view.last_lsn() + 1;
  }
}

}  // namespace cloudfs
