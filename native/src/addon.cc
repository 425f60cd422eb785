// The verbs that JavaScript sees, nothing else.
#include <napi.h>

#include "core/checksum.h"

namespace {

Napi::Value crc32c(const Napi::CallbackInfo& info) {
  if (info.Length() != 1 || !info[0].IsBuffer()) {
    throw Napi::TypeError::New(info.Env(), "crc32c takes one Buffer");
  }
  const auto buffer = info[0].As<Napi::Buffer<uint8_t>>();
  return Napi::Number::New(info.Env(), cloudfs::crc32c({buffer.Data(), buffer.Length()}));
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("crc32c", Napi::Function::New(env, crc32c, "crc32c"));
  return exports;
}

}  // namespace

NODE_API_MODULE(cloudfs, init)
