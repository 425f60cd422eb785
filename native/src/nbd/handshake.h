// The handshake phase: fixed newstyle negotiation, options up to GO or EXPORT_NAME. Oldstyle is never offered: its client
// reads another magic and leaves, or is cut off at its first request, whose bytes are no client flags.
#pragma once

#include <string>

#include "nbd/export_source.h"
#include "nbd/output.h"
#include "nbd/receive_buffer.h"
#include "nbd/session.h"

namespace cloudfs::nbd {

/// Past this many unsent bytes of replies no further option is looked at.
constexpr size_t kHandshakeOutputBytesMax = 64u << 10;

class Handshake {
 public:
  /// Appends the greeting.
  Handshake(ExportSource& exports, Output& output);

  Step step(ReceiveBuffer& input, Output& output);
  void shut_down() { shutting_down_ = true; }
  /// After Step::entered: what was agreed on, with the export open.
  Session& session() { return session_; }

 private:
  Step client_flags(ReceiveBuffer& input);
  Step oversized(uint32_t option, uint32_t bytes, ReceiveBuffer& input);
  Step option(uint32_t option, std::span<const uint8_t> data, Output& output);
  Step export_name(std::span<const uint8_t> data, Output& output);
  Step list(std::span<const uint8_t> data, Output& output);
  Step info_or_go(uint32_t option, std::span<const uint8_t> data, Output& output);
  Step structured_reply(std::span<const uint8_t> data, Output& output);
  Step meta_context(uint32_t option, std::span<const uint8_t> data, Output& output);
  bool open(std::string_view name);

  ExportSource& exports_;
  bool flags_known_ = false;
  bool fixed_newstyle_ = false;
  bool no_zeroes_ = false;
  bool shutting_down_ = false;
  uint32_t options_ = 0;
  uint32_t oversized_ = 0;  // the option whose data is being dropped; 0 = none
  Session session_;
  std::string contexts_of_;  // the name that session_.contexts were selected for
};

}  // namespace cloudfs::nbd
