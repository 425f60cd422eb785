// The verbs that JavaScript sees, nothing else.
#include <napi.h>

#include "addon/codec.h"
#include "addon/process.h"
#include "addon/sim_core.h"
#include "addon/sim_endpoint.h"
#include "addon/store_handle.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  cloudfs::addon::export_codec(env, exports);
  cloudfs::addon::export_process(env, exports);
  exports.Set("StoreHandle", cloudfs::addon::StoreHandle::define(env));
  exports.Set("SimCore", cloudfs::addon::SimCore::define(env));
  exports.Set("SimEndpoint", cloudfs::addon::SimEndpoint::define(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(cloudfs, init)
