// The codec's verbs.
#pragma once

#include <napi.h>

namespace cloudfs::addon {

/// crc32c(bytes): number, and describe(kind, bytes): string (core/format/describe.h).
void export_codec(Napi::Env env, Napi::Object exports);

}  // namespace cloudfs::addon
