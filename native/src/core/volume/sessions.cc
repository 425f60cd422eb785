#include "core/volume/sessions.h"

#include <algorithm>
#include <utility>

namespace cloudfs {

uint64_t Sessions::open(const SessionId& session) {
  One* one = find(session);
  if (one == nullptr) one = &open_.emplace_back();
  *one = {session, ++connections_, 0, 0};
  return one->connection;
}

bool Sessions::is_over(const SessionId& session, uint64_t connection) const {
  const One* one = find(session);
  return one == nullptr || one->connection != connection;
}

void Sessions::refused(const SessionId& session, uint64_t sequence) {
  if (One* one = find(session)) one->refused = std::max(one->refused, sequence);
}

void Sessions::seen(const SessionId& session, uint64_t connection, uint64_t sequence) {
  One* one = find(session);
  if (one != nullptr && one->connection == connection) one->seen = std::max(one->seen, sequence);
}

bool Sessions::holds(const SessionId& session, uint64_t sequence) const {
  const One* one = find(session);
  return one != nullptr && one->refused != 0 && sequence > one->refused;
}

bool Sessions::any_refused() const {
  return std::any_of(open_.begin(), open_.end(), [](const One& one) { return one.refused != 0; });
}

std::vector<SessionId> Sessions::all_seen() const {
  std::vector<SessionId> out;
  for (const One& one : open_)
    if (one.refused != 0 && one.seen >= one.refused) out.push_back(one.session);
  return out;
}

void Sessions::release(const SessionId& session) {
  if (One* one = find(session)) one->refused = 0;
}

const Sessions::One* Sessions::find(const SessionId& session) const {
  const auto at =
      std::find_if(open_.begin(), open_.end(), [&](const One& one) { return one.session == session; });
  return at == open_.end() ? nullptr : &*at;
}

Sessions::One* Sessions::find(const SessionId& session) {
  return const_cast<One*>(std::as_const(*this).find(session));
}

}  // namespace cloudfs
