// Reads a volume's runs back from the log, in order of lsn: for catch-up and for /stream. One piece at a time; each run is
// checked in full, for what leaves the host again must be what the chain says. Digests, which take a good part of the
// time, may be left to whoever gets it.
#pragma once

#include <optional>
#include <vector>

#include "core/base/io_queue.h"
#include "core/format/run.h"
#include "core/log/appender.h"
#include "core/log/segments.h"

namespace cloudfs {

class Volume;

class LogReaderOwner {
 public:
  /// Whole runs, consecutive from the lsn asked for; at least one. `error` (errno): the log cannot be read there.
  struct Run {
    RunView view;
    Slice bytes;
    Slice body;  // empty also where a witness keeps none
    bool has_body() const { return body.size == view.header().body_bytes; }
  };
  virtual void on_runs(std::vector<Run>& runs, int error) = 0;

 protected:
  ~LogReaderOwner() = default;
};

class LogReader final : IoOwner {
 public:
  enum class Digests : uint8_t { check, leave };
  LogReader(IoQueue& io, Segments& segments, const Appender& appender, const Volume& volume,
            Digests digests = Digests::check)
      : io_(io), segments_(segments), appender_(appender), volume_(volume), digests_(digests) {}
  ~LogReader();
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;

  /// Reads on from `lsn`, with which a run begins; `inside`: or from the run that holds it. @returns false if no segment
  /// holds it any more
  [[nodiscard]] bool read(Lsn lsn, LogReaderOwner& owner, bool inside = false);
  bool busy() const { return owner_ != nullptr; }
  /// A read is under way: keep this object.
  bool in_flight() const { return in_flight_; }
  /// Forgets what is asked for; completions under way are dropped.
  void cancel();

 private:
  void on_io(uint64_t cookie, int error) override;
  [[nodiscard]] bool find();
  void fetch(uint32_t bytes);
  void parse();
  void deliver(std::vector<LogReaderOwner::Run>& runs, int error);

  IoQueue& io_;
  Segments& segments_;
  const Appender& appender_;
  const Volume& volume_;
  const Digests digests_;
  LogReaderOwner* owner_ = nullptr;
  Lsn lsn_ = 0;
  bool inside_ = false;
  // Where the next piece is read; kept between reads, for the next run is most often right there.
  uint32_t logical_ = 0;
  uint32_t offset_ = 0;
  Lsn next_ = 0;         // nothing of it lies before that place
  uint32_t pinned_ = 0;  // logical id of the segment being read
  BufferRef piece_;
  uint64_t asked_ = 0;  // numbers reads, so that those of a cancelled request are known
  bool in_flight_ = false;
};

}  // namespace cloudfs
