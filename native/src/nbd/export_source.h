// Where a connection finds the exports that clients name. The shell implements it over Core; a listener that
// serves one volume (the unix socket beside ID.info) gives its connections a source that maps the empty name
// to that volume.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/effects.h"

namespace cloudfs::nbd {

/// All calls are answered at once, on the thread of the connection. A name is what the client sent: at most
/// 4096 bytes, no NUL, not known to be UTF-8; the empty name asks for the listener's default export. A source
/// outlives its connections.
class ExportSource {
 public:
  virtual ~ExportSource() = default;

  /// What a client may be told without attaching (INFO, LIST_META_CONTEXT, SET_META_CONTEXT); `handle` is not
  /// used.
  virtual std::optional<Export> find(std::string_view name) = 0;

  /// What LIST shows, each `name` one that open() takes.
  virtual std::vector<Export> list() = 0;

  /// Attaches. The connection calls close() once for each handle, after the last answer to its requests.
  virtual std::optional<Export> open(std::string_view name) = 0;
  virtual void close(uint64_t handle) = 0;

  /// Why find() or open() of this name has just declined, for people; sent to the client.
  virtual std::string refusal(std::string_view name) = 0;
};

}  // namespace cloudfs::nbd
