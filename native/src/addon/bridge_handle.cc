#include "addon/bridge_handle.h"

#include <fcntl.h>

#include <optional>

#include "addon/values.h"

namespace cloudfs::addon {

Napi::Function BridgeHandle::define(Napi::Env env) {
  return DefineClass(
      env, "BridgeHandle",
      {InstanceMethod<&BridgeHandle::listen>("listen"), InstanceMethod<&BridgeHandle::unlisten>("unlisten"),
       InstanceMethod<&BridgeHandle::join>("join"), InstanceMethod<&BridgeHandle::refuse>("refuse"),
       InstanceMethod<&BridgeHandle::close>("close")});
}

BridgeHandle::BridgeHandle(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (!info[0].IsFunction()) throw coded_error(info.Env(), "ERR_ARGUMENT", "onClient: not a function");
  on_client_ = Napi::Persistent(info[0].As<Napi::Function>());
  mailbox_ = std::make_unique<Mailbox>(info.Env());
  bridge_ = std::make_unique<shell::Bridge>(*this);
  Ref();  // letters name this object: it stays until it is closed, whoever forgets it
  napi_add_env_cleanup_hook(info.Env(), environment_ends, this);
}

/// The thread must not send letters any more when the environment goes down.
void BridgeHandle::environment_ends(void* self) {
  static_cast<BridgeHandle*>(self)->bridge_.reset();
}

BridgeHandle::~BridgeHandle() = default;

shell::Bridge& BridgeHandle::bridge(Napi::Env env) {
  if (!bridge_) throw coded_error(env, "ERR_STORE_CLOSED", "the bridge is closed");
  return *bridge_;
}

void BridgeHandle::post(uint64_t id, Settle settle) {
  mailbox_->send([this, id, settle = std::move(settle)](Napi::Env env) {
    const auto found = waiting_.find(id);
    if (found == waiting_.end()) return;  // rejected when the bridge was closed
    Napi::HandleScope scope(env);
    settle(env, found->second);
    waiting_.erase(found);
  });
}

Napi::Value BridgeHandle::listen(const Napi::CallbackInfo& info) {
  shell::Bridge& target = bridge(info.Env());
  const Napi::Object options = object_of(info[0], "options");
  shell::ListenAddress address;
  address.path = text(options, "path");
  address.mode = static_cast<mode_t>(integer_or(options, "mode", address.mode, 0777));
  if (address.path.empty()) throw coded_error(info.Env(), "ERR_ARGUMENT", "path: empty");
  const auto added = waiting_.emplace(++promises_, Napi::Promise::Deferred::New(info.Env()));
  target.listen(std::move(address), [this, id = promises_](const shell::Error* error) {
    const auto failed = error == nullptr ? std::nullopt : std::optional<shell::Error>(*error);
    post(id, [failed](Napi::Env env, Napi::Promise::Deferred& deferred) {
      if (failed) {
        deferred.Reject(coded_error(env, *failed).Value());
      } else {
        deferred.Resolve(env.Undefined());
      }
    });
  });
  return added.first->second.Promise();
}

Napi::Value BridgeHandle::unlisten(const Napi::CallbackInfo& info) {
  shell::Bridge& target = bridge(info.Env());
  const auto added = waiting_.emplace(++promises_, Napi::Promise::Deferred::New(info.Env()));
  target.unlisten(text_of(info[0], "path"), [this, id = promises_](bool known) {
    post(id, [known](Napi::Env env, Napi::Promise::Deferred& deferred) {
      deferred.Resolve(Napi::Boolean::New(env, known));
    });
  });
  return added.first->second.Promise();
}

/// The socket stays JavaScript's to close; what the bridge gets is a descriptor of its own.
Napi::Value BridgeHandle::join(const Napi::CallbackInfo& info) {
  shell::Bridge& target = bridge(info.Env());
  const uint64_t client = integer_of(info[0], "client");
  const auto descriptor = static_cast<int>(integer_of(info[1], "fd", INT32_MAX));
  std::vector<uint8_t> early = bytes_of(info[2], "early");
  if (early.size() > shell::kRelayBufferBytes)
    throw coded_error(info.Env(), "ERR_ARGUMENT", "early: more than a buffer holds");
  shell::Fd socket(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  if (socket.get() < 0) throw coded_error(info.Env(), "ERR_ARGUMENT", "fd: not an open descriptor");
  target.join(client, std::move(socket), std::move(early));
  return info.Env().Undefined();
}

Napi::Value BridgeHandle::refuse(const Napi::CallbackInfo& info) {
  bridge(info.Env()).refuse(integer_of(info[0], "client"));
  return info.Env().Undefined();
}

/// The thread only moves bytes, and ends at once.
Napi::Value BridgeHandle::close(const Napi::CallbackInfo& info) {
  if (!bridge_) return info.Env().Undefined();
  bridge_.reset();
  for (auto& [id, deferred] : waiting_) {
    deferred.Reject(coded_error(info.Env(), "ERR_STORE_CLOSED", "the bridge was closed").Value());
  }
  waiting_.clear();
  mailbox_->close();
  napi_remove_env_cleanup_hook(info.Env(), environment_ends, this);
  Unref();
  return info.Env().Undefined();
}

void BridgeHandle::client(uint64_t id, const std::string& path) {
  mailbox_->send([this, id, path](Napi::Env env) {
    if (!bridge_) return;
    Napi::HandleScope scope(env);
    on_client_.Call({Napi::Number::New(env, static_cast<double>(id)), Napi::String::New(env, path)});
  });
}

}  // namespace cloudfs::addon
