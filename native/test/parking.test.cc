#include "shell/parking.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "cluster_views.h"

using namespace cloudfs;
using namespace cloudfs::shell;
using namespace cloudfs::test;

namespace {

/// A connection, and its other end.
struct Connected {
  Connected() {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()) == 0);
    near = make_connected_stream(Fd(ends[0]));
    far = Fd(ends[1]);
  }
  std::unique_ptr<Stream> near;
  Fd far;
};

/// How it ended.
struct Outcome {
  int calls = 0;
  bool has_come = false;
  Parking::Take take() {
    return [this](std::unique_ptr<Stream> socket) {
      ++calls;
      has_come = socket != nullptr;
    };
  }
};

struct Store {
  Store() {
    driver.format();
    volume = *parse_id<VolumeId>(driver.create(1 << 20, "disk"));
  }
  Driver driver;
  VolumeId volume;
  EventLoop loop;
};

}  // namespace

TEST_CASE("parking: a connection is taken when its other end has spoken, and nothing of it is read") {
  Store store;
  Parking parking(store.loop, *store.driver.core);
  Connected pair;
  Outcome outcome;
  parking.until_spoken(std::move(pair.near), store.volume, outcome.take());
  CHECK_FALSE(parking.step());
  CHECK(parking.next_deadline_ns().has_value());
  REQUIRE(::write(pair.far.get(), "x", 1) == 1);
  store.loop.wait({});
  CHECK(parking.step());
  CHECK(outcome.calls == 1);
  CHECK(outcome.has_come);
  CHECK_FALSE(parking.next_deadline_ns().has_value());
}

TEST_CASE(
    "parking: a connection to whom was elected is taken though its other end waits for this one's word") {
  Store store;
  Parking parking(store.loop, *store.driver.core);
  Connected pair;
  Connected other;
  Outcome outcome;
  Outcome waiting;
  parking.until_spoken(std::move(pair.near), store.volume, outcome.take());
  parking.until_spoken(std::move(other.near), *parse_id<VolumeId>(std::string(40, '7')), waiting.take());
  parking.follow_now(store.volume);
  CHECK(parking.step());
  CHECK(outcome.has_come);
  CHECK(waiting.calls == 0);
}

TEST_CASE("parking: a connection whose other end is gone has not come") {
  Store store;
  Parking parking(store.loop, *store.driver.core);
  Connected pair;
  Outcome outcome;
  parking.until_spoken(std::move(pair.near), store.volume, outcome.take());
  pair.far = Fd();
  store.loop.wait({});
  CHECK(parking.step());
  CHECK(outcome.calls == 1);
  CHECK_FALSE(outcome.has_come);
}

TEST_CASE(
    "parking: one for an epoch waits until that is led here, and is over when a later one is promised") {
  Cluster cluster(3, views_params());
  const std::string volume = create_volume(cluster, Mode::quorum);
  const VolumeId id = *parse_id<VolumeId>(volume);
  EventLoop loop;
  Parking at_primary(loop, *cluster.node(0).core);
  Parking at_follower(loop, *cluster.node(1).core);
  Connected led;
  Connected awaited;
  Outcome at_once;
  Outcome never;
  at_primary.until_led(std::move(led.near), id, {1, host_of(0)}, LeadStage::leading, {'h', 'i'},
                       at_once.take());
  std::array<char, 4> heard{};
  CHECK(::read(led.far.get(), heard.data(), heard.size()) == 2);
  CHECK(at_primary.step());
  CHECK(at_once.has_come);
  at_follower.until_led(std::move(awaited.near), id, {2, host_of(1)}, LeadStage::elected, {}, never.take());
  CHECK_FALSE(at_follower.step());
  must_promise(cluster, 1, volume, epoch_of(3, 2), epoch_of(1, 0));
  CHECK(at_follower.step());
  CHECK(never.calls == 1);
  CHECK_FALSE(never.has_come);
}

TEST_CASE("parking: so many wait at once, and the next one is let go at once") {
  Store store;
  Parking parking(store.loop, *store.driver.core);
  Epoch later = store.driver.core->promised(store.volume);
  ++later.counter;
  // One socket each, of which the other end is closed: nothing is asked of it.
  Outcome waiting;
  const auto park = [&](Outcome& outcome) {
    parking.until_led(make_connected_stream(Fd(::socket(AF_UNIX, SOCK_STREAM, 0))), store.volume, later,
                      LeadStage::elected, {}, outcome.take());
  };
  for (size_t count = 0; count < kParkedMax; ++count) park(waiting);
  CHECK(parking.size() == kParkedMax);
  CHECK(waiting.calls == 0);
  Outcome refused;
  park(refused);
  Connected pair;
  parking.until_spoken(std::move(pair.near), store.volume, refused.take());
  CHECK(refused.calls == 2);
  CHECK_FALSE(refused.has_come);
  CHECK(parking.size() == kParkedMax);
}
