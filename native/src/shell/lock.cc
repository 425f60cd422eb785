#include "shell/lock.h"

#include <sys/file.h>

#include <cerrno>

#include "shell/error.h"

namespace cloudfs::shell {

// flock and not fcntl: an fcntl lock goes when the process closes any descriptor of the file. udev keeps away
// from block devices that are locked like this.
int try_lock(int fd) {
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

void lock_or_throw(int fd, const std::string& path) {
  const int error = try_lock(fd);
  if (error == 0) return;
  if (error == EWOULDBLOCK) {
    throw Error("ERR_STORE_LOCKED", "the store at " + path + " is open in another process", error, "flock");
  }
  throw Error("ERR_STORE_IO", "cannot lock " + path, error, "flock");
}

}  // namespace cloudfs::shell
