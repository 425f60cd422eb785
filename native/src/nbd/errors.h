// From the errnos of Reply to the errors that the NBD protocol allows.
#pragma once

#include <cstdint>
#include <string_view>

#include "nbd/transmission.h"

namespace cloudfs::nbd {

/// `error` is a Linux errno or 0. EOVERFLOW and ENOTSUP may be sent for some commands only and are EINVAL for others; an
/// errno the protocol does not know is EIO.
WireError wire_error(int error, const Request& request, bool structured);

/// What a server's error means in a Reply: 0, or a Linux errno; one that the protocol does not know is EIO.
int errno_of(uint32_t error);

/// For the error chunk of a structured reply.
std::string_view message_of(WireError error);

}  // namespace cloudfs::nbd
