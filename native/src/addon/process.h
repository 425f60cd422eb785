// What concerns the process, not a store.
#pragma once

#include <napi.h>

namespace cloudfs::addon {

/// lockFile(path): the descriptor of a file that no other process can lock while it is open. Broken invariants are
/// reported on stderr from then on.
void export_process(Napi::Env env, Napi::Object exports);

}  // namespace cloudfs::addon
