// What the two phases of a connection share: what was agreed on, and how far a step got.
#pragma once

#include <vector>

#include "core/base/effects.h"
#include "nbd/meta_context.h"

namespace cloudfs::nbd {

/// Agreed on in the handshake, or by being an attachment's session; fixed in the transmission phase.
struct Session {
  Export exported;
  bool structured = false;
  std::vector<MetaContext> contexts;
  /// The cookie of a request that changes data is the session's sequence (docs/nbd.md, Sessions).
  bool numbered = false;
};

uint16_t transmission_flags(const Session& session);

enum class Step {
  progressed,  // call again
  starved,     // more bytes are needed
  blocked,     // there are bytes, but no room for what they ask for
  entered,     // handshake: the transmission phase begins
  ended,       // the client is done: close when all is answered and sent
  broken,      // the client broke the protocol, or cannot be told of an error: close at once
};

}  // namespace cloudfs::nbd
