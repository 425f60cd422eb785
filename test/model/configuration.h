// What is searched: the rules (each can be left out), and the bounds of one search.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "epoch.h"

namespace cloudfs::model {

/// The rules of docs/protocol.md that can be left out, in its order; where a rule has parts, one for each part.
enum class Rule : uint8_t {
  kV1,         ///< the whole of V1
  kV1Sync,     ///< a view change is synced before it is acknowledged
  kV1Flush,    ///< FLUSH counts only syncs of the current view
  kR1,         ///< a host that lost power marks its replicas recovering
  kR2Head,     ///< the head of a recovering replica is no evidence
  kR2Whole,    ///< it recovers only with the whole history of its epoch's primary
  kR2View,     ///< ... including that epoch's view change
  kR3Heads,    ///< an election needs heads of n-m+1 members that are not recovering
  kR3Restart,  ///< a majority that is recovering may go on without
  kR3All,      ///< ... adopting the most advanced of all promised heads
  kR3Mark,     ///< ... and marking its view `restart`
  kR4,         ///< an emptied store is not the member it was
  kE0,         ///< every view change is made with a majority of promises
  kE1Sync,     ///< a promise is synced before it is answered
  kE1Own,      ///< the proposer's own promise comes first, synced
  kE1Accept,   ///< accepting a record of a higher epoch promises that epoch
  kE1Gate,     ///< a message of an epoch below the promise is refused
  kE1Stop,     ///< a primary that promises another epoch stops being one
  kE2,         ///< no promise while a lease granted runs
  kE2Start,    ///< ... nor for one full lease after start
  kE3Adopt,    ///< the candidate adopts the most advanced head
  kE3Epoch,    ///< ... by epoch, then lsn
  kE3Keep,     ///< a replica truncates only where a record differs
  kE4,         ///< a majority holds the adopted head before the view change is made
  kE5,         ///< the primary acknowledges nothing before its view change is committed
  kE6,         ///< no record of an older view is committed by counting
  kL1Promise,  ///< a replica answers lease questions only for the epoch promised
  kL1Recover,  ///< ... and not while recovering
  kL2Lease,    ///< the primary commits only under a valid lease
  kL2Stream,   ///< a new connection voids the append answers of older ones
  kH1,         ///< a resignation is final
  kM1Joint,    ///< majorities of both sets until the change is known committed
  kM1Known,    ///< ... where "known" is what a host was told, and logged
  kM1Adopted,  ///< the set is judged after adoption
  kM1Learner,  ///< a new replica counts once it has caught up
  kM1One,      ///< one change at a time
  kM1Keep,     ///< a removed host keeps its replica until a majority has synced "committed"
  kW1,         ///< a witness's answer does not count while a data member's is missing
  kW2,         ///< a witness is never a candidate
  kW3,         ///< a candidate leaves off what only a witness has the headers of
  kW4,         ///< a candidate may stand for a degraded set
  kW5,  ///< what only a witness has the headers of, and no data member any more, is left off in a restart
  kW6,  ///< a witness is told of as committed what is on the primary's disk
  kS1,  ///< a request that the history has is answered, not applied again
  kS2,  ///< requests of a session are taken in order
};

struct RuleName {
  Rule rule;
  std::string_view name;
  /// The configuration that shows what goes wrong without it; empty where none within the bounds does.
  std::string_view shown_by;
};

std::span<const RuleName> rule_names();

/// Bounds of a search. What is zero or false does not happen in it.
struct Configuration {
  std::string_view name;
  std::string_view about;

  int hosts = 3;
  Members set = 0b111;             ///< of the first view, whose primary is A
  Members witnesses = 0;           ///< they keep headers and vote; no bodies
  Members candidates = 0xFF;       ///< who stands in the search
  std::vector<Members> sets = {};  ///< what the set may be changed to

  int writes = 1;
  int elections = 1;          ///< candidacies, for whatever reason
  int changes = 0;            ///< of the set
  int crashes = 0;            ///< of a process: what the kernel has stays
  int power_cuts = 0;         ///< of a host: what was not synced is lost
  int wipes = 0;              ///< of a host's store
  bool partial_cuts = false;  ///< a power cut may leave any prefix of what was not synced

  bool durable = false;  ///< acknowledgement mode `durable`; else `quorum`
  bool leases = false;
  bool hand_over = false;
  bool sessions = false;      ///< requests are retried
  bool late_answers = false;  ///< append answers may arrive late; else they arrive at once or never
  bool drops = false;         ///< hosts removed from the set drop their replicas

  bool is_extra = false;  ///< searched whole only with --long

  std::optional<Rule> without = std::nullopt;
};

std::span<const Configuration> configurations();

}  // namespace cloudfs::model
