// `SimCore`: the shipped core, driven by JavaScript: simulators and tests give it disks, clients and time of their own.
#pragma once

#include <napi.h>

#include <optional>
#include <unordered_map>

#include "core/store/core.h"

namespace cloudfs::addon {

class SimCore final : public Napi::ObjectWrap<SimCore> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit SimCore(const Napi::CallbackInfo& info);

 private:
  Napi::Value format(const Napi::CallbackInfo& info);
  Napi::Value start(const Napi::CallbackInfo& info);
  Napi::Value stop(const Napi::CallbackInfo& info);
  Napi::Value complete(const Napi::CallbackInfo& info);
  Napi::Value submit(const Napi::CallbackInfo& info);
  Napi::Value command(const Napi::CallbackInfo& info);
  Napi::Value turn(const Napi::CallbackInfo& info);
  Napi::Value next_deadline(const Napi::CallbackInfo& info);
  Napi::Value segment_log2(const Napi::CallbackInfo& info);
  Napi::Value open_export(const Napi::CallbackInfo& info);
  Napi::Value list_exports(const Napi::CallbackInfo& info);
  Napi::Value close_export(const Napi::CallbackInfo& info);
  Napi::Value open_refusal(const Napi::CallbackInfo& info);
  Napi::Value session_seen(const Napi::CallbackInfo& info);
  Napi::Value open_stream(const Napi::CallbackInfo& info);
  Napi::Value stream_receive(const Napi::CallbackInfo& info);
  Napi::Value stream_sent(const Napi::CallbackInfo& info);
  Napi::Value stream_closed(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  Napi::Object io_object(Napi::Env env, IoEffect& effect);

  std::optional<Core> core_;  // until close(); `lib/sim-core.ts` asks for nothing more then
  struct Target {
    BufferRef buffer;
    uint32_t bytes = 0;
    bool is_read = false;
  };
  std::unordered_map<uint64_t, Target> in_flight_;  // by effect
};

}  // namespace cloudfs::addon
