#include "addon/store_handle.h"

#include <fcntl.h>

#include "addon/values.h"
#include "core/base/hex.h"
#include "shell/boot_id.h"

namespace cloudfs::addon {

namespace {

std::unique_ptr<shell::Device> device_of(const Napi::Object& options, CoreParams& params) {
  const std::string path = text(options, "path");
  if (!flag(options, "create")) return shell::open_device(path);
  auto device = shell::create_device({path, flag(options, "overwrite"), integer_or(options, "fileBytes", 0)});
  // A store on a device ends where the device does.
  const uint64_t segment_bytes = uint64_t{1} << params.segment_log2;
  params.segment_limit = std::min(params.segment_limit, device->segments_max(segment_bytes));
  return device;
}

/// Ends a store's thread without holding up JavaScript: it waits for I/O under way.
class Closing final : public Napi::AsyncWorker {
 public:
  Closing(Napi::Env env, std::unique_ptr<shell::Store> store, Napi::Promise::Deferred deferred,
          std::function<void(Napi::Env)> after)
      : AsyncWorker(env, "cloudfs-close"),
        store_(std::move(store)),
        deferred_(deferred),
        after_(std::move(after)) {}

 private:
  void Execute() override { store_.reset(); }
  void OnOK() override {
    after_(Env());
    deferred_.Resolve(Env().Undefined());
  }

  std::unique_ptr<shell::Store> store_;
  Napi::Promise::Deferred deferred_;
  const std::function<void(Napi::Env)> after_;
};

}  // namespace

Napi::Function StoreHandle::define(Napi::Env env) {
  return DefineClass(
      env, "StoreHandle",
      {InstanceMethod<&StoreHandle::format>("format"), InstanceMethod<&StoreHandle::start>("start"),
       InstanceMethod<&StoreHandle::stop>("stop"), InstanceMethod<&StoreHandle::command>("command"),
       InstanceMethod<&StoreHandle::listen>("listen"), InstanceMethod<&StoreHandle::unlisten>("unlisten"),
       InstanceMethod<&StoreHandle::adopt_stream>("adoptStream"),
       InstanceMethod<&StoreHandle::adopt_session>("adoptSession"),
       InstanceMethod<&StoreHandle::open_endpoint>("openEndpoint"),
       InstanceMethod<&StoreHandle::route_here>("routeHere"),
       InstanceMethod<&StoreHandle::route_there>("routeThere"),
       InstanceMethod<&StoreHandle::end_endpoint>("endEndpoint"),
       InstanceMethod<&StoreHandle::endpoints>("endpoints"),
       InstanceMethod<&StoreHandle::follow_now>("followNow"),
       InstanceMethod<&StoreHandle::close_stream>("closeStream"), InstanceMethod<&StoreHandle::read>("read"),
       InstanceMethod<&StoreHandle::write>("write"), InstanceMethod<&StoreHandle::stats>("stats"),
       InstanceMethod<&StoreHandle::close>("close")});
}

StoreHandle::StoreHandle(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const Napi::Object options = object_of(info[0], "options");
  if (!info[1].IsFunction()) throw coded_error(info.Env(), "ERR_ARGUMENT", "onEvent: not a function");
  CoreParams params = params_of(options.Get("params"));
  std::unique_ptr<shell::Device> device;
  try {
    if (params.elections && params.boot_id == CoreParams{}.boot_id) params.boot_id = shell::kernel_boot_id();
    device = device_of(options, params);
  } catch (const shell::Error& error) {
    throw coded_error(info.Env(), error);
  }
  on_event_ = Napi::Persistent(info[1].As<Napi::Function>());
  mailbox_ = std::make_unique<Mailbox>(info.Env());
  store_ = std::make_unique<shell::Store>(std::move(device), params, *this);
  Ref();  // letters name this object: it stays until it is closed, whoever forgets it
  napi_add_env_cleanup_hook(info.Env(), environment_ends, this);
}

/// The thread must not send letters any more when the environment goes down with the store open.
void StoreHandle::environment_ends(void* self) {
  static_cast<StoreHandle*>(self)->store_.reset();
}

StoreHandle::~StoreHandle() = default;

shell::Store& StoreHandle::store(Napi::Env env) {
  if (!store_) throw coded_error(env, "ERR_STORE_CLOSED", "the store is closed");
  return *store_;
}

std::pair<uint64_t, Napi::Promise> StoreHandle::promise(Napi::Env env) {
  const auto added = waiting_.emplace(++promises_, Napi::Promise::Deferred::New(env));
  return {promises_, added.first->second.Promise()};
}

void StoreHandle::settle(Napi::Env env, uint64_t id,
                         const std::function<void(Napi::Promise::Deferred&)>& how) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;  // rejected when the store was closed
  Napi::HandleScope scope(env);
  how(found->second);
  waiting_.erase(found);
}

void StoreHandle::reject_all(Napi::Env env) {
  for (auto& [id, deferred] : waiting_) {
    deferred.Reject(coded_error(env, "ERR_STORE_CLOSED", "the store was closed before it answered").Value());
  }
  waiting_.clear();
}

Napi::Value StoreHandle::format(const Napi::CallbackInfo& info) {
  store(info.Env()).format(identity_of(info[0]));
  return info.Env().Undefined();
}

Napi::Value StoreHandle::start(const Napi::CallbackInfo& info) {
  store(info.Env()).start();
  return info.Env().Undefined();
}

Napi::Value StoreHandle::stop(const Napi::CallbackInfo& info) {
  store(info.Env()).stop();
  return info.Env().Undefined();
}

Napi::Value StoreHandle::command(const Napi::CallbackInfo& info) {
  shell::Store& target = store(info.Env());
  std::string verb = text_of(info[0], "verb");
  std::string arguments = text_of(info[1], "arguments");
  std::vector<uint8_t> payload = bytes_of(info[2], "payload");
  auto [id, result] = promise(info.Env());
  target.command(id, std::move(verb), std::move(arguments), std::move(payload));
  return result;
}

Napi::Value StoreHandle::listen(const Napi::CallbackInfo& info) {
  shell::Store& target = store(info.Env());
  const Napi::Object options = object_of(info[0], "options");
  shell::ListenAddress address;
  if (!options.Get("path").IsUndefined()) {
    address.path = text(options, "path");
    address.mode = static_cast<mode_t>(integer_or(options, "mode", address.mode, 0777));
    if (address.path.empty()) throw coded_error(info.Env(), "ERR_ARGUMENT", "path: empty");
  } else {
    address.host = text(options, "host");
    address.port = static_cast<uint16_t>(integer_or(options, "port", 0, 65535));
  }
  const std::string volume = options.Get("volume").IsUndefined() ? "" : text(options, "volume");
  std::string key = text(options, "key");
  const auto [id, result] = promise(info.Env());
  target.listen(std::move(key), address, volume, [this, id = id](uint16_t port, const shell::Error* error) {
    const auto failed = error == nullptr ? std::nullopt : std::optional<shell::Error>(*error);
    mailbox_->send([this, id, port, failed](Napi::Env env) {
      settle(env, id, [&](Napi::Promise::Deferred& deferred) {
        if (failed) {
          deferred.Reject(coded_error(env, *failed).Value());
        } else {
          deferred.Resolve(Napi::Number::New(env, port));
        }
      });
    });
  });
  return result;
}

Napi::Value StoreHandle::unlisten(const Napi::CallbackInfo& info) {
  shell::Store& target = store(info.Env());
  std::string key = text_of(info[0], "key");
  const auto [id, result] = promise(info.Env());
  target.unlisten(std::move(key), [this, id = id](bool known) {
    mailbox_->send([this, id, known](Napi::Env env) {
      settle(env, id,
             [&](Napi::Promise::Deferred& deferred) { deferred.Resolve(Napi::Boolean::New(env, known)); });
    });
  });
  return result;
}

/// The socket stays JavaScript's to close; what the store gets is a descriptor of its own.
Napi::Value StoreHandle::adopt_stream(const Napi::CallbackInfo& info) {
  shell::Store& target = store(info.Env());
  const Napi::Object options = object_of(info[0], "options");
  const auto descriptor = static_cast<int>(integer_or(options, "fd", 0, INT32_MAX));
  const std::string role = text(options, "role");
  const auto volume = parse_id<VolumeId>(text(options, "volume"));
  if (!volume) throw coded_error(info.Env(), "ERR_MALFORMED_ID", "volume: not an id of 40 hex digits");
  if (role != "leader" && role != "follower" && role != "copy")
    throw coded_error(info.Env(), "ERR_ARGUMENT", "role: not 'leader', 'follower' or 'copy'");
  std::optional<HostId> host;
  if (role == "leader") {
    host = parse_id<HostId>(text(options, "host"));
    if (!host) throw coded_error(info.Env(), "ERR_MALFORMED_ID", "host: not an id of 40 hex digits");
  }
  std::vector<uint8_t> early = bytes_of(options.Get("early"), "early");
  std::vector<uint8_t> preface = bytes_of(options.Get("preface"), "preface");
  shell::Fd socket(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  if (socket.get() < 0) throw coded_error(info.Env(), "ERR_ARGUMENT", "fd: not an open descriptor");
  const std::optional<Epoch> expected = epoch_or_none(options, "expected");
  const auto [id, result] = promise(info.Env());
  const auto adopted = [this, id = id](uint64_t stream, const std::string& refusal) {
    mailbox_->send([this, id, stream, refusal](Napi::Env env) {
      settle(env, id, [&](Napi::Promise::Deferred& deferred) {
        if (refusal.empty()) {
          deferred.Resolve(Napi::Number::New(env, static_cast<double>(stream)));
        } else {
          deferred.Reject(coded_error(env, refusal, "the stream is refused").Value());
        }
      });
    });
  };
  if (role == "leader" && expected) {
    target.park_to_lead(std::move(socket), *volume, *host, *expected, std::move(preface), adopted);
  } else if (role == "follower" && flag(options, "isNext") && early.empty()) {
    target.park_to_follow(std::move(socket), *volume, adopted);
  } else {
    target.adopt_stream(std::move(socket),
                        role == "leader" ? StreamRole::leader
                        : role == "copy" ? StreamRole::copy
                                         : StreamRole::follower,
                        *volume, host, std::move(preface), std::move(early), adopted);
  }
  return result;
}

Napi::Value StoreHandle::follow_now(const Napi::CallbackInfo& info) {
  const auto volume = parse_id<VolumeId>(std::string(info[0].ToString()));
  if (!volume) throw coded_error(info.Env(), "ERR_MALFORMED_ID", "volume: not an id of 40 hex digits");
  store(info.Env()).follow_now(*volume);
  return info.Env().Undefined();
}

Napi::Value StoreHandle::close_stream(const Napi::CallbackInfo& info) {
  store(info.Env()).close_stream(integer_of(info[0], "stream"));
  return info.Env().Undefined();
}

Napi::Value StoreHandle::read(const Napi::CallbackInfo& info) {
  const Napi::Object options = object_of(info[0], "options");
  shell::AccessRequest request;
  request.name = text(options, "name");
  request.offset = integer(options, "offset");
  request.length = integer(options, "length", shell::kAccessBytesMax);
  return access(info.Env(), ClientOp::Kind::read, std::move(request));
}

/// The bytes are copied: JavaScript may use its own again once this has returned.
Napi::Value StoreHandle::write(const Napi::CallbackInfo& info) {
  const Napi::Object options = object_of(info[0], "options");
  shell::AccessRequest request;
  request.name = text(options, "name");
  request.offset = integer(options, "offset");
  request.fua = flag(options, "fua");
  if (!options.Get("expected").IsUndefined()) {
    request.expected = parse_id<VersionId>(text(options, "expected"));
    if (!request.expected)
      throw coded_error(info.Env(), "ERR_MALFORMED_ID", "expected: not an id of 40 hex digits");
  }
  request.bytes = bytes_of(options.Get("bytes"), "bytes", shell::kAccessBytesMax);
  request.length = request.bytes.size();
  return access(info.Env(), ClientOp::Kind::write, std::move(request));
}

Napi::Value StoreHandle::access(Napi::Env env, ClientOp::Kind kind, shell::AccessRequest request) {
  shell::Store& target = store(env);
  const auto [id, result] = promise(env);
  target.access(kind, std::move(request), [this, id = id](shell::AccessAnswer answer) {
    // Shared: a letter is copied on its way, its bytes need not be.
    const auto held = std::make_shared<shell::AccessAnswer>(std::move(answer));
    mailbox_->send([this, id, held](Napi::Env at) {
      settle(at, id, [&](Napi::Promise::Deferred& deferred) {
        if (!held->error_code.empty()) {
          deferred.Reject(coded_error(at, held->error_code, held->message).Value());
          return;
        }
        Napi::Object object = Napi::Object::New(at);
        object.Set("version", Napi::String::New(at, to_hex(held->version)));
        object.Set("bytes", to_buffer(at, held->bytes.data(), held->bytes.size()));
        deferred.Resolve(object);
      });
    });
  });
  return result;
}

Napi::Value StoreHandle::stats(const Napi::CallbackInfo& info) {
  shell::Store& target = store(info.Env());
  const auto [id, result] = promise(info.Env());
  target.stats([this, id = id](const shell::StoreStats& stats) {
    mailbox_->send([this, id, stats](Napi::Env env) {
      settle(env, id, [&](Napi::Promise::Deferred& deferred) {
        const auto number = [&](uint64_t value) {
          return Napi::Number::New(env, static_cast<double>(value));
        };
        Napi::Object object = Napi::Object::New(env);
        object.Set("connections", number(stats.connections));
        object.Set("listeners", number(stats.listeners));
        object.Set("streams", number(stats.streams));
        object.Set("streamBytesSent", number(stats.stream_bytes_sent));
        object.Set("streamBytesReceived", number(stats.stream_bytes_received));
        object.Set("ioInFlight", number(stats.io_in_flight));
        object.Set("turns", number(stats.turns));
        object.Set("totalBytes", number(stats.space.total_bytes));
        object.Set("availableBytes", number(stats.space.available_bytes));
        deferred.Resolve(object);
      });
    });
  });
  return result;
}

Napi::Value StoreHandle::close(const Napi::CallbackInfo& info) {
  const auto deferred = Napi::Promise::Deferred::New(info.Env());
  if (!store_) {
    deferred.Resolve(info.Env().Undefined());
    return deferred.Promise();
  }
  // Letters already under way are opened before the mailbox is closed: they were queued earlier.
  auto* const closing = new Closing(info.Env(), std::move(store_), deferred, [this](Napi::Env env) {
    reject_all(env);
    mailbox_->close();
    napi_remove_env_cleanup_hook(env, environment_ends, this);
    Unref();
  });
  closing->Queue();  // deletes itself
  return deferred.Promise();
}

void StoreHandle::event(Event event) {
  mailbox_->send([this, event = std::move(event)](Napi::Env env) {
    on_event_.Call({Napi::String::New(env, event.name), Napi::String::New(env, event.detail)});
  });
}

void StoreHandle::answer(shell::CommandAnswer answer) {
  mailbox_->send([this, answer = std::move(answer)](Napi::Env env) {
    settle(env, answer.id, [&](Napi::Promise::Deferred& deferred) {
      if (!answer.error_code.empty()) {
        deferred.Reject(coded_error(env, answer.error_code, answer.message).Value());
        return;
      }
      Napi::Object object = Napi::Object::New(env);
      object.Set("result", Napi::String::New(env, answer.result));
      object.Set("payload", to_buffer(env, answer.payload.data(), answer.payload.size()));
      deferred.Resolve(object);
    });
  });
}

}  // namespace cloudfs::addon
