#include "addon/process.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "addon/values.h"
#include "core/base/assert.h"
#include "shell/lock.h"

namespace cloudfs::addon {

namespace {

Napi::Value lock_file(const Napi::CallbackInfo& info) {
  const std::string path = text_of(info[0], "path");
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) throw coded_error(info.Env(), "ERR_LOCK", "cannot open " + path, errno, "open");
  if (const int error = shell::try_lock(fd)) {
    ::close(fd);
    const char* const code = error == EWOULDBLOCK ? "ERR_LOCKED" : "ERR_LOCK";
    throw coded_error(info.Env(), code, "another process has locked " + path, error, "flock");
  }
  return Napi::Number::New(info.Env(), fd);
}

/// Without memory or locks: the process aborts next.
void report_assertion(const char* invariant, const std::source_location& where) {
  char line[512];
  const int bytes = std::snprintf(line, sizeof line, "cloudfs: broken invariant: %s (%s:%u)\n", invariant,
                                  where.file_name(), where.line());
  if (bytes <= 0) return;
  const size_t length = std::min(static_cast<size_t>(bytes), sizeof line - 1);
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line, length);
}

}  // namespace

void export_process(Napi::Env env, Napi::Object exports) {
  set_assertion_handler(report_assertion);
  exports.Set("lockFile", Napi::Function::New(env, lock_file, "lockFile"));
}

}  // namespace cloudfs::addon
