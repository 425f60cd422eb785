// One state of a volume's hosts and network. Plain bytes: the checker copies, hashes and compares it whole.
#pragma once

#include <cstdint>
#include <type_traits>

#include "epoch.h"
#include "history.h"

namespace cloudfs::model {

enum class Role : uint8_t {
  kReplica,
  kCandidate,  ///< asks for promises
  kElected,    ///< has them and a head; brings a majority to that head
  kPrimary,    ///< has made its view change
};

struct Host {
  // What a crash of the process leaves: page cache and disk.
  HistoryId log = kEmptyHistory;
  HistoryId disk = kEmptyHistory;  ///< the part of the log that a power cut leaves
  Epoch promised = kNoEpoch;
  Epoch promised_on_disk = kNoEpoch;
  Lsn known = 0;  ///< commit that it was told of: M1
  Lsn known_on_disk = 0;
  bool is_recovering = false;  ///< R1
  bool is_out = false;         ///< no member any more: emptied store (R4), dropped replica (M1)
  Epoch granted = kNoEpoch;  ///< primary to which it granted a lease that may run; time, so no crash ends it

  // What a crash of the process takes.
  Role role = Role::kReplica;
  Epoch epoch = kNoEpoch;        ///< of its candidacy or view
  Epoch knows_stamp = kNoEpoch;  ///< view whose stamp it has without slices
  Lsn asked = 0;                 ///< while recovering: the primary's head when asked

  // A candidate's.
  Members promises = 0;
  Members recovering = 0;       ///< those of `promises` that are
  Epoch best_epoch = kNoEpoch;  ///< most advanced head promised
  Lsn best_lsn = 0;
  Lsn told_known = 0;  ///< highest known commit promised
  Members slices = 0;
  Members change = 0;  ///< the set it stands for, 0: no change
  bool is_restart = false;

  // A primary's.
  Lsn view_lsn = 0;  ///< of its view change
  Lsn commit = 0;
  Members lease = 0;             ///< whose leases run, by its own clock
  Lsn appended[kHostsMax] = {};  ///< answers received: has appended up to here
  Lsn synced[kHostsMax] = {};
  Lsn on_the_way[kHostsMax] = {};  ///< append answers sent and not received
  uint8_t unused = 0;              ///< in place of padding
};

/// What the primary of an epoch sent. The network may deliver any part of it to anybody at any time, and again.
struct Stream {
  Epoch epoch = kNoEpoch;  ///< kNoEpoch: free
  bool is_resigned = false;
  HistoryId history = kEmptyHistory;
};

inline constexpr int kStreamsMax = 6;

struct State {
  Stream streams[kStreamsMax];  ///< by epoch

  // What an outside observer knows.
  HistoryId committed = kEmptyHistory;  ///< longest history whose commit was acknowledged
  Lsn flushed = 0;                      ///< of it: up to here a FLUSH was acknowledged
  uint8_t violation = 0;                ///< a Violation, once there is one

  // What has happened of what is bounded.
  uint8_t writes = 0;
  uint8_t elections = 0;
  uint8_t crashes = 0;
  uint8_t power_cuts = 0;
  uint8_t wipes = 0;
  uint8_t changes = 0;

  Host hosts[kHostsMax];  ///< last: a search of few hosts keeps only so many
};

static_assert(std::has_unique_object_representations_v<State>, "padding would be compared");

}  // namespace cloudfs::model
