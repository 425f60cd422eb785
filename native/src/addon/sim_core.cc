#include "addon/sim_core.h"

#include <algorithm>
#include <string>

#include "addon/sim_values.h"
#include "addon/values.h"
#include "core/base/hex.h"

namespace cloudfs::addon {

namespace {

Napi::Object export_object(Napi::Env env, const Export& found) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("handle", number(env, found.handle));
  object.Set("sizeBytes", Napi::BigInt::New(env, found.size_bytes));
  object.Set("readOnly", Napi::Boolean::New(env, found.read_only));
  object.Set("name", Napi::String::New(env, found.name));
  object.Set("description", Napi::String::New(env, found.description));
  object.Set("recordBytesMax", number(env, found.record_bytes_max));
  return object;
}

Napi::Object answer_object(Napi::Env env, const CommandReply& reply) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("id", number(env, reply.id));
  object.Set("errorCode", Napi::String::New(env, reply.error_code));
  object.Set("message", Napi::String::New(env, reply.message));
  object.Set("result", Napi::String::New(env, reply.result));
  object.Set("payload", to_buffer(env, reply.payload.data, reply.payload.size));
  return object;
}

Napi::Object event_object(Napi::Env env, const Event& event) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", Napi::String::New(env, event.name));
  object.Set("detail", Napi::String::New(env, event.detail));
  return object;
}

Napi::Object send_object(Napi::Env env, const StreamSend& send) {
  size_t bytes = 0;
  for (const Slice& slice : send.slices) bytes += slice.size;
  const auto buffer = Napi::Buffer<uint8_t>::New(env, bytes);
  uint8_t* target = buffer.Data();
  for (const Slice& slice : send.slices) target = std::copy_n(slice.data, slice.size, target);
  Napi::Object object = Napi::Object::New(env);
  object.Set("stream", number(env, send.stream));
  object.Set("bytes", buffer);
  return object;
}

Plant plant_of(const Napi::Value& params) {
  if (!params.IsObject() || params.As<Napi::Object>().Get("plant").IsUndefined()) return Plant::none;
  const std::string name = text(params.As<Napi::Object>(), "plant");
  const std::pair<const char*, Plant> plants[] = {
      {"ack-before-majority", Plant::ack_before_majority},
      {"flush-without-sync", Plant::flush_without_sync},
      {"freed-before-commit", Plant::freed_before_commit},
      {"torn-tail-accepted", Plant::torn_tail_accepted},
      {"trim-lost-in-catch-up", Plant::trim_lost_in_catch_up},
      {"commit-before-own-append", Plant::commit_before_own_append},
      {"own-tail-acknowledged", Plant::own_tail_acknowledged},
      {"lease-ignored", Plant::lease_ignored},
      {"boot-ignored", Plant::boot_ignored},
      {"retried-request-applied-twice", Plant::retried_request_applied_twice},
      {"old-view-commit", Plant::old_view_commit},
      {"unsynced-promise", Plant::unsynced_promise},
      {"stale-replica-set", Plant::stale_replica_set},
      {"repair-unchecked", Plant::repair_unchecked},
      {"witness-counted-as-data", Plant::witness_counted_as_data},
      {"heir-leads-at-first-word", Plant::heir_leads_at_first_word}};
  for (const auto& [known, plant] : plants) {
    if (name == known) return plant;
  }
  throw coded_error(params.Env(), "ERR_ARGUMENT", "plant: no such bug: " + name);
}

SessionId session_of(const Napi::Value& value) {
  SessionId session{};
  const std::vector<uint8_t> bytes = bytes_of(value, "session");
  if (bytes.empty()) return session;
  if (bytes.size() != session.size()) throw coded_error(value.Env(), "ERR_ARGUMENT", "session: not 16 bytes");
  std::copy(bytes.begin(), bytes.end(), session.begin());
  return session;
}

}  // namespace

Napi::Function SimCore::define(Napi::Env env) {
  return DefineClass(
      env, "SimCore",
      {InstanceMethod<&SimCore::format>("format"), InstanceMethod<&SimCore::start>("start"),
       InstanceMethod<&SimCore::stop>("stop"), InstanceMethod<&SimCore::complete>("complete"),
       InstanceMethod<&SimCore::submit>("submit"), InstanceMethod<&SimCore::command>("command"),
       InstanceMethod<&SimCore::turn>("turn"), InstanceMethod<&SimCore::next_deadline>("nextDeadlineNs"),
       InstanceMethod<&SimCore::segment_log2>("segmentLog2"),
       InstanceMethod<&SimCore::open_export>("openExport"),
       InstanceMethod<&SimCore::list_exports>("listExports"),
       InstanceMethod<&SimCore::close_export>("closeExport"),
       InstanceMethod<&SimCore::open_refusal>("openRefusal"),
       InstanceMethod<&SimCore::session_seen>("sessionSeen"),
       InstanceMethod<&SimCore::open_stream>("openStream"),
       InstanceMethod<&SimCore::stream_receive>("streamReceive"),
       InstanceMethod<&SimCore::stream_sent>("streamSent"),
       InstanceMethod<&SimCore::stream_closed>("streamClosed"), InstanceMethod<&SimCore::close>("close")});
}

SimCore::SimCore(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  CoreParams params = params_of(info[0]);
  params.plant = plant_of(info[0]);
  core_.emplace(params);
}

Napi::Value SimCore::format(const Napi::CallbackInfo& info) {
  core_->format(identity_of(info[0]), integer_of(info[1], "nowNs"));
  return info.Env().Undefined();
}

Napi::Value SimCore::start(const Napi::CallbackInfo& info) {
  core_->start(integer_of(info[0], "nowNs"));
  return info.Env().Undefined();
}

Napi::Value SimCore::stop(const Napi::CallbackInfo& info) {
  core_->stop();
  return info.Env().Undefined();
}

Napi::Value SimCore::complete(const Napi::CallbackInfo& info) {
  const uint64_t id = integer_of(info[0], "id");
  const int error = static_cast<int>(integer_of(info[1], "error", 4095));
  const auto found = in_flight_.find(id);
  if (found == in_flight_.end()) {
    throw coded_error(info.Env(), "ERR_ARGUMENT", "id: no effect " + std::to_string(id) + " is in flight");
  }
  const Target target = std::move(found->second);
  in_flight_.erase(found);
  if (target.is_read && error == 0) {
    const std::vector<uint8_t> bytes = bytes_of(info[2], "bytes");
    const size_t count = std::min<size_t>(bytes.size(), target.bytes);
    std::copy_n(bytes.begin(), count, target.buffer.data());
    std::fill_n(target.buffer.data() + count, target.bytes - count, uint8_t{0});
  }
  core_->complete({id, error});
  return info.Env().Undefined();
}

Napi::Value SimCore::submit(const Napi::CallbackInfo& info) {
  core_->submit(client_op_of(info[0]));
  return info.Env().Undefined();
}

Napi::Value SimCore::command(const Napi::CallbackInfo& info) {
  core_->command({integer_of(info[0], "id"), text_of(info[1], "verb"), text_of(info[2], "arguments"),
                  slice_of(info[3], "payload")});
  return info.Env().Undefined();
}

Napi::Object SimCore::io_object(Napi::Env env, IoEffect& effect) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("id", number(env, effect.id));
  const char* kind = "";
  switch (effect.kind) {
    case IoEffect::Kind::write: {
      kind = "write";
      size_t bytes = 0;
      for (const Slice& slice : effect.slices) bytes += slice.size;
      const auto buffer = Napi::Buffer<uint8_t>::New(env, bytes);
      uint8_t* target = buffer.Data();
      for (const Slice& slice : effect.slices) target = std::copy_n(slice.data, slice.size, target);
      object.Set("bytes", buffer);
      break;
    }
    case IoEffect::Kind::sync: {
      kind = "sync";
      Napi::Array physicals = Napi::Array::New(env, effect.physicals.size());
      for (uint32_t i = 0; i < effect.physicals.size(); ++i)
        physicals.Set(i, number(env, effect.physicals[i]));
      object.Set("physicals", physicals);
      break;
    }
    case IoEffect::Kind::read:
      kind = "read";
      object.Set("length", number(env, effect.bytes));
      break;
    case IoEffect::Kind::prepare:
      kind = "prepare";
      break;
  }
  object.Set("kind", Napi::String::New(env, kind));
  if (effect.kind != IoEffect::Kind::sync) object.Set("physical", number(env, effect.physical));
  if (effect.kind == IoEffect::Kind::write || effect.kind == IoEffect::Kind::read) {
    object.Set("offset", number(env, effect.offset));
  }
  in_flight_.emplace(effect.id,
                     Target{std::move(effect.target), effect.bytes, effect.kind == IoEffect::Kind::read});
  return object;
}

Napi::Value SimCore::turn(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Effects effects = core_->turn(integer_of(info[0], "nowNs"));
  std::vector<CommandReply> answers = core_->take_command_replies();
  Napi::Object object = Napi::Object::New(env);
  object.Set("io", array_of(env, effects.io, [&](IoEffect& effect) { return io_object(env, effect); }));
  object.Set("replies",
             array_of(env, effects.replies, [&](Reply& reply) { return reply_object(env, reply); }));
  object.Set("events", array_of(env, effects.events, [&](Event& event) { return event_object(env, event); }));
  object.Set("sends", array_of(env, effects.sends, [&](StreamSend& send) { return send_object(env, send); }));
  object.Set("closes", array_of(env, effects.closes, [&](uint64_t stream) { return number(env, stream); }));
  object.Set("answers",
             array_of(env, answers, [&](CommandReply& reply) { return answer_object(env, reply); }));
  return object;
}

Napi::Value SimCore::next_deadline(const Napi::CallbackInfo& info) {
  const auto deadline = core_->next_deadline_ns();
  return deadline ? Napi::Value(Napi::BigInt::New(info.Env(), *deadline)) : info.Env().Undefined();
}

Napi::Value SimCore::segment_log2(const Napi::CallbackInfo& info) {
  return number(info.Env(), core_->segment_log2());
}

Napi::Value SimCore::open_export(const Napi::CallbackInfo& info) {
  const auto found = core_->open_export(text_of(info[0], "name"), session_of(info[1]));
  return found ? Napi::Value(export_object(info.Env(), *found)) : info.Env().Undefined();
}

Napi::Value SimCore::list_exports(const Napi::CallbackInfo& info) {
  std::vector<Export> exports = core_->list_exports();
  return array_of(info.Env(), exports, [&](Export& item) { return export_object(info.Env(), item); });
}

Napi::Value SimCore::close_export(const Napi::CallbackInfo& info) {
  core_->close_export(integer_of(info[0], "handle"));
  return info.Env().Undefined();
}

Napi::Value SimCore::open_refusal(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), core_->open_refusal(text_of(info[0], "name"), session_of(info[1])));
}

Napi::Value SimCore::session_seen(const Napi::CallbackInfo& info) {
  core_->session_seen(integer_of(info[0], "handle"), integer_of(info[1], "sequence"));
  return info.Env().Undefined();
}

Napi::Value SimCore::open_stream(const Napi::CallbackInfo& info) {
  const std::string role = text_of(info[0], "role");
  if (role != "leader" && role != "follower")
    throw coded_error(info.Env(), "ERR_ARGUMENT", "role: not 'leader' or 'follower'");
  const auto volume = parse_id<VolumeId>(text_of(info[1], "volume"));
  if (!volume) throw coded_error(info.Env(), "ERR_MALFORMED_ID", "volume: not an id of 40 hex digits");
  std::string refusal;
  const uint64_t stream =
      core_->open_stream(role == "leader" ? StreamRole::leader : StreamRole::follower, *volume, refusal);
  if (stream == 0) throw coded_error(info.Env(), refusal, "the stream is refused");
  return number(info.Env(), stream);
}

/// As many of the bytes as the core takes now.
Napi::Value SimCore::stream_receive(const Napi::CallbackInfo& info) {
  const uint64_t stream = integer_of(info[0], "stream");
  const std::vector<uint8_t> bytes = bytes_of(info[1], "bytes");
  size_t taken = 0;
  while (taken < bytes.size()) {
    const ReceiveWindow window = core_->stream_receive_target(stream);
    if (window.bytes == 0) break;
    const size_t count = std::min(window.bytes, bytes.size() - taken);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(taken), count, window.data);
    core_->stream_received(stream, count);
    taken += count;
  }
  return number(info.Env(), taken);
}

Napi::Value SimCore::stream_sent(const Napi::CallbackInfo& info) {
  core_->stream_sent(integer_of(info[0], "stream"), integer_of(info[1], "bytes"));
  return info.Env().Undefined();
}

Napi::Value SimCore::stream_closed(const Napi::CallbackInfo& info) {
  core_->stream_closed(integer_of(info[0], "stream"));
  return info.Env().Undefined();
}

/// What the core has in memory is given back now, and not whenever JavaScript collects the object.
Napi::Value SimCore::close(const Napi::CallbackInfo& info) {
  in_flight_.clear();
  core_.reset();
  return info.Env().Undefined();
}

}  // namespace cloudfs::addon
