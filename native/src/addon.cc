// The verbs that JavaScript sees, nothing else.
#include <napi.h>

#include "addon/codec.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  cloudfs::addon::export_codec(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(cloudfs, init)
