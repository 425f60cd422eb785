#include "addon/codec.h"

#include "core/base/checksum.h"
#include "core/format/describe.h"

namespace cloudfs::addon {

namespace {

/// The bytes of argument `index`, in place; throws a TypeError if it is not a Uint8Array (a Buffer is one).
ByteSpan bytes_argument(const Napi::CallbackInfo& info, size_t index) {
  if (info.Length() <= index || !info[index].IsTypedArray() ||
      info[index].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    throw Napi::TypeError::New(info.Env(), "bytes are a Uint8Array");
  const auto array = info[index].As<Napi::Uint8Array>();
  return {array.Data(), array.ByteLength()};
}

Napi::Value crc32c_verb(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), crc32c(bytes_argument(info, 0)));
}

Napi::Value describe_verb(const Napi::CallbackInfo& info) {
  if (info.Length() == 0 || !info[0].IsString()) throw Napi::TypeError::New(info.Env(), "a kind is a string");
  const std::string kind = info[0].As<Napi::String>();
  const std::optional<std::string> text = describe(kind, bytes_argument(info, 1));
  if (!text) throw Napi::TypeError::New(info.Env(), "no structure of the format is called '" + kind + "'");
  return Napi::String::New(info.Env(), *text);
}

}  // namespace

void export_codec(Napi::Env env, Napi::Object exports) {
  exports.Set("crc32c", Napi::Function::New(env, crc32c_verb, "crc32c"));
  exports.Set("describe", Napi::Function::New(env, describe_verb, "describe"));
}

}  // namespace cloudfs::addon
