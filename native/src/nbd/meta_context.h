// The registry of metadata contexts: what LIST_META_CONTEXT shows, SET_META_CONTEXT selects, and BLOCK_STATUS reports. A
// new context (cloudfs:since=VERSION) is one more family in meta_context.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/effects.h"

namespace cloudfs::nbd {

/// A context that a client selected.
struct MetaContext {
  uint32_t id = 0;  // unique on its connection
  std::string name;
  uint32_t (*status)(const Piece& piece) = nullptr;  // status flags of a piece of a block_status reply
};

/// Contexts that match any of the queries, each once; all of them if there is no query. Queries of unknown namespaces and
/// leaves match none.
std::vector<MetaContext> list_meta_contexts(std::span<const std::string_view> queries);
/// Contexts that a query names exactly, each once. Wildcards select none.
std::vector<MetaContext> select_meta_contexts(std::span<const std::string_view> queries);

}  // namespace cloudfs::nbd
