#include "history.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace cloudfs::model {

HistoryId Histories::append(HistoryId history, Record record) {
  const uint64_t key = uint64_t{history} << 32 | uint64_t{record.epoch} << 24 | uint64_t{record.set} << 16 |
                       uint64_t{record.request} << 8 | (record.is_view ? 2U : 0U) |
                       (record.is_restart ? 1U : 0U);
  const auto [at, is_new] = children_.try_emplace(key, static_cast<HistoryId>(nodes_.size()));
  if (is_new) {
    if (nodes_.size() > std::numeric_limits<HistoryId>::max())
      throw std::length_error("more than 65,535 histories: choose smaller bounds");
    const Node& before = nodes_[history];
    nodes_.push_back({.parent = history,
                      .lsn = static_cast<Lsn>(before.lsn + 1),
                      .set = record.is_view ? record.set : before.set,
                      .last_request = std::max(before.last_request, record.request),
                      .record = record});
  }
  return at->second;
}

HistoryId Histories::common(HistoryId one, HistoryId other) const {
  while (one != other) {
    if (lsn(one) >= lsn(other)) {
      one = parent(one);
    } else {
      other = parent(other);
    }
  }
  return one;
}

bool Histories::restarts_after(HistoryId history, HistoryId since) const {
  for (; history != since; history = parent(history))
    if (record(history).is_restart) return true;
  return false;
}

}  // namespace cloudfs::model
