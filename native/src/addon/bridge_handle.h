// `BridgeHandle`: unix sockets served by other hosts, as JavaScript sees them.
#pragma once

#include <napi.h>

#include <memory>
#include <unordered_map>

#include "addon/mailbox.h"
#include "shell/bridge.h"

namespace cloudfs::addon {

class BridgeHandle final : public Napi::ObjectWrap<BridgeHandle>, public shell::BridgeObserver {
 public:
  static Napi::Function define(Napi::Env env);
  explicit BridgeHandle(const Napi::CallbackInfo& info);
  ~BridgeHandle() override;

  // On the bridge's thread.
  void client(uint64_t id, const std::string& path) override;

 private:
  Napi::Value listen(const Napi::CallbackInfo& info);
  Napi::Value unlisten(const Napi::CallbackInfo& info);
  Napi::Value join(const Napi::CallbackInfo& info);
  Napi::Value refuse(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  shell::Bridge& bridge(Napi::Env env);
  using Settle = std::function<void(Napi::Env, Napi::Promise::Deferred&)>;
  /// Settles a promise that was given for `id`, on JavaScript's thread.
  void post(uint64_t id, Settle settle);
  static void environment_ends(void* self);

  Napi::FunctionReference on_client_;
  std::unique_ptr<Mailbox> mailbox_;
  std::unique_ptr<shell::Bridge> bridge_;  // empty once closed
  uint64_t promises_ = 0;
  std::unordered_map<uint64_t, Napi::Promise::Deferred> waiting_;  // JavaScript's thread only
};

}  // namespace cloudfs::addon
