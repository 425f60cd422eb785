// Ids as text: lower-case hex, two digits a byte.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/ids.h"

namespace cloudfs {

std::string to_hex(ByteSpan bytes);
template <class Tag>
std::string to_hex(const Id160<Tag>& id) {
  return to_hex(ByteSpan(id.bytes));
}

/// Fills `out`. @returns false unless `text` is exactly twice as long and all hex digits, of either case
bool parse_hex(std::string_view text, std::span<uint8_t> out);

/// @returns nullopt for an odd length or a character that is no hex digit
std::optional<std::vector<uint8_t>> parse_hex(std::string_view text);

template <class Id>
std::optional<Id> parse_id(std::string_view text) {
  Id id;
  if (!parse_hex(text, id.bytes)) return std::nullopt;
  return id;
}

}  // namespace cloudfs
