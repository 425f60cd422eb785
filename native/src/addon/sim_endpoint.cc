#include "addon/sim_endpoint.h"

#include "addon/sim_values.h"
#include "addon/values.h"

namespace cloudfs::addon {

Napi::Function SimEndpoint::define(Napi::Env env) {
  return DefineClass(
      env, "SimEndpoint",
      {InstanceMethod<&SimEndpoint::submit>("submit"), InstanceMethod<&SimEndpoint::route>("route"),
       InstanceMethod<&SimEndpoint::lost>("lost"), InstanceMethod<&SimEndpoint::answer>("answer"),
       InstanceMethod<&SimEndpoint::end>("end"), InstanceMethod<&SimEndpoint::take>("take")});
}

SimEndpoint::SimEndpoint(const Napi::CallbackInfo& info) : ObjectWrap(info) {}

SimEndpoint::SimRoute& SimEndpoint::route_of(const Napi::Value& value) {
  const uint64_t number = integer_of(value, "route");
  if (number >= routes_.size())
    throw coded_error(value.Env(), "ERR_ARGUMENT", "route: there is none of that number");
  return routes_[number];
}

Napi::Value SimEndpoint::submit(const Napi::CallbackInfo& info) {
  endpoint_.submit(client_op_of(info[0]));
  return info.Env().Undefined();
}

Napi::Value SimEndpoint::route(const Napi::CallbackInfo& info) {
  const uint64_t record_bytes_max = integer_of(info[0], "recordBytesMax");
  const uint64_t number_of_it = routes_.size();
  endpoint_.route(routes_.emplace_back(*this, number_of_it), record_bytes_max);
  return number(info.Env(), number_of_it);
}

Napi::Value SimEndpoint::lost(const Napi::CallbackInfo& info) {
  endpoint_.lost(route_of(info[0]));
  return info.Env().Undefined();
}

Napi::Value SimEndpoint::answer(const Napi::CallbackInfo& info) {
  endpoint_.answer(route_of(info[0]), reply_of(info[1]));
  return info.Env().Undefined();
}

Napi::Value SimEndpoint::end(const Napi::CallbackInfo& info) {
  endpoint_.end();
  return info.Env().Undefined();
}

/// All that came out since the last time, in order.
Napi::Value SimEndpoint::take(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Object object = Napi::Object::New(env);
  object.Set("sent", array_of(env, sent_, [&](const Sent& sent) {
               Napi::Object item = Napi::Object::New(env);
               item.Set("route", number(env, sent.route));
               if (sent.op) {
                 item.Set("op", client_op_object(env, *sent.op));
               } else {
                 item.Set("seen", number(env, sent.seen));
               }
               return item;
             }));
  object.Set("delivered",
             array_of(env, delivered_, [&](const Reply& reply) { return reply_object(env, reply); }));
  object.Set("isRouted", Napi::Boolean::New(env, endpoint_.is_routed()));
  sent_.clear();
  delivered_.clear();
  return object;
}

}  // namespace cloudfs::addon
