// Each kind of place for a store keeps the same promises: one suite, run on all of them through IoRunner, with real files.
#include "shell/device.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <map>
#include <random>
#include <vector>

#include "shell/directory_device.h"
#include "shell/error.h"
#include "shell/io_runner.h"
#include "temp_dir.h"

using namespace cloudfs;
using namespace cloudfs::shell;
using cloudfs::test::TempDir;

namespace {

constexpr uint64_t kSegmentBytes = 64 << 10;
constexpr int kPatienceMs = 10'000;
constexpr uint64_t kFileBytes = (1 << 20) + 8 * kSegmentBytes;

struct Kind {
  const char* name;
  CreateOptions (*options)(const TempDir&);
};

const Kind kKinds[] = {
    {"directory",
     [](const TempDir& dir) {
       return CreateOptions{dir.file("store"), false, 0};
     }},
    {"big file",
     [](const TempDir& dir) {
       return CreateOptions{dir.file("store"), false, kFileBytes};
     }},
};

std::unique_ptr<Device> with_segments(std::unique_ptr<Device> device) {
  device->set_segment_bytes(kSegmentBytes);
  return device;
}

std::string error_code(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  return "";
}

/// Runs effects and waits for their results.
class Runner {
 public:
  explicit Runner(Device& device) : wake_(::eventfd(0, EFD_CLOEXEC)), io_(device, wake_.get()) {}

  uint64_t start(IoEffect effect) {
    effect.id = ++ids_;
    io_.run(std::move(effect));
    return ids_;
  }

  int wait(uint64_t id) {
    while (!results_.contains(id)) {
      std::vector<IoResult> came;
      io_.take(came);
      for (const IoResult& result : came) {
        CHECK(!results_.contains(result.id));
        results_[result.id] = result.error;
      }
      if (came.empty()) {
        uint64_t count = 0;
        CHECK(::read(wake_.get(), &count, sizeof count) == sizeof count);
        woken_ = true;
      }
    }
    return results_[id];
  }

  int write(uint32_t physical, uint64_t offset, std::vector<std::vector<uint8_t>> parts) {
    IoEffect effect;
    effect.kind = IoEffect::Kind::write;
    effect.physical = physical;
    effect.offset = offset;
    for (const auto& part : parts) effect.slices.push_back({{}, part.data(), part.size()});
    return wait(start(std::move(effect)));
  }

  int sync(std::vector<uint32_t> physicals) {
    IoEffect effect;
    effect.kind = IoEffect::Kind::sync;
    effect.physicals = std::move(physicals);
    return wait(start(std::move(effect)));
  }

  int prepare(uint32_t physical) {
    IoEffect effect;
    effect.kind = IoEffect::Kind::prepare;
    effect.physical = physical;
    return wait(start(std::move(effect)));
  }

  std::vector<uint8_t> read(uint32_t physical, uint64_t offset, uint32_t bytes, bool aside = false) {
    IoEffect effect;
    effect.kind = IoEffect::Kind::read;
    effect.aside = aside;
    effect.physical = physical;
    effect.offset = offset;
    effect.bytes = bytes;
    effect.target = BufferRef(bytes);
    const BufferRef target = effect.target;
    std::fill_n(target.data(), bytes, uint8_t{0xee});
    CHECK(wait(start(std::move(effect))) == 0);
    return {target.data(), target.data() + bytes};
  }

  /// Whether a thread has finished something since this was asked last; it may be about to say so.
  bool was_woken(int patience_ms) {
    if (std::exchange(woken_, false)) return true;
    pollfd wake{wake_.get(), POLLIN, 0};
    uint64_t count = 0;
    return ::poll(&wake, 1, patience_ms) == 1 && ::read(wake_.get(), &count, sizeof count) == sizeof count;
  }

  IoRunner& io() { return io_; }

 private:
  Fd wake_;
  IoRunner io_;
  uint64_t ids_ = 0;
  bool woken_ = false;
  std::map<uint64_t, int> results_;
};

std::vector<uint8_t> pattern(size_t bytes, uint8_t seed) {
  std::vector<uint8_t> result(bytes);
  for (size_t i = 0; i < bytes; ++i) result[i] = static_cast<uint8_t>(seed + i * 7 + (i >> 8));
  return result;
}

template <class Body>
void for_each_kind(Body body) {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.name);
    TempDir dir;
    body(kind.options(dir));
  }
}

}  // namespace

TEST_CASE(
    "device: what was written is read back, at any offset and length, from the superblock region and "
    "segments") {
  for_each_kind([](const CreateOptions& options) {
    const auto device = with_segments(create_device(options));
    Runner runner(*device);
    CHECK(runner.prepare(0) == 0);
    CHECK(runner.prepare(3) == 0);
    CHECK(runner.write(kSuperblockRegion, 4096, {pattern(4096, 1)}) == 0);
    CHECK(runner.write(0, 0, {pattern(4096, 2), pattern(1, 3), pattern(999, 4)}) == 0);
    CHECK(runner.write(3, kSegmentBytes - 4096, {pattern(4096, 5)}) == 0);
    CHECK(runner.read(kSuperblockRegion, 4096, 4096) == pattern(4096, 1));
    CHECK(runner.read(0, 4097, 999) == pattern(999, 4));
    CHECK(runner.read(3, kSegmentBytes - 4096, 4096) == pattern(4096, 5));
    CHECK(runner.read(3, 0, 4096) == std::vector<uint8_t>(4096));
    CHECK(runner.sync({0, 3, kSuperblockRegion, 0}) == 0);
    CHECK(runner.io().in_flight() == 0);
  });
}

TEST_CASE("device: a write of more parts than one system call takes arrives whole") {
  for_each_kind([](const CreateOptions& options) {
    const auto device = with_segments(create_device(options));
    Runner runner(*device);
    CHECK(runner.prepare(1) == 0);
    std::vector<std::vector<uint8_t>> parts;
    std::vector<uint8_t> whole;
    for (size_t i = 0; i < 3000; ++i) {
      parts.push_back(pattern(i % 17, static_cast<uint8_t>(i)));  // empty ones too
      whole.insert(whole.end(), parts.back().begin(), parts.back().end());
    }
    CHECK(runner.write(1, 5, parts) == 0);
    CHECK(runner.read(1, 5, static_cast<uint32_t>(whole.size())) == whole);
  });
}

TEST_CASE("device: a read aside comes from a thread, though the page cache has all of it") {
  for_each_kind([](const CreateOptions& options) {
    const auto device = with_segments(create_device(options));
    Runner runner(*device);
    CHECK(runner.prepare(1) == 0);
    CHECK(runner.was_woken(kPatienceMs));
    CHECK(runner.write(1, 4096, {pattern(8192, 3)}) == 0);
    CHECK(runner.read(1, 4096, 8192) == pattern(8192, 3));
    CHECK_FALSE(runner.was_woken(0));
    CHECK(runner.read(1, 4096, 8192, true) == pattern(8192, 3));
    CHECK(runner.was_woken(kPatienceMs));
  });
}

TEST_CASE("device: a segment never prepared, and what lies behind a segment's end, reads as zeros") {
  for_each_kind([](const CreateOptions& options) {
    const auto device = with_segments(create_device(options));
    Runner runner(*device);
    CHECK(runner.read(2, 0, 4096) == std::vector<uint8_t>(4096));
    CHECK(runner.read(100'000, 0, 4096) == std::vector<uint8_t>(4096));
    CHECK(runner.prepare(2) == 0);
    CHECK(runner.prepare(3) == 0);
    CHECK(runner.write(2, kSegmentBytes - 8, {pattern(8, 9)}) == 0);
    CHECK(runner.write(3, 0, {pattern(64, 9)}) == 0);
    std::vector<uint8_t> expected = pattern(8, 9);
    expected.resize(16);
    CHECK(runner.read(2, kSegmentBytes - 8, 16) == expected);
    CHECK(runner.read(2, kSegmentBytes + 4096, 16) == std::vector<uint8_t>(16));
  });
}

TEST_CASE("device: preparing allocates every block ahead, and keeps a whole segment's bytes") {
  for_each_kind([](const CreateOptions& options) {
    const auto device = with_segments(create_device(options));
    Runner runner(*device);
    CHECK(runner.prepare(4) == 0);
    Place place;
    REQUIRE(device->locate(4, place) == 0);
    const off_t start = static_cast<off_t>(place.base);
    const off_t hole = ::lseek(place.file->fd.get(), start, SEEK_HOLE);
    CHECK(hole >= start + static_cast<off_t>(kSegmentBytes));
    CHECK(runner.write(4, 100, {pattern(64, 7)}) == 0);
    CHECK(runner.prepare(4) == 0);
    CHECK(runner.read(4, 100, 64) == pattern(64, 7));
  });
}

TEST_CASE("device: bytes outlive the process that wrote them, and a created place is found again") {
  for_each_kind([](const CreateOptions& options) {
    {
      const auto device = with_segments(create_device(options));
      Runner runner(*device);
      CHECK(runner.prepare(1) == 0);
      CHECK(runner.write(1, 0, {pattern(4096, 1)}) == 0);
    }
    const auto device = with_segments(open_device(options.path));
    CHECK(device->is_directory() == (options.file_bytes == 0));
    Runner runner(*device);
    CHECK(runner.read(1, 0, 4096) == pattern(4096, 1));
  });
}

TEST_CASE("device: a store is open once at a time, and free again when closed") {
  for_each_kind([](const CreateOptions& options) {
    auto device = create_device(options);
    CHECK(error_code([&] { open_device(options.path); }) == "ERR_STORE_LOCKED");
    CHECK(error_code([&] { create_device({options.path, true, options.file_bytes}); }) == "ERR_STORE_LOCKED");
    device.reset();
    CHECK(error_code([&] { open_device(options.path); }) == "");
  });
}

TEST_CASE("device: a store that is there is only given up when told to") {
  for_each_kind([](const CreateOptions& options) {
    {
      const auto device = with_segments(create_device(options));
      Runner runner(*device);
      CHECK(runner.write(kSuperblockRegion, 0, {pattern(4096, 1)}) == 0);
      CHECK(runner.prepare(0) == 0);
    }
    CHECK(error_code([&] { create_device(options); }) == "ERR_STORE_EXISTS");
    const auto device = with_segments(create_device({options.path, true, options.file_bytes}));
    Runner runner(*device);
    CHECK(runner.read(kSuperblockRegion, 0, 8192) == std::vector<uint8_t>(8192));
  });
}

TEST_CASE("device: no store there is told from a store that cannot be opened") {
  TempDir dir;
  CHECK(error_code([&] { open_device(dir.file("nothing")); }) == "ERR_STORE_NOT_FOUND");
  std::filesystem::create_directory(dir.file("empty"));
  CHECK(error_code([&] { open_device(dir.file("empty")); }) == "ERR_STORE_NOT_FOUND");
  CHECK(std::filesystem::is_empty(dir.file("empty")));
  CHECK(error_code([&] { open_device("/dev/null"); }) == "ERR_STORE_NOT_FOUND");
}

TEST_CASE("device: a big file has room for as many segments as fit behind the first MiB, and no more") {
  TempDir dir;
  const auto device = with_segments(create_device({dir.file("store"), false, kFileBytes}));
  CHECK(device->segments_max(kSegmentBytes) == 8);
  Runner runner(*device);
  CHECK(runner.prepare(7) == 0);
  CHECK(runner.prepare(8) == ENOSPC);
}

TEST_CASE("device: a file whose writes are not synced stays open however many others are used") {
  TempDir dir;
  auto owned = create_device({dir.file("store"), false, 0});
  auto& device = *owned;
  device.set_segment_bytes(4096);
  Runner runner(device);
  const uint32_t count = kOpenFilesMax + 40;
  for (uint32_t physical = 0; physical < count; ++physical) {
    const Fd fd(::open((dir.file("store/segments/") +
                        [&] {
                          char name[16];
                          std::snprintf(name, sizeof name, "%08x.seg", physical);
                          return std::string(name);
                        }())
                           .c_str(),
                       O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    REQUIRE(fd);
  }
  CHECK(runner.write(0, 0, {pattern(16, 1)}) == 0);
  Place before;
  REQUIRE(device.locate(0, before) == 0);
  const StoreFile* const written = before.file.get();
  before.file.reset();
  const auto touch_all = [&] {
    for (uint32_t physical = 1; physical < count; ++physical) {
      Place place;
      REQUIRE(device.locate(physical, place) == 0);
    }
  };
  touch_all();
  Place after;
  REQUIRE(device.locate(0, after) == 0);
  CHECK(after.file.get() == written);
  after.file.reset();
  CHECK(runner.sync({0}) == 0);
  touch_all();
  size_t open_files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++open_files;
  CHECK(open_files < kOpenFilesMax + 40);
}

TEST_CASE("device: reads, writes, syncs and prepares in flight together all complete, with the right bytes") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  for_each_kind([seed](const CreateOptions& options) {
    std::mt19937 random(seed);
    const auto device = with_segments(create_device(options));
    Runner runner(*device);
    for (uint32_t physical = 0; physical < 4; ++physical) CHECK(runner.prepare(physical) == 0);
    std::vector<std::vector<uint8_t>> model(4, std::vector<uint8_t>(kSegmentBytes));
    for (int round = 0; round < 50; ++round) {
      struct Read {
        uint64_t id;
        BufferRef target;
        std::vector<uint8_t> expected;
      };
      std::vector<Read> reads;
      std::vector<uint64_t> others;
      // The page cache is dropped now and then, so that reads take the way over the threads too.
      if (round % 5 == 0) {
        CHECK(runner.sync({0, 1, 2, 3}) == 0);
        for (uint32_t physical = 0; physical < 4; ++physical) {
          Place place;
          REQUIRE(device->locate(physical, place) == 0);
          ::posix_fadvise(place.file->fd.get(), static_cast<off_t>(place.base), kSegmentBytes,
                          POSIX_FADV_DONTNEED);
        }
      }
      for (int i = 0; i < 20; ++i) {
        const auto physical = static_cast<uint32_t>(random() % 4);
        const uint32_t offset = static_cast<uint32_t>(random() % (kSegmentBytes - 9000));
        const auto bytes = static_cast<uint32_t>(1 + random() % 9000);
        IoEffect effect;
        effect.physical = physical;
        effect.offset = offset;
        if (i % 2 == 0) {
          effect.kind = IoEffect::Kind::read;
          effect.bytes = bytes;
          effect.target = BufferRef(bytes);
          const BufferRef target = effect.target;
          const auto from = model[physical].begin() + offset;
          reads.push_back({runner.start(std::move(effect)), target, {from, from + bytes}});
        } else if (i % 6 == 1) {
          effect.kind = IoEffect::Kind::sync;
          effect.physicals = {0, 1, 2, 3};
          others.push_back(runner.start(std::move(effect)));
        } else if (i % 6 == 3) {
          effect.kind = IoEffect::Kind::prepare;
          effect.physical = static_cast<uint32_t>(4 + random() % 4);
          others.push_back(runner.start(std::move(effect)));
        }
      }
      for (const uint64_t id : others) CHECK(runner.wait(id) == 0);
      for (const Read& read : reads) {
        CHECK(runner.wait(read.id) == 0);
        CHECK(std::equal(read.expected.begin(), read.expected.end(), read.target.data()));
      }
      const auto physical = static_cast<uint32_t>(random() % 4);
      const size_t offset = random() % (kSegmentBytes - 9000);
      const auto bytes = pattern(1 + random() % 9000, static_cast<uint8_t>(random()));
      CHECK(runner.write(physical, offset, {bytes}) == 0);
      std::copy(bytes.begin(), bytes.end(), model[physical].begin() + static_cast<ptrdiff_t>(offset));
    }
  });
}
