// All that can happen next in a state: every action of every host, within the bounds of the search.
#pragma once

#include <algorithm>
#include <cstring>
#include <set>

#include "model.h"

namespace cloudfs::model {

template <class F>
void Model::each_step(const State& state, F emit) {
  const Configuration& bounds = configuration_;
  // Tries one action on a copy, which `spend` has charged for it.
  auto attempt = [&](Step step, auto action, uint8_t State::*spend = nullptr, int budget = 0) {
    if (spend != nullptr && state.*spend >= budget) return;
    State next = state;
    if (spend != nullptr) ++(next.*spend);
    if (!action(next)) return;
    canonicalise(next);
    if (std::memcmp(&next, &state, state_bytes()) != 0) emit(step, next);
  };
  using What = Step::What;

  Epoch highest = kNoEpoch;
  for (HostId id = 0; id < bounds.hosts; ++id) highest = std::max(highest, state.hosts[id].promised);

  for (HostId a = 0; a < bounds.hosts; ++a) {
    const Host& host = state.hosts[a];

    // Above its own promise, or, refused before, above every other.
    const Epoch low = next_epoch(host.promised, a), high = next_epoch(highest, a);
    const int elections = has(bounds.candidates, a) ? bounds.elections : 0;
    for (const Epoch epoch : std::set{low, high})
      attempt(
          {What::kStand, a, 0, epoch}, [&](State& s) { return stand(s, a, epoch, 0); }, &State::elections,
          elections);
    for (const Members set : bounds.sets)
      if (state.changes < bounds.changes)
        attempt(
            {What::kStand, a, set, low}, [&](State& s) { return stand(s, a, low, set) && ++s.changes != 0; },
            &State::elections, elections);

    attempt({What::kAdopt, a}, [&](State& s) { return adopt(s, a); });
    attempt({What::kLead, a}, [&](State& s) { return lead(s, a); });

    const auto request = static_cast<uint8_t>(state.writes + 1);
    attempt(
        {What::kWrite, a, 0, request}, [&](State& s) { return write(s, a, request); }, &State::writes,
        bounds.writes);
    for (uint8_t old = 1; bounds.sessions && old <= state.writes; ++old)
      attempt({What::kRetry, a, 0, old}, [&](State& s) { return retry(s, a, old); });
    if (uses_disk()) attempt({What::kSync, a}, [&](State& s) { return sync(s, a); });
    if (bounds.drops) attempt({What::kDrop, a}, [&](State& s) { return drop(s, a); });

    attempt(
        {What::kCrash, a}, [&](State& s) { return crash(s, a); }, &State::crashes, bounds.crashes);
    for (uint8_t kept = 0; kept <= (bounds.partial_cuts ? histories_.lsn(host.log) : 0); ++kept)
      attempt(
          {What::kPowerCut, a, 0, kept}, [&](State& s) { return cut_power(s, a, kept); }, &State::power_cuts,
          bounds.power_cuts);
    attempt(
        {What::kWipe, a}, [&](State& s) { return wipe(s, a); }, &State::wipes, bounds.wipes);

    if (bounds.leases) attempt({What::kGrantEnds, a}, [&](State& s) { return end_grant(s, a); });

    for (HostId b = 0; b < bounds.hosts; ++b) {
      if (a == b) continue;
      attempt({What::kPromise, a, b}, [&](State& s) { return promise(s, a, b, false); });
      attempt({What::kPromiseLost, a, b}, [&](State& s) { return promise(s, a, b, true); });
      if (host.is_recovering) attempt({What::kAsk, a, b}, [&](State& s) { return ask_head(s, a, b); });
      if (bounds.late_answers)
        attempt({What::kAnswer, a, b}, [&](State& s) { return receive_answer(s, a, b); });
      if (bounds.hand_over) attempt({What::kHandOver, a, b}, [&](State& s) { return hand_over(s, a, b); });
      if (!bounds.leases) continue;
      attempt({What::kGrant, a, b}, [&](State& s) { return grant_lease(s, a, b); });
      attempt({What::kLeaseEnds, a, b}, [&](State& s) { return end_lease(s, a, b); });
    }
  }

  for (const Stream& stream : state.streams)
    for (HostId a = 0; stream.epoch != kNoEpoch && a < bounds.hosts; ++a)
      for (Lsn lsn = 1; lsn <= histories_.lsn(stream.history); ++lsn)
        attempt({What::kDeliver, a, stream.epoch, lsn}, [&](State& s) { return deliver(s, stream, a, lsn); });
}

}  // namespace cloudfs::model
