// The `records` command: committed runs of a volume, with their bodies, read back from the log and checked.
#pragma once

#include <deque>
#include <optional>

#include "core/replication/log_reader.h"

namespace cloudfs {

class Store;

class RecordsReader final : LogReaderOwner {
 public:
  explicit RecordsReader(Store& store) : store_(store) {}

  /// Answers `command` with whole runs from the one that holds `lsn` on, of `bytes_max` bytes or a little more: at least
  /// one if one is committed there.
  void read(Volume& volume, Lsn lsn, uint64_t bytes_max, uint64_t command);
  /// Begins what waits; once a turn.
  void step();
  bool busy() const { return !jobs_.empty(); }
  /// The store stopped.
  void fail();

 private:
  struct Job {
    Volume* volume = nullptr;
    Lsn next = 0;
    uint64_t bytes_max = 0;
    uint64_t command = 0;
    std::vector<Slice> parts;
    uint64_t bytes = 0;
  };
  void on_runs(std::vector<Run>& runs, int error) override;
  void begin();
  void answer();
  void refuse(const char* code, const char* message);

  Store& store_;
  std::deque<Job> jobs_;
  std::optional<LogReader> reader_;  // of the job at the front
  bool reading_ = false;
};

}  // namespace cloudfs
