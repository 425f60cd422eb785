#include "addon/values.h"

#include <fcntl.h>

#include <algorithm>
#include <cmath>

#include "core/base/hex.h"
#include "core/format/entry.h"

namespace cloudfs::addon {

namespace {

[[noreturn]] void refuse(Napi::Env env, const char* name, const std::string& what) {
  throw coded_error(env, "ERR_ARGUMENT", std::string(name) + ": " + what);
}

template <class Id>
Id id(const Napi::Object& object, const char* name) {
  const auto parsed = parse_id<Id>(text(object, name));
  if (!parsed) refuse(object.Env(), name, "not 40 hex digits");
  return *parsed;
}

}  // namespace

Napi::Error coded_error(Napi::Env env, const std::string& code, const std::string& message, int error,
                        const std::string& syscall) {
  Napi::Error result = Napi::Error::New(env, message);
  result.Set("code", Napi::String::New(env, code));
  if (error != 0) {
    result.Set("errno", Napi::Number::New(env, error));
    result.Set("syscall", Napi::String::New(env, syscall));
  }
  return result;
}

Napi::Error coded_error(Napi::Env env, const shell::Error& error) {
  return coded_error(env, error.code(), error.what(), error.error(), error.syscall());
}

uint64_t integer_of(const Napi::Value& value, const char* name, uint64_t max) {
  uint64_t result = 0;
  if (value.IsBigInt()) {
    bool lossless = false;
    result = value.As<Napi::BigInt>().Uint64Value(&lossless);
    if (!lossless) refuse(value.Env(), name, "does not fit in 64 bits");
  } else if (value.IsNumber()) {
    const double number = value.As<Napi::Number>().DoubleValue();
    if (!(number >= 0 && number <= 9007199254740991.0 && std::trunc(number) == number)) {
      refuse(value.Env(), name, "not an integer from 0 on");
    }
    result = static_cast<uint64_t>(number);
  } else {
    refuse(value.Env(), name, "not a number or bigint");
  }
  if (result > max) refuse(value.Env(), name, "more than " + std::to_string(max));
  return result;
}

uint64_t integer(const Napi::Object& object, const char* name, uint64_t max) {
  return integer_of(object.Get(name), name, max);
}

uint64_t integer_or(const Napi::Object& object, const char* name, uint64_t absent, uint64_t max) {
  const Napi::Value value = object.Get(name);
  return value.IsUndefined() ? absent : integer_of(value, name, max);
}

bool flag(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (value.IsUndefined()) return false;
  if (!value.IsBoolean()) refuse(object.Env(), name, "not a boolean");
  return value.As<Napi::Boolean>();
}

std::string text_of(const Napi::Value& value, const char* name) {
  if (!value.IsString()) refuse(value.Env(), name, "not a string");
  return value.As<Napi::String>();
}

std::string text(const Napi::Object& object, const char* name) {
  return text_of(object.Get(name), name);
}

Napi::Object object_of(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) refuse(value.Env(), name, "not an object");
  return value.As<Napi::Object>();
}

std::vector<uint8_t> bytes_of(const Napi::Value& value, const char* name, size_t max) {
  if (value.IsUndefined()) return {};
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    refuse(value.Env(), name, "not a Uint8Array");
  }
  const auto array = value.As<Napi::Uint8Array>();
  if (array.ByteLength() > max) refuse(value.Env(), name, "more than " + std::to_string(max) + " bytes");
  return {array.Data(), array.Data() + array.ByteLength()};
}

Slice slice_of(const Napi::Value& value, const char* name) {
  const std::vector<uint8_t> bytes = bytes_of(value, name);
  if (bytes.empty()) return {};
  const BufferRef buffer(bytes.size());
  std::copy(bytes.begin(), bytes.end(), buffer.data());
  return {buffer, buffer.data(), bytes.size()};
}

Napi::Buffer<uint8_t> to_buffer(Napi::Env env, const uint8_t* data, size_t size) {
  return size == 0 ? Napi::Buffer<uint8_t>::New(env, 0) : Napi::Buffer<uint8_t>::Copy(env, data, size);
}

SessionId session_of(const Napi::Object& object, const char* name) {
  SessionId session;
  if (!parse_hex(text(object, name), session)) refuse(object.Env(), name, "not 32 hex digits");
  return session;
}

std::optional<Epoch> epoch_or_none(const Napi::Object& object, const char* name) {
  if (object.Get(name).IsUndefined()) return std::nullopt;
  const Napi::Object epoch = object_of(object.Get(name), name);
  const auto host = parse_id<HostId>(text(epoch, "host"));
  if (!host) refuse(object.Env(), name, "its host is not an id of 40 hex digits");
  return Epoch{integer(epoch, "counter", kLsnMax), *host};
}

shell::Fd descriptor_of(const Napi::Object& object, const char* name) {
  const auto descriptor = static_cast<int>(integer(object, name, INT32_MAX));
  shell::Fd own(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  if (own.get() < 0) refuse(object.Env(), name, "not an open descriptor");
  return own;
}

CoreParams params_of(const Napi::Value& value) {
  CoreParams params;
  if (value.IsUndefined()) return params;
  const Napi::Object object = object_of(value, "params");
  const auto u32 = [&](const char* name, uint32_t& field, uint64_t max = UINT32_MAX) {
    field = static_cast<uint32_t>(integer_or(object, name, field, max));
  };
  const auto u64 = [&](const char* name, uint64_t& field) { field = integer_or(object, name, field); };
  u32("segmentLog2", params.segment_log2, 26);
  if (params.segment_log2 < 16) refuse(value.Env(), "segmentLog2", "less than 16");
  u32("segmentLimit", params.segment_limit, UINT32_MAX - 1);
  params.align_log2 = static_cast<uint8_t>(integer_or(object, "alignLog2", params.align_log2, 12));
  if (params.align_log2 < 10) refuse(value.Env(), "alignLog2", "less than 10");
  u64("checkpointBytes", params.checkpoint_bytes);
  u64("syncBytesMax", params.sync_bytes_max);
  u64("syncIntervalNs", params.sync_interval_ns);
  u32("recordBodyBytesMax", params.record_body_bytes_max);
  u32("batchBodyBytesMax", params.batch_body_bytes_max);
  u32("preparedSegments", params.prepared_segments);
  u32("reservedSegments", params.reserved_segments);
  u32("readsInFlightMax", params.reads_in_flight_max);
  u64("mapBytesMax", params.map_bytes_max);
  params.elections = flag(object, "elections");
  const std::vector<uint8_t> boot_id = bytes_of(object.Get("bootId"), "bootId");
  if (!boot_id.empty()) {
    if (boot_id.size() != params.boot_id.size()) refuse(value.Env(), "bootId", "not 16 bytes");
    std::copy(boot_id.begin(), boot_id.end(), params.boot_id.begin());
  }
  return params;
}

StoreIdentity identity_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "identity");
  StoreIdentity identity;
  identity.store = id<StoreId>(object, "store");
  identity.host = id<HostId>(object, "host");
  identity.generation = integer_or(object, "generation", 1);
  return identity;
}

}  // namespace cloudfs::addon
