// What goes in and out of the parts that simulators drive, as JavaScript values.
#pragma once

#include <napi.h>

#include <vector>

#include "core/base/effects.h"

namespace cloudfs::addon {

Napi::Value number(Napi::Env env, uint64_t value);

/// @throws ERR_ARGUMENT
ClientOp client_op_of(const Napi::Value& value);
Napi::Object client_op_object(Napi::Env env, const ClientOp& op);

Napi::Object reply_object(Napi::Env env, const Reply& reply);
/// @throws ERR_ARGUMENT
Reply reply_of(const Napi::Value& value);

template <class Items, class Convert>
Napi::Array array_of(Napi::Env env, Items& items, Convert convert) {
  Napi::Array array = Napi::Array::New(env, items.size());
  uint32_t index = 0;
  for (auto& item : items) array.Set(index++, convert(item));
  return array;
}

}  // namespace cloudfs::addon
