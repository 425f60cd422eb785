#include "trace.h"

namespace cloudfs::model {

namespace {

std::string name(HostId host) {
  return std::string(1, static_cast<char>('A' + host));
}

std::string name_of_epoch(Epoch epoch) {
  return epoch == kNoEpoch ? "none" : std::to_string(counter_of(epoch)) + "." + name(maker_of(epoch));
}

std::string name_of_set(Members set) {
  std::string text;
  for (HostId host = 0; host < kHostsMax; ++host)
    if (has(set, host)) text += name(host);
  return text;
}

/// `v2.C(ABC)` is C's view change of epoch 2.C, `w1@1.A` the first request's write in epoch 1.A.
std::string text_of(const Record& record) {
  if (!record.is_view) return "w" + std::to_string(record.request) + "@" + name_of_epoch(record.epoch);
  return "v" + name_of_epoch(record.epoch) + "(" + name_of_set(record.set) + ")" +
         (record.is_restart ? "restart" : "");
}

std::string text_of(const Histories& histories, HistoryId history) {
  if (history == kEmptyHistory) return "nothing";
  std::string text;
  for (HistoryId at = history; at != kEmptyHistory; at = histories.parent(at))
    text = text_of(histories.record(at)) + (text.empty() ? "" : " ") + text;
  return text;
}

std::string head(const Histories& histories, HistoryId history) {
  return history == kEmptyHistory
             ? "nothing"
             : text_of(histories.record(history)) + " at lsn " + std::to_string(histories.lsn(history));
}

std::string promised(const Host& host, bool uses_disk) {
  const bool is_synced = !uses_disk || host.promised == host.promised_on_disk;
  return name_of_epoch(host.promised) + (is_synced ? " (synced)" : " (not synced)");
}

std::string text_of(const Model& model, const Step& step, const State& before, const State& after) {
  using What = Step::What;
  const Histories& histories = model.histories();
  const HostId a = step.a, b = step.b;
  const Host& host = after.hosts[a];
  const bool uses_disk = model.uses_disk();
  const std::string recovering = before.hosts[a].is_recovering ? ", recovering," : "";
  switch (step.what) {
    case What::kNothing:
      return "";
    case What::kStand:
      return name(a) + recovering + " stands for epoch " + name_of_epoch(step.n) +
             (b != 0 ? " and the set " + name_of_set(b) : "") + ", and promises " +
             promised(host, uses_disk) + "; its head is " + head(histories, host.log);
    case What::kPromise:
      return name(a) + recovering + " promises " + promised(host, uses_disk) + "; its head is " +
             head(histories, host.log);
    case What::kPromiseLost:
      return name(a) + recovering + " promises " + promised(host, uses_disk) + "; the answer is lost";
    case What::kAdopt:
      return name(a) + " has promises of " + name_of_set(before.hosts[a].promises) + " and adopts the head " +
             head(histories, host.log) +
             (histories.lsn(host.log) < before.hosts[a].best_lsn ? ", leaving off what has lost its body"
                                                                 : "") +
             (host.is_restart ? "; its view will be a restart" : "");
    case What::kLead:
      return name(a) + " makes its view change " + head(histories, host.log) +
             (uses_disk ? (host.disk == host.log ? " (synced)" : " (not synced)") : "");
    case What::kDeliver: {
      std::string text = name(a) + recovering + " gets what the primary of " + name_of_epoch(step.b) +
                         " sent, up to lsn " + std::to_string(step.n);
      if (host.log != before.hosts[a].log) {
        text += ": it has " + text_of(histories, host.log);
        if (uses_disk) text += host.disk == host.log ? " (synced)" : " (in page cache)";
      }
      const HostId sender = maker_of(step.b);
      if (!has(before.hosts[sender].slices, a) && has(after.hosts[sender].slices, a))
        text += "; it gives " + name(sender) + " its slice";
      if (before.hosts[a].is_recovering && !host.is_recovering) text += "; it has recovered";
      return text;
    }
    case What::kAnswer:
      return name(a) + " receives " + name(b) + "'s append answer, sent earlier";
    case What::kAsk:
      return name(a) + ", recovering, asks " + name(b) + " for its head";
    case What::kWrite:
      return "the client writes w" + std::to_string(step.n) + " at " + name(a) + ", which appends " +
             head(histories, host.log);
    case What::kRetry:
      return "the client repeats request " + std::to_string(step.n) + " at " + name(a);
    case What::kSync:
      return name(a) + " syncs";
    case What::kCrash:
      return name(a) + "'s process crashes and starts again";
    case What::kPowerCut:
      return "POWER CUT at " + name(a) + ": on disk is " + text_of(histories, host.log) + ", promise " +
             name_of_epoch(host.promised);
    case What::kWipe:
      return name(a) + "'s store is emptied";
    case What::kGrant:
      return name(a) + " grants " + name(b) + " a lease in " + name_of_epoch(host.granted);
    case What::kLeaseEnds:
      return name(a) + " counts " + name(b) + "'s lease as ended";
    case What::kGrantEnds:
      return name(a) + " sees the lease it granted run out";
    case What::kHandOver:
      return name(a) + " resigns " + name_of_epoch(before.hosts[a].epoch) + " and hands its stamp to " +
             name(b);
    case What::kDrop:
      return name(a) + ", removed, drops its replica";
  }
  return "?";
}

}  // namespace

std::string trace_text(const Model& model, const Outcome<Model>& outcome) {
  const Histories& histories = model.histories();
  Model fresh(model.configuration());
  State before = fresh.initial();
  std::string text;
  size_t number = 0;
  for (const auto& [step, after] : outcome.trace) {
    std::string line = text_of(model, step, before, after);
    if (after.committed != before.committed) line += "; committed: " + text_of(histories, after.committed);
    if (after.flushed != before.flushed) line += "; flushed up to lsn " + std::to_string(after.flushed);
    ++number;
    text += (number < 10 ? " " : "") + std::to_string(number) + ". " + line + "\n";
    before = after;
  }
  text += "\n";
  for (HostId id = 0; id < model.configuration().hosts; ++id) {
    const Host& host = before.hosts[id];
    const char* role = host.role == Role::kPrimary     ? ", primary"
                       : host.role == Role::kElected   ? ", elected"
                       : host.role == Role::kCandidate ? ", candidate"
                                                       : "";
    text += name(id) + ": promised " + name_of_epoch(host.promised) + role +
            (host.is_recovering ? ", recovering" : "") + (host.is_out ? ", no member any more" : "") +
            "; has " + text_of(histories, host.log) + "\n";
  }
  text += "committed: " + text_of(histories, before.committed) + "\n\n";
  if (model.way_on().up != 0)
    text += "Then " + name(model.way_on().candidate) + " is elected, with " + name_of_set(model.way_on().up) +
            " up, and commits: " + text_of(histories, model.way_on().committed) + "\n";
  text += std::string("BROKEN: ") + outcome.broken + "\n";
  return text;
}

}  // namespace cloudfs::model
