// Records: what a primary sends, who takes it, what is committed by it.
#include <algorithm>
#include <stdexcept>

#include "model.h"

namespace cloudfs::model {

bool Model::deliver(State& state, const Stream& stream, HostId id, Lsn lsn) {
  Host& host = state.hosts[id];
  if (maker_of(stream.epoch) == id || !rules_.is_invited(state, id)) return false;
  if (!rules_.accepts(host, stream.epoch)) return false;
  const HistoryId sent = histories_.prefix(stream.history, lsn);
  const Epoch epoch = stream.epoch;
  if (epoch > host.promised) {
    step_down(host);
    // No lease is waited for: its sender was elected.
    if (rules_.hold(Rule::kE1Accept)) set_promise(host, epoch, rules_.hold(Rule::kE1Sync));
  }

  if (!histories_.is_prefix(sent, host.log) || !rules_.hold(Rule::kE3Keep)) {
    const HistoryId common = histories_.common(host.log, sent);
    bool has_view = false;
    for (HistoryId at = sent; at != common; at = histories_.parent(at))
      has_view = has_view || histories_.record(at).is_view;
    undo_to(state, host, sent);
    host.log = sent;
    if (has_view && rules_.hold(Rule::kV1Sync)) sync_log(host);
  }

  Host* sender = sender_of(state, epoch);
  if (sender == nullptr) return true;
  if (host.is_recovering && rules_.has_recovered(host, *sender, sent)) {
    host.is_recovering = false;
    host.asked = 0;
  }
  // Of its own history it may hold more than what arrived now.
  const Lsn held = histories_.lsn(histories_.common(host.log, sender->log));
  if (sender->role == Role::kElected) {
    if (held == histories_.lsn(sender->log)) sender->slices = either(sender->slices, only(id));
    return true;
  }
  host.known = std::max(host.known, std::min(rules_.told(*sender, id), held));
  if (!rules_.answers(host)) return true;
  sender->synced[id] =
      std::max(sender->synced[id], histories_.lsn(histories_.common(host.disk, sender->log)));
  if (configuration_.late_answers) {
    sender->on_the_way[id] = held;
    return true;
  }
  count_answer(state, maker_of(epoch), id, held);
  return true;
}

void Model::count_answer(State& state, HostId primary, HostId host, Lsn lsn) {
  Lsn& appended = state.hosts[primary].appended[host];
  appended = rules_.hold(Rule::kL2Stream) ? lsn : std::max(appended, lsn);
  settle(state, primary);
}

bool Model::receive_answer(State& state, HostId primary, HostId host) {
  Lsn& on_the_way = state.hosts[primary].on_the_way[host];
  if (on_the_way == 0) return false;
  const Lsn lsn = on_the_way;
  on_the_way = 0;
  count_answer(state, primary, host, lsn);
  return true;
}

bool Model::ask_head(State& state, HostId id, HostId primary) {
  Host& host = state.hosts[id];
  const Host& sender = state.hosts[primary];
  const bool can_tell = sender.role == Role::kPrimary || sender.role == Role::kElected;
  if (!host.is_recovering || !can_tell || sender.epoch < host.promised || id == primary) return false;
  host.asked = histories_.lsn(sender.log);
  return true;
}

bool Model::write(State& state, HostId primary, uint8_t request) {
  Host& host = state.hosts[primary];
  if (!rules_.leads(host) || !rules_.takes(host.log, request)) return false;
  host.log = histories_.append(host.log, {.epoch = host.epoch, .request = request});
  send(state, primary);
  settle(state, primary);
  return true;
}

bool Model::retry(State& state, HostId primary, uint8_t request) {
  Host& host = state.hosts[primary];
  if (write(state, primary, request)) return true;
  if (!rules_.leads(host) || request > histories_.last_request(host.log)) return false;
  // Not taken: it is answered, once that is committed, as one that the history has.
  if (histories_.has_request(host.log, request)) return false;
  state.violation = kAnswerUntrue;
  return true;
}

bool Model::sync(State& state, HostId id) {
  Host& host = state.hosts[id];
  sync_log(host);
  if (host.role == Role::kPrimary) settle(state, id);
  Host* primary = sender_of(state, host.promised);
  if (primary == nullptr || primary == &host || primary->role != Role::kPrimary || !rules_.answers(host))
    return true;
  Lsn& synced = primary->synced[id];
  synced = std::max(synced, histories_.lsn(histories_.common(host.log, primary->log)));
  settle(state, maker_of(host.promised));
  return true;
}

bool Model::drop(State& state, HostId id) {
  if (!rules_.may_drop(state, id)) return false;
  Host& host = state.hosts[id];
  host = Host{};
  host.is_out = true;
  return true;
}

void Model::settle(State& state, HostId primary) {
  Host& host = state.hosts[primary];
  if (host.role != Role::kPrimary) return;
  for (Lsn lsn = histories_.lsn(host.log); lsn > host.commit; --lsn) {
    if (!rules_.may_commit(state, primary, lsn)) continue;
    host.commit = lsn;
    host.known = std::max(host.known, lsn);
    observe_commit(state, histories_.prefix(host.log, lsn));
    break;
  }
  if (!uses_disk()) return;
  for (Lsn lsn = host.commit; lsn > state.flushed; --lsn) {
    if (!rules_.may_flush(state, primary, lsn)) continue;
    if (histories_.is_prefix(histories_.prefix(host.log, lsn), state.committed)) state.flushed = lsn;
    break;
  }
}

void Model::observe_commit(State& state, HistoryId history) {
  if (histories_.is_prefix(history, state.committed)) return;
  const HistoryId common = histories_.common(history, state.committed);
  if (common != state.committed) {
    if (!histories_.restarts_after(history, common))
      state.violation = kCommitReplaced;
    else if (histories_.lsn(common) < state.flushed)
      state.violation = kFlushedLost;
  }
  state.committed = history;
  uint8_t seen = 0;
  for (HistoryId at = history; at != kEmptyHistory; at = histories_.parent(at)) {
    const uint8_t request = histories_.record(at).request;
    if (request != 0 && (seen >> request & 1) != 0) state.violation = kAppliedTwice;
    if (request != 0) seen = static_cast<uint8_t>(seen | 1U << request);
  }
}

Stream* Model::stream_of(State& state, Epoch epoch) const {
  const auto found = std::ranges::find(state.streams, epoch, &Stream::epoch);
  return found == std::end(state.streams) ? nullptr : found;
}

Host* Model::sender_of(State& state, Epoch epoch) const {
  Host& host = state.hosts[maker_of(epoch)];
  const bool sends = host.role == Role::kPrimary || host.role == Role::kElected;
  return sends && host.epoch == epoch ? &host : nullptr;
}

void Model::send(State& state, HostId primary) {
  const Host& host = state.hosts[primary];
  Stream* stream = stream_of(state, host.epoch);
  if (stream == nullptr) {
    stream = stream_of(state, kNoEpoch);
    if (stream == nullptr) throw std::length_error("more views than kStreamsMax: raise it");
    stream->epoch = host.epoch;
  } else if (histories_.head_epoch(stream->history) == host.epoch &&
             !histories_.is_prefix(stream->history, host.log)) {
    state.violation = kTwoRecords;
  }
  stream->history = host.log;
  std::ranges::sort(state.streams, {}, &Stream::epoch);
}

}  // namespace cloudfs::model
