// Histories of the volume as a tree of records: two that begin alike share nodes, so a history is one small number,
// equal histories have equal numbers, and "is a prefix of" walks a few links.
//
// A record stands for its real one: the token chain makes a record name all that came before it, and so does a node.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "epoch.h"

namespace cloudfs::model {

using Lsn = uint8_t;
using HistoryId = uint16_t;
inline constexpr HistoryId kEmptyHistory = 0;

struct Record {
  Epoch epoch = kNoEpoch;
  bool is_view = false;
  bool is_restart = false;  ///< a view made without evidence from a majority: R3
  Members set = 0;          ///< of a view: its replica set
  uint8_t request = 0;      ///< of a write: which request of the client's session it carries out
};

class Histories {
 public:
  Histories() : nodes_(1) {}

  /// The history with `record` after `history`.
  HistoryId append(HistoryId history, Record record);

  Lsn lsn(HistoryId history) const { return nodes_[history].lsn; }
  HistoryId parent(HistoryId history) const { return nodes_[history].parent; }
  const Record& record(HistoryId history) const { return nodes_[history].record; }
  Epoch head_epoch(HistoryId history) const { return nodes_[history].record.epoch; }
  /// Set of the history's last view.
  Members set(HistoryId history) const { return nodes_[history].set; }
  /// Highest request in the history, what a primary remembers of the session.
  uint8_t last_request(HistoryId history) const { return nodes_[history].last_request; }

  bool has_request(HistoryId history, uint8_t request) const {
    while (history != kEmptyHistory && nodes_[history].record.request != request) history = parent(history);
    return history != kEmptyHistory;
  }

  HistoryId prefix(HistoryId history, Lsn lsn) const {
    while (nodes_[history].lsn > lsn) history = nodes_[history].parent;
    return history;
  }
  bool is_prefix(HistoryId shorter, HistoryId longer) const {
    return prefix(longer, lsn(shorter)) == shorter;
  }
  HistoryId common(HistoryId one, HistoryId other) const;
  /// Whether `history` has, after its prefix `since`, a view marked `restart`.
  bool restarts_after(HistoryId history, HistoryId since) const;

 private:
  struct Node {
    HistoryId parent = kEmptyHistory;
    Lsn lsn = 0;
    Members set = 0;
    uint8_t last_request = 0;
    Record record;
  };
  std::vector<Node> nodes_;  ///< [0] is the empty history
  std::unordered_map<uint64_t, HistoryId> children_;
};

}  // namespace cloudfs::model
