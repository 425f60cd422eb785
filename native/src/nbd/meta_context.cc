#include "nbd/meta_context.h"

#include <algorithm>

#include "nbd/protocol.h"

namespace cloudfs::nbd {

namespace {

/// The contexts of a namespace and what a query's leaf-name means there.
struct Family {
  std::string_view prefix;  // namespace and colon
  bool (*lists)(std::string_view leaf);
  bool (*selects)(std::string_view leaf);
  std::string_view
      name;  // shown when the leaf lists it; a family whose leaves are algorithmic shows its prefix
  uint32_t (*status)(const Piece& piece);
};

// A hole is both: not stored, and read as zeroes. A stored block is neither: zero blocks are never stored.
uint32_t allocation_status(const Piece& piece) {
  return piece.hole ? kStateHole | kStateZero : 0;
}

constexpr Family kFamilies[] = {
    {"base:", [](std::string_view leaf) { return leaf.empty() || leaf == "allocation"; },
     [](std::string_view leaf) { return leaf == "allocation"; }, "base:allocation", allocation_status},
};

bool has(const std::vector<MetaContext>& contexts, std::string_view name) {
  return std::any_of(contexts.begin(), contexts.end(), [&](const MetaContext& c) { return c.name == name; });
}

}  // namespace

std::vector<MetaContext> list_meta_contexts(std::span<const std::string_view> queries) {
  std::vector<MetaContext> found;
  for (const Family& family : kFamilies) {
    const bool matches =
        queries.empty() || std::any_of(queries.begin(), queries.end(), [&](std::string_view query) {
          return query.starts_with(family.prefix) && family.lists(query.substr(family.prefix.size()));
        });
    if (matches) found.push_back({0, std::string(family.name), family.status});
  }
  return found;
}

std::vector<MetaContext> select_meta_contexts(std::span<const std::string_view> queries) {
  std::vector<MetaContext> selected;
  for (std::string_view query : queries) {
    for (const Family& family : kFamilies) {
      if (!query.starts_with(family.prefix) || !family.selects(query.substr(family.prefix.size()))) continue;
      if (has(selected, query)) continue;
      selected.push_back({static_cast<uint32_t>(selected.size() + 1), std::string(query), family.status});
    }
  }
  return selected;
}

}  // namespace cloudfs::nbd
