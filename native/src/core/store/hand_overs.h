// A volume passes from its primary to the next one while clients wait: what their replicators have prepared is carried out by
// the two cores alone, over the stream between them (docs/protocol.md, "Hand-over").
//
// The primary, drained, says so (`hand`) and promises the heir's epoch; it says so again when that is on its disk. The heir
// promises its own epoch at the first word, and leads when its promise is on its disk and the second word has come. So both
// write at the same time, and everything that counts is on disk before it counts.
//
// Whatever keeps the heir from it leaves promises at most: the replicators do it then.
#pragma once

#include <optional>
#include <unordered_map>

#include "core/format/frame.h"
#include "core/format/payload.h"
#include "core/replication/streams.h"

namespace cloudfs {

class Leader;
class Store;
class Volume;

/// Who was told all ends the stream; who does not is not waited for.
constexpr uint64_t kLastWordsNsMax = 1'000'000'000;
/// A heir that was handed nothing by then is none.
constexpr uint64_t kHeirNsMax = 5'000'000'000;

class HandOvers final : private StreamEnd {
 public:
  explicit HandOvers(Store& store) : store_(store) {}

  // --- At the primary that resigns ---
  /// What it gives up, and to whom. `pad`: known to that host alone; the stamp travels by the stream, which is not encrypted.
  struct Resigned {
    Epoch epoch;
    Epoch next;
    Position head;
    Stamp stamp{};
    Stamp pad{};
  };
  /// It is drained, and is about to promise the other's epoch. The stream to that host stays open, for the second word.
  void resign(const Volume& volume, const Leader& leader, const Resigned& resigned);
  /// Which the leader leaves open when it retires. 0: none
  StreamId kept(const VolumeId& volume) const;
  /// A promise is on disk, or could not be put there.
  void on_promise_settled(const VolumeId& volume);

  // --- At the heir ---
  struct Heir {
    Epoch epoch;
    Stamp stamp{};
    ViewPayload payload;  // without the old stamp, which comes with the word
    Stamp pad{};
  };
  /// This host is to lead the volume when its primary resigns. @returns why not (a code), or nullptr
  const char* expect(const Volume& volume, Heir heir);
  void on_hand(const VolumeId& volume, const Epoch& leader_epoch, bool is_on_disk, const HandFrame& hand);
  /// Makes the views of those that have been handed over and adopted; ends streams over which all has been said.
  void step();

 private:
  struct Expected {
    Heir heir;
    uint64_t until_ns = 0;
    Position head;
    bool is_promised = false;  // or is about to be: the first word has come
    bool is_given = false;     // the second word has come
    bool is_elected = false;
  };
  struct Going {
    StreamId stream = 0;
    Epoch epoch;
    HandFrame hand;
    uint64_t until_ns = 0;  // the second word has been said
  };

  void try_lead(const VolumeId& volume);

  // StreamEnd: of streams that are kept
  bool on_frame(StreamId, const FrameChannel::Frame&) override { return true; }
  void on_drained(StreamId) override {}
  void on_closed(StreamId stream) override;

  Store& store_;
  std::unordered_map<VolumeId, Going> going_;
  std::unordered_map<VolumeId, Expected> expected_;
};

}  // namespace cloudfs
