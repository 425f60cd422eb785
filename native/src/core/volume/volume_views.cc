// Who makes a volume's records: a view begun, a primary that steps down, what a view record asks of those who hold it
// (docs/protocol.md).
#include <algorithm>
#include <cerrno>

#include "core/volume/volume.h"

namespace cloudfs {

Lsn Volume::countable() const {
  Lsn lsn = own_.appended;
  for (auto view = made_.epochs.rbegin(); view != made_.epochs.rend() && view->first_lsn > own_.synced;
       ++view)
    if (view->first_lsn <= lsn) lsn = view->first_lsn - 1;
  return lsn;
}

VolumeState Volume::state_at(Lsn lsn) const {
  VolumeState state = applied_;
  for (size_t index = 0; index < pending_.size() && pending_[index].lsn <= lsn; ++index) {
    const PendingRecord& pending = pending_[index];
    state.absorb(pending.record, pending.epoch, pending.session, pending.public_id);
  }
  return state;
}

/// What is applied is all there is.
void Volume::begin_views() {
  const Result<ViewPayload> view = decode_view(applied_.view);
  ensure(view.ok(), "a view's payload was checked");
  views_.clear();
  note_view(applied_.epoch(), applied_.epochs.back().first_lsn, *view, false);
}

std::span<const ViewInForce> Volume::views() const {
  const auto forced =
      std::find_if(views_.rbegin(), views_.rend(), [](const ViewInForce& one) { return one.forced; });
  auto first = forced == views_.rend() ? views_.begin() : std::prev(forced.base());
  if (parts_.plant == Plant::stale_replica_set) first = std::prev(views_.end());
  return {first, views_.end()};
}

void Volume::note_view(const Epoch& epoch, Lsn lsn, const ViewPayload& view, bool forced) {
  views_.push_back({epoch, lsn, view, forced});
  alone_.majority = 1;
  for (const ViewInForce& one : views()) {
    const auto voters = std::count_if(one.payload.members.begin(), one.payload.members.end(), is_voter);
    alone_.majority = std::max(alone_.majority, static_cast<uint32_t>(voters) / 2 + 1);
  }
  if (replication_ != nullptr) replication_->on_views_moved();
}

/// Why records of this epoch do not follow the head, or nullptr.
const char* Volume::view_refusal(const RunView& run, const Epoch& epoch) const {
  const RunHeader& header = run.header();
  const RecordView first = *run.records().begin();
  const bool is_view = first.kind() == RecordKind::view;
  if (header.epoch == made_.epoch()) return is_view ? "an epoch has one view" : nullptr;
  if (header.epoch < made_.epoch()) return "a record of an epoch that is over";
  if (header.epoch > epoch) return "a record of an epoch later than its sender's";
  if (!is_view) return "a record of an epoch whose view is not here";
  const Result<ViewPayload> view = decode_view(first.payload());
  ensure(view.ok(), "a run's payloads were checked");
  return view->primary == header.epoch.host ? nullptr : "a view of another primary than its epoch's";
}

/// What another host sends is an operator's word by its own account alone: nobody gave it the stamp of the view before (E4).
/// Whose store has a say goes on without it, until it has dropped what it has and joins anew.
Volume::Accepted Volume::judge_force(const RunView& run) const {
  const RecordView first = *run.records().begin();
  if (first.kind() != RecordKind::view || (first.flags() & kFlagForce) == 0) return {};
  const Result<ViewPayload> view = decode_view(first.payload());
  ensure(view.ok(), "a run's payloads were checked");
  const std::vector<ViewMember>& members = view->members;
  if ((first.flags() & kFlagRestart) == 0 || members.size() != 1 || members[0].role != MemberRole::data ||
      members[0].host != run.header().epoch.host)
    return {false, "ERR_RECORD_CORRUPT", "a view is forced by one host for itself alone, as a restart"};
  const std::span<const ViewInForce> before = views();
  const bool has_say = std::any_of(before.begin(), before.end(), [this](const ViewInForce& one) {
    return parts_.host.is_member(one.payload);
  });
  if (has_say && !parts_.host.is_member(*view))
    return {false, "ERR_VIEW_FORCED", "a host went on by force without this store, which was a member"};
  return {};
}

void Volume::begin_view(NewView view) {
  ensure(!stamp_ && own_.appended == made_.lsn && placed_ == pending_.size(),
         "an elected host makes a view once it holds what it adopted");
  new_view_ = std::move(view);
  parts_.host.make_soon(*this);
}

Room Volume::make_view() {
  const size_t bytes = kRunHeaderBytes + control_record_bytes(new_view_->payload.size());
  const Room room = parts_.appender.reserve(SegmentKind::user, SpaceClass::vital, bytes, 0);
  if (room == Room::wait) return room;
  const NewView view = *std::exchange(new_view_, std::nullopt);
  if (room == Room::no_space) {
    parts_.host.on_control_failed(view.command, "ERR_STORE_FULL", "no free segment is left for it");
    return Room::ok;
  }
  RunHeader header;
  header.volume = id_;
  header.epoch = view.epoch;
  header.first_lsn = made_.lsn + 1;
  header.commit_lsn = committed_;
  RunBuilder run(parts_.appender.run_room(SegmentKind::user), header);
  const RecordView record = run.add_control(RecordKind::view, view.flags, view.head, 0, view.payload);
  const ChainLink link = link_record(view.stamp, run.header(), record);
  note_made(record, run.header(), link.public_id);
  stamp_ = view.stamp;
  made_token_ = link.token;
  ++role_;
  run.finish(link.public_id);
  if (replication_ != nullptr) run_bodies_.push_back({});
  parts_.appender.add_run(SegmentKind::user, run.header(), *this, cookie(made_.lsn));
  parts_.host.on_control_made(*this, view.command, made_.lsn, made_.public_id);
  parts_.host.on_control_durable(view.command);
  return Room::ok;
}

void Volume::step_down() {
  ++role_;
  sessions_.clear();
  stamp_.reset();
  made_token_.reset();
  if (const auto view = std::exchange(new_view_, std::nullopt))
    parts_.host.on_control_failed(view->command, "ERR_NOT_PRIMARY", "the host has promised another epoch");
  end_operations(kUnanswered, "ERR_NOT_PRIMARY",
                 "the host stopped being the primary: the next one knows whether it was carried out");
}

/// All that waits here. What reads from the store is ended when it comes back.
void Volume::end_operations(int error, const char* code, const char* message) {
  for (size_t index = 0; index < pending_.size(); ++index) {
    Operation* operation = std::exchange(pending_[index].operation, nullptr);
    if (operation != nullptr && --operation->open_records == 0 && operation->stage == Operation::Stage::made)
      answer(*operation, error);
  }
  while (!ready_.empty()) {
    Operation* operation = ready_.front();
    ready_.pop_front();
    unlock(*operation);
    answer(*operation, error);
  }
  for (std::vector<Operation*>* waiting : {&blocked_, &held_})
    for (Operation* operation : std::exchange(*waiting, {})) answer(*operation, error);
  for (Operation* operation : std::exchange(parked_, {})) answer(*operation, error);
  for (Operation* operation : std::exchange(settling_, {})) {
    unlock(*operation);
    answer(*operation, error);
  }
  for (const DurableWaiter& waiter : std::exchange(durable_waiters_, {})) {
    if (waiter.operation != nullptr) {
      answer(*waiter.operation, error);
    } else {
      parts_.host.on_control_failed(waiter.command, code, message);
    }
  }
  while (!controls_.empty()) {
    parts_.host.on_control_failed(controls_.front().command, code, message);
    controls_.pop_front();
  }
}

}  // namespace cloudfs
