#include "core/replication/streams.h"

#include <doctest/doctest.h>

#include <cstring>

using namespace cloudfs;

namespace {

/// Takes every frame.
struct Listener final : StreamEnd {
  bool on_frame(StreamId, const FrameChannel::Frame&) override { return true; }
  void on_drained(StreamId) override {}
  void on_closed(StreamId) override { ++closed; }
  int closed = 0;
};

/// What is remembered of a stream whose other side refused in these words.
StreamRefusal refused_with(const RefuseFrame& words) {
  Effects effects;
  Streams streams(effects);
  Listener listener;
  const StreamId stream = streams.open();
  streams.attach(stream, listener);
  const BufferRef frame = encode_refuse({}, words);
  const FrameChannel::Window window = streams.receive_target(stream);
  REQUIRE(window.bytes >= frame.size());
  std::memcpy(window.data, frame.data(), frame.size());
  streams.received(stream, frame.size());
  streams.turn();
  CHECK(listener.closed == 1);
  return streams.refusal(stream);
}

}  // namespace

TEST_CASE("a stream's refusal is told, by whichever side it was, until its socket is gone") {
  const StreamRefusal heard = refused_with({"ERR_NOT_MEMBER", "who are you? \xc3\xa9"});
  CHECK(heard.code == "ERR_NOT_MEMBER");
  CHECK(heard.message == "who are you? \xc3\xa9");

  Effects effects;
  Streams streams(effects);
  Listener listener;
  const StreamId stream = streams.open();
  streams.attach(stream, listener);
  CHECK(streams.refusal(stream).code.empty());
  streams.refuse(stream, {}, "ERR_TICKET", "another host");
  // The first word stands.
  streams.refuse(stream, {}, "ERR_EPOCH_STALE", "too late");
  CHECK(streams.refusal(stream).code == "ERR_TICKET");
  CHECK(streams.refusal(stream).message == "another host");
  CHECK(listener.closed == 1);
  streams.closed(stream);
  CHECK(streams.refusal(stream).code.empty());
}

TEST_CASE("of another engine's refusal nothing is repeated that is no code, or no plain text") {
  for (const char* code : {"", "ERR", "err_ticket", "ERR_TICKET\n", "ERR_\xff", "OK"}) {
    CAPTURE(code);
    CHECK(refused_with({code, "why"}).code == "ERR_FRAME_CORRUPT");
  }
  for (const char* message : {"two\nlines", "\x1b[2J", "\x7f", "\xff", "\xc3"}) {
    CAPTURE(message);
    const StreamRefusal refusal = refused_with({"ERR_TICKET", message});
    CHECK(refusal.code == "ERR_TICKET");
    CHECK(refusal.message.empty());
  }
}
