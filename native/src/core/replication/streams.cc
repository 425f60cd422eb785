#include "core/replication/streams.h"

#include <algorithm>

#include "core/format/payload.h"

namespace cloudfs {

namespace {

bool is_code(std::string_view text) {
  return text.starts_with("ERR_") && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
         });
}

/// Nothing in it moves the cursor of whoever reads a log.
bool is_plain(std::string_view text) {
  return is_utf8(as_bytes(text)) && std::none_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

/// Another engine's words, as far as they are fit to be repeated.
StreamRefusal said(const FrameView& view) {
  Result<RefuseFrame> refuse = decode_refuse(view);
  if (!refuse || !is_code(refuse->code))
    return {"ERR_FRAME_CORRUPT", "the other engine refused, and its reason cannot be read"};
  if (!is_plain(refuse->message)) refuse->message.clear();
  return {std::move(refuse->code), std::move(refuse->message)};
}

}  // namespace

StreamId Streams::open() {
  if (streams_.size() >= kStreamsMax) return 0;
  streams_.push_back(std::make_unique<One>());
  streams_.back()->id = next_++;
  return streams_.back()->id;
}

void Streams::attach(StreamId stream, StreamEnd& end) {
  One* one = find(stream);
  ensure(one != nullptr && one->end == nullptr, "a stream gets its end once");
  one->end = &end;
  work_ = true;
}

void Streams::hand_to(StreamId stream, StreamEnd& end) {
  One* one = find(stream);
  ensure(one != nullptr && one->end != nullptr && !one->closing, "an open stream is handed on");
  one->end = &end;
}

bool Streams::attached(StreamId stream) const {
  const One* one = find(stream);
  return one != nullptr && one->end != nullptr;
}

Streams::One* Streams::find(StreamId stream) const {
  const auto at = std::lower_bound(streams_.begin(), streams_.end(), stream,
                                   [](const auto& one, StreamId id) { return one->id < id; });
  return at == streams_.end() || (*at)->id != stream ? nullptr : at->get();
}

FrameChannel::Window Streams::receive_target(StreamId stream) {
  One* one = find(stream);
  // What waits to be taken is all that is buffered: the peer's sends block, and nothing grows.
  if (one == nullptr || one->closing || one->waiting) return {};
  return one->channel.receive_target();
}

void Streams::received(StreamId stream, size_t bytes) {
  One* one = find(stream);
  if (one == nullptr) return;
  one->channel.received(bytes);
  work_ = true;
}

void Streams::sent(StreamId stream, size_t bytes) {
  One* one = find(stream);
  if (one == nullptr) return;
  ensure(bytes <= one->unsent, "no more is sent than was given");
  one->unsent -= bytes;
  one->drained = true;
  work_ = true;
}

void Streams::closed(StreamId stream) {
  const auto at =
      std::find_if(streams_.begin(), streams_.end(), [&](const auto& one) { return one->id == stream; });
  if (at == streams_.end()) return;
  const std::unique_ptr<One> one = std::move(*at);
  streams_.erase(at);
  if (one->end != nullptr && !one->closing) one->end->on_closed(stream);
}

void Streams::send(StreamId stream, std::vector<Slice> slices) {
  One* one = find(stream);
  if (one == nullptr || one->closing) return;
  for (const Slice& slice : slices) one->unsent += slice.size;
  out_.sends.push_back({stream, std::move(slices)});
}

void Streams::send(StreamId stream, BufferRef frame) {
  std::vector<Slice> slices;
  const uint8_t* data = frame.data();
  const size_t size = frame.size();
  slices.push_back({std::move(frame), data, size});
  send(stream, std::move(slices));
}

size_t Streams::unsent(StreamId stream) const {
  const One* one = find(stream);
  return one == nullptr ? 0 : one->unsent;
}

void Streams::refuse(StreamId stream, const Epoch& epoch, const char* code, const char* message) {
  if (One* one = find(stream); one != nullptr && !one->closing) one->refusal = {code, message};
  send(stream, encode_refuse(epoch, {code, message}));
  close(stream);
}

void Streams::close(StreamId stream) {
  One* one = find(stream);
  if (one == nullptr || one->closing) return;
  one->closing = true;
  out_.closes.push_back(stream);
  if (one->end != nullptr) one->end->on_closed(stream);
}

StreamRefusal Streams::refusal(StreamId stream) const {
  const One* one = find(stream);
  return one == nullptr ? StreamRefusal{} : one->refusal;
}

void Streams::turn() {
  if (!work_ && !waiting_) return;
  work_ = waiting_ = false;
  // By id: an end may close other streams while it is told.
  ids_.clear();
  for (const auto& one : streams_) ids_.push_back(one->id);
  for (const StreamId id : ids_) {
    One* one = find(id);
    if (one == nullptr || one->closing || one->end == nullptr) continue;
    if (std::exchange(one->drained, false)) one->end->on_drained(id);
    hand_out(*one);
  }
}

void Streams::hand_out(One& one) {
  const StreamId id = one.id;
  while (!one.closing) {
    if (!one.waiting) {
      Result<std::optional<FrameChannel::Frame>> frame = one.channel.next();
      if (!frame) return refuse(id, {}, "ERR_FRAME_CORRUPT", frame.error().message);
      if (!frame->has_value()) return;
      one.waiting = std::move(**frame);
    }
    const FrameChannel::Frame frame = *one.waiting;
    if (frame.view.header.type == FrameType::refuse) {
      one.refusal = said(frame.view);
      one.end->on_refused(id, frame.view.header.epoch);
      return close(id);
    }
    if (!one.end->on_frame(id, frame)) {
      waiting_ = true;
      return;
    }
    one.waiting.reset();
  }
}

}  // namespace cloudfs
