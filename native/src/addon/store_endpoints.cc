// What of `StoreHandle` is about attached volumes: endpoints, their routes, and the sessions of others' endpoints.
#include "addon/store_handle.h"
#include "addon/values.h"
#include "core/base/hex.h"

namespace cloudfs::addon {

shell::Endpoints::Done StoreHandle::settle_coded(uint64_t id) {
  return [this, id](const std::string& code, const std::string& message) {
    mailbox_->send([this, id, code, message](Napi::Env env) {
      settle(env, id, [&](Napi::Promise::Deferred& deferred) {
        if (code.empty()) {
          deferred.Resolve(env.Undefined());
        } else {
          deferred.Reject(coded_error(env, code, message).Value());
        }
      });
    });
  };
}

Napi::Value StoreHandle::adopt_session(const Napi::CallbackInfo& info) {
  shell::Store& target = store(info.Env());
  const Napi::Object options = object_of(info[0], "options");
  std::string volume = text(options, "volume");
  const SessionId session = session_of(options, "session");
  std::vector<uint8_t> preface = bytes_of(options.Get("preface"), "preface");
  const std::optional<Epoch> expected = epoch_or_none(options, "expected");
  const auto named = parse_id<VolumeId>(volume);
  if (expected && !named)
    throw coded_error(info.Env(), "ERR_MALFORMED_ID", "volume: not an id of 40 hex digits");
  shell::Fd socket = descriptor_of(options, "fd");
  const auto [id, result] = promise(info.Env());
  if (expected) {
    target.park_session(std::move(socket), *named, session, *expected, std::move(preface), settle_coded(id));
    return result;
  }
  target.adopt_session(std::move(socket), std::move(volume), session, std::move(preface), settle_coded(id));
  return result;
}

Napi::Value StoreHandle::open_endpoint(const Napi::CallbackInfo& info) {
  shell::Store& target = store(info.Env());
  const Napi::Object options = object_of(info[0], "options");
  shell::ListenAddress address;
  address.path = text(options, "path");
  address.mode = static_cast<mode_t>(integer_or(options, "mode", address.mode, 0777));
  if (address.path.empty()) throw coded_error(info.Env(), "ERR_ARGUMENT", "path: empty");
  std::string volume = text(options, "volume");
  const SessionId session = session_of(options, "session");
  const auto [id, result] = promise(info.Env());
  target.open_endpoint(
      std::move(volume), session, std::move(address), [done = settle_coded(id)](const shell::Error* error) {
        done(error == nullptr ? std::string() : error->code(), error == nullptr ? "" : error->what());
      });
  return result;
}

Napi::Value StoreHandle::route_here(const Napi::CallbackInfo& info) {
  shell::Store& target = store(info.Env());
  const Napi::Object options = object_of(info[0], "options");
  std::string volume = text(options, "volume");
  const SessionId session = session_of(options, "session");
  const auto [id, result] = promise(info.Env());
  target.route_here(std::move(volume), session, settle_coded(id));
  return result;
}

Napi::Value StoreHandle::route_there(const Napi::CallbackInfo& info) {
  shell::Store& target = store(info.Env());
  const Napi::Object options = object_of(info[0], "options");
  std::string volume = text(options, "volume");
  const SessionId session = session_of(options, "session");
  std::vector<uint8_t> early = bytes_of(options.Get("early"), "early");
  shell::Fd socket = descriptor_of(options, "fd");
  const auto [id, result] = promise(info.Env());
  target.route_there(std::move(volume), session, std::move(socket), std::move(early), flag(options, "isNext"),
                     settle_coded(id));
  return result;
}

Napi::Value StoreHandle::end_endpoint(const Napi::CallbackInfo& info) {
  shell::Store& target = store(info.Env());
  std::string volume = text_of(info[0], "volume");
  const auto [id, result] = promise(info.Env());
  target.end_endpoint(std::move(volume), [this, id = id](bool known) {
    mailbox_->send([this, id, known](Napi::Env env) {
      settle(env, id,
             [&](Napi::Promise::Deferred& deferred) { deferred.Resolve(Napi::Boolean::New(env, known)); });
    });
  });
  return result;
}

Napi::Value StoreHandle::endpoints(const Napi::CallbackInfo& info) {
  shell::Store& target = store(info.Env());
  const auto [id, result] = promise(info.Env());
  target.endpoints([this, id = id](const std::vector<shell::EndpointStatus>& all) {
    mailbox_->send([this, id, all](Napi::Env env) {
      settle(env, id, [&](Napi::Promise::Deferred& deferred) {
        Napi::Array list = Napi::Array::New(env, all.size());
        for (uint32_t i = 0; i < all.size(); ++i) {
          Napi::Object object = Napi::Object::New(env);
          object.Set("volume", Napi::String::New(env, all[i].volume));
          object.Set("session", Napi::String::New(env, all[i].session));
          object.Set("socket", Napi::String::New(env, all[i].socket));
          object.Set("route", Napi::String::New(env, all[i].route));
          object.Set("waiting", Napi::Number::New(env, static_cast<double>(all[i].waiting)));
          object.Set("routelessMs",
                     Napi::Number::New(env, static_cast<double>(all[i].routeless_ns / 1'000'000)));
          list.Set(i, object);
        }
        deferred.Resolve(list);
      });
    });
  });
  return result;
}

}  // namespace cloudfs::addon
