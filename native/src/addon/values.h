// JavaScript values from and to those of the core. What JavaScript gave wrong is thrown as ERR_ARGUMENT.
#pragma once

#include <napi.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/store/core.h"
#include "shell/error.h"
#include "shell/fd.h"

namespace cloudfs::addon {

/// An Error with `code`, and `errno` and `syscall` if the operating system had a part in it.
Napi::Error coded_error(Napi::Env env, const std::string& code, const std::string& message, int error = 0,
                        const std::string& syscall = {});
Napi::Error coded_error(Napi::Env env, const shell::Error& error);

/// A property's value: an integer (number or bigint) from 0 to `max`. @throws ERR_ARGUMENT
uint64_t integer(const Napi::Object& object, const char* name, uint64_t max = UINT64_MAX);
/// As integer(), or `absent` where the property is undefined.
uint64_t integer_or(const Napi::Object& object, const char* name, uint64_t absent, uint64_t max = UINT64_MAX);
uint64_t integer_of(const Napi::Value& value, const char* name, uint64_t max = UINT64_MAX);
bool flag(const Napi::Object& object, const char* name);  // undefined = false
std::string text(const Napi::Object& object, const char* name);
std::string text_of(const Napi::Value& value, const char* name);
Napi::Object object_of(const Napi::Value& value, const char* name);

/// The bytes of a Uint8Array; undefined = none. @throws ERR_ARGUMENT for more than `max`, before they are copied
std::vector<uint8_t> bytes_of(const Napi::Value& value, const char* name, size_t max = SIZE_MAX);
/// As bytes_of, in a buffer of the core's.
Slice slice_of(const Napi::Value& value, const char* name);
Napi::Buffer<uint8_t> to_buffer(Napi::Env env, const uint8_t* data, size_t size);

SessionId session_of(const Napi::Object& object, const char* name);  // 32 hex digits
std::optional<Epoch> epoch_or_none(const Napi::Object& object,
                                   const char* name);  // {counter, host}; undefined = none
/// A descriptor of its own for the open one that is named: JavaScript closes the other.
shell::Fd descriptor_of(const Napi::Object& object, const char* name);

CoreParams params_of(const Napi::Value& value);  // undefined = defaults, as is each property
StoreIdentity identity_of(const Napi::Value& value);

}  // namespace cloudfs::addon
