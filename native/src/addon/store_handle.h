// `StoreHandle`: one store in production, as JavaScript sees it.
#pragma once

#include <napi.h>

#include <memory>
#include <unordered_map>

#include "addon/mailbox.h"
#include "shell/store.h"

namespace cloudfs::addon {

class StoreHandle final : public Napi::ObjectWrap<StoreHandle>, public shell::StoreObserver {
 public:
  static Napi::Function define(Napi::Env env);
  explicit StoreHandle(const Napi::CallbackInfo& info);
  ~StoreHandle() override;

  // On the store's thread.
  void event(Event event) override;
  void answer(shell::CommandAnswer answer) override;

 private:
  Napi::Value format(const Napi::CallbackInfo& info);
  Napi::Value start(const Napi::CallbackInfo& info);
  Napi::Value stop(const Napi::CallbackInfo& info);
  Napi::Value command(const Napi::CallbackInfo& info);
  Napi::Value listen(const Napi::CallbackInfo& info);
  Napi::Value unlisten(const Napi::CallbackInfo& info);
  Napi::Value adopt_stream(const Napi::CallbackInfo& info);
  Napi::Value adopt_session(const Napi::CallbackInfo& info);
  Napi::Value open_endpoint(const Napi::CallbackInfo& info);
  Napi::Value route_here(const Napi::CallbackInfo& info);
  Napi::Value route_there(const Napi::CallbackInfo& info);
  Napi::Value end_endpoint(const Napi::CallbackInfo& info);
  Napi::Value endpoints(const Napi::CallbackInfo& info);
  Napi::Value follow_now(const Napi::CallbackInfo& info);
  Napi::Value close_stream(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  shell::Store& store(Napi::Env env);
  Napi::Value access(Napi::Env env, ClientOp::Kind kind, shell::AccessRequest request);
  /// Settles a promise with nothing, or a coded error where `code` is not empty; from the store's thread.
  shell::Endpoints::Done settle_coded(uint64_t id);
  /// A promise that a letter will settle.
  std::pair<uint64_t, Napi::Promise> promise(Napi::Env env);
  void settle(Napi::Env env, uint64_t id, const std::function<void(Napi::Promise::Deferred&)>& how);
  void reject_all(Napi::Env env);
  static void environment_ends(void* self);

  Napi::FunctionReference on_event_;
  std::unique_ptr<Mailbox> mailbox_;
  std::unique_ptr<shell::Store> store_;  // empty once closed
  uint64_t promises_ = 0;
  std::unordered_map<uint64_t, Napi::Promise::Deferred> waiting_;  // JavaScript's thread only
};

}  // namespace cloudfs::addon
