#include "nbd/errors.h"

#include <cerrno>

namespace cloudfs::nbd {

WireError wire_error(int error, const Request& request, bool structured) {
  switch (error) {
    case 0:
      return WireError::none;
    case EPERM:
    case EACCES:
    case EROFS:
      return WireError::perm;
    case ENOMEM:
      return WireError::nomem;
    case EINVAL:
      return WireError::inval;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return WireError::nospc;
    case EOVERFLOW: {
      const bool allowed = request.type == CommandType::read
                               ? structured
                               : request.type != CommandType::write && request.length > kPayloadBytesMax;
      return allowed ? WireError::overflow : WireError::inval;
    }
    case EOPNOTSUPP:
      return request.has(kCommandFastZero) ? WireError::notsup : WireError::inval;
    case ESHUTDOWN:
      return WireError::shutdown;
    default:
      return WireError::io;
  }
}

int errno_of(uint32_t error) {
  switch (WireError{error}) {
    case WireError::none:
      return 0;
    case WireError::perm:
      return EPERM;
    case WireError::nomem:
      return ENOMEM;
    case WireError::inval:
      return EINVAL;
    case WireError::nospc:
      return ENOSPC;
    case WireError::overflow:
      return EOVERFLOW;
    case WireError::notsup:
      return EOPNOTSUPP;
    case WireError::shutdown:
      return ESHUTDOWN;
    case WireError::io:
      break;
  }
  return EIO;
}

std::string_view message_of(WireError error) {
  switch (error) {
    case WireError::none:
      break;
    case WireError::perm:
      return "not permitted";
    case WireError::io:
      return "the store could not read or write";
    case WireError::nomem:
      return "the server is out of memory";
    case WireError::inval:
      return "not valid for this export";
    case WireError::nospc:
      return "the store is full";
    case WireError::overflow:
      return "too large";
    case WireError::notsup:
      return "zeroing would not be fast here";
    case WireError::shutdown:
      return "the server is shutting down";
  }
  return {};
}

}  // namespace cloudfs::nbd
