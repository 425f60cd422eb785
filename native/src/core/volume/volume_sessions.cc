// Requests of hosts that have the volume attached: who may send them, and in which order they become records
// (docs/protocol.md, S1 and S2).
#include <algorithm>

#include "core/volume/volume.h"

namespace cloudfs {

/// Takes those for which `takes` says yes out of those that are ready, in their order.
template <class Takes>
std::vector<Operation*> Volume::take_from_ready(Takes takes) {
  std::vector<Operation*> taken;
  for (size_t left = ready_.size(); left > 0; --left) {
    Operation* operation = ready_.front();
    ready_.pop_front();
    if (takes(*operation)) {
      taken.push_back(operation);
    } else {
      ready_.push_back(operation);
    }
  }
  return taken;
}

std::optional<uint64_t> Volume::open_session(const SessionId& session) {
  if (!made_.is_attached(session)) return std::nullopt;
  const uint64_t connection = sessions_.open(session);
  end_over();
  return connection;
}

void Volume::session_seen(const SessionId& session, uint64_t connection, uint64_t sequence) {
  sessions_.seen(session, connection, sequence);
  retry_blocked();
  parts_.host.make_soon(*this);
}

bool Volume::is_over(const Operation& operation) const {
  if (operation.snapshot != 0) return false;
  return operation.role != role_ || is_session_over(operation.request.session, operation.connection);
}

/// Requests of connections that are no more, as far as they wait here: they are not made any more. Those that read from
/// the store end when that comes back.
void Volume::end_over() {
  const auto take_over = [this](std::vector<Operation*>& from) {
    const auto rest = std::stable_partition(
        from.begin(), from.end(), [this](const Operation* operation) { return !is_over(*operation); });
    const std::vector<Operation*> over(rest, from.end());
    from.erase(rest, from.end());
    return over;
  };
  std::vector<Operation*> over =
      take_from_ready([this](const Operation& operation) { return is_over(operation); });
  for (std::vector<Operation*>* from : {&blocked_, &held_, &parked_, &settling_})
    for (Operation* operation : take_over(*from)) over.push_back(operation);
  for (Operation* operation : over) {
    unlock(*operation);
    // A long request of which records were made is answered with them.
    if (operation->open_records > 0) {
      operation->stage = Operation::Stage::made;
    } else {
      answer(*operation, 0);
    }
  }
  retry_blocked();
}

void Volume::end_sessions() {
  sessions_.retain([this](const SessionId& session) { return made_.is_attached(session); });
  end_over();
}

/// An answer that is an error, to a request with a number: none behind it becomes a record before the client knows.
void Volume::hold_behind(const Operation& refused) {
  const ClientOp& request = refused.request;
  sessions_.refused(request.session, request.sequence);
  const auto is_behind = [&](const Operation& operation) {
    return operation.request.sequence != 0 && operation.request.session == request.session &&
           sessions_.holds(request.session, operation.request.sequence);
  };
  for (Operation* operation : take_from_ready(is_behind)) hold_back(*operation);
  for (size_t index = 0; index < blocked_.size();) {
    Operation* operation = blocked_[index];
    if (!is_behind(*operation)) {
      ++index;
      continue;
    }
    blocked_.erase(blocked_.begin() + static_cast<std::ptrdiff_t>(index));
    hold_back(*operation);
  }
  parts_.host.make_soon(*this);
}

/// It begins anew, in its turn, when its client has seen what was refused.
void Volume::hold_back(Operation& operation) {
  unlock(operation);
  operation.stage = Operation::Stage::blocked;
  const auto at = std::find_if(held_.begin(), held_.end(), [&](const Operation* other) {
    return other->request.session == operation.request.session &&
           other->request.sequence > operation.request.sequence;
  });
  held_.insert(at, &operation);
}

/// A request that reads its edges may be one of those that wait: it comes here first, so that all go on in their order.
void Volume::release_held() {
  for (const SessionId& session : sessions_.all_seen()) {
    const auto is_of_session = [&](const Operation* operation) {
      return operation->request.session == session;
    };
    if (std::any_of(locks_.begin(), locks_.end(),
                    [&](const Lock& lock) { return is_of_session(lock.holder); }))
      continue;
    sessions_.release(session);
    std::vector<Operation*> released;
    std::copy_if(held_.begin(), held_.end(), std::back_inserter(released), is_of_session);
    std::erase_if(held_, is_of_session);
    for (Operation* operation : released) {
      operation->restart();
      submit_write(*operation);
    }
  }
}

}  // namespace cloudfs
