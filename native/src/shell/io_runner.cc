#include "shell/io_runner.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/base/assert.h"
#include "shell/file_io.h"

namespace cloudfs::shell {

IoRunner::IoRunner(Device& device, int wake_fd)
    : device_(device),
      results_(wake_fd),
      readers_("cfs-read", kReadThreads, results_),
      aside_("cfs-aside", 1, results_),
      syncer_("cfs-sync", 1, results_),
      preparer_("cfs-prepare", 1, results_) {}

IoRunner::~IoRunner() = default;

void IoRunner::run(IoEffect effect) {
  ++in_flight_;
  switch (effect.kind) {
    case IoEffect::Kind::write:
      finish(effect.id, write(effect));
      return;
    case IoEffect::Kind::sync:
      sync(effect);
      return;
    case IoEffect::Kind::read:
      read(std::move(effect));
      return;
    case IoEffect::Kind::prepare:
      prepare(effect);
      return;
  }
}

void IoRunner::take(std::vector<IoResult>& results) {
  const size_t before = results.size();
  results.insert(results.end(), finished_.begin(), finished_.end());
  finished_.clear();
  const size_t from_threads = results.size();
  results_.take(results);
  for (size_t i = from_threads; i < results.size(); ++i) {
    reading_.erase(results[i].id);
    if (results[i].error == 0) forget_synced(results[i].id);
    syncing_.erase(results[i].id);
  }
  in_flight_ -= results.size() - before;
}

uint64_t IoRunner::place_bytes(uint32_t physical) const {
  return physical == kSuperblockRegion ? kSuperblockRegionBytes : device_.segment_bytes();
}

int IoRunner::write(const IoEffect& effect) {
  Place place;
  if (const int error = device_.locate(effect.physical, place)) return error;
  size_t bytes = 0;
  std::vector<iovec> parts;
  parts.reserve(effect.slices.size());
  for (const Slice& slice : effect.slices) {
    parts.push_back({const_cast<uint8_t*>(slice.data), slice.size});
    bytes += slice.size;
  }
  ensure(effect.offset + bytes <= place_bytes(effect.physical), "a write stays in its segment");
  place.file->last_write = ++writes_;
  unsynced_.try_emplace(place.file.get(), place.file);
  drop_behind_.wrote(place.file, place.base + effect.offset, bytes);
  return write_fully(place.file->fd.get(), parts, place.base + effect.offset);
}

void IoRunner::sync(const IoEffect& effect) {
  Syncing syncing{{}, writes_};
  for (const uint32_t physical : effect.physicals) {
    Place place;
    if (const int error = device_.locate(physical, place)) {
      finish(effect.id, error);
      return;
    }
    if (std::find(syncing.files.begin(), syncing.files.end(), place.file) == syncing.files.end()) {
      syncing.files.push_back(std::move(place.file));
    }
  }
  const auto files = syncing.files;
  syncing_.emplace(effect.id, std::move(syncing));
  syncer_.run(effect.id, [files, behind = drop_behind_.take()] {
    for (const auto& file : files) {
      if (::fdatasync(file->fd.get()) != 0) return errno;
    }
    DropBehind::drop(behind);
    return 0;
  });
}

void IoRunner::forget_synced(uint64_t sync_id) {
  const auto found = syncing_.find(sync_id);
  if (found == syncing_.end()) return;
  for (const auto& file : found->second.files) {
    if (file->last_write <= found->second.write) unsynced_.erase(file.get());
  }
}

void IoRunner::read(IoEffect effect) {
  ensure(effect.bytes <= effect.target.size(), "a read has room for its bytes");
  uint8_t* target = effect.target.data();
  size_t bytes = effect.bytes;
  Place place;
  if (const int error = device_.locate(effect.physical, place)) {
    if (error == ENOENT) std::memset(target, 0, bytes);
    finish(effect.id, error == ENOENT ? 0 : error);
    return;
  }
  // What lies behind the segment is zeros, though another segment may follow in the same file.
  const uint64_t room = place_bytes(effect.physical) - std::min(effect.offset, place_bytes(effect.physical));
  if (bytes > room) {
    std::memset(target + room, 0, bytes - room);
    bytes = room;
  }
  uint64_t offset = place.base + effect.offset;
  const size_t cached = effect.aside ? 0 : read_cached(place.file->fd.get(), target, bytes, offset);
  if (cached == bytes) {
    finish(effect.id, 0);
    return;
  }
  target += cached;
  offset += cached;
  bytes -= cached;
  reading_.emplace(effect.id, std::move(effect.target));
  (effect.aside ? aside_ : readers_).run(effect.id, [file = std::move(place.file), target, bytes, offset] {
    return read_fully(file->fd.get(), target, bytes, offset);
  });
}

void IoRunner::prepare(const IoEffect& effect) {
  preparer_.run(effect.id, [this, physical = effect.physical] { return device_.prepare(physical); });
}

}  // namespace cloudfs::shell
