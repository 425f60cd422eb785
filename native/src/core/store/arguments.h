// Arguments of commands, read from JSON and checked.
#pragma once

#include <nlohmann/json.hpp>

#include "core/base/hex.h"
#include "core/store/exports.h"
#include "core/store/store.h"

namespace cloudfs {

using Json = nlohmann::json;

/// Thrown by what follows, caught in Commands::run.
struct Refused {
  const char* code;
  std::string message;
  std::string result = {};  // JSON: what the asker needs besides
};

inline const Json& argument(const Json& arguments, const char* name) {
  const auto at = arguments.find(name);
  if (at == arguments.end()) throw Refused{"ERR_ARGUMENT", std::string("missing: ") + name};
  return *at;
}

inline std::string text_of(const Json& arguments, const char* name) {
  const Json& value = argument(arguments, name);
  if (!value.is_string()) throw Refused{"ERR_ARGUMENT", std::string("not a string: ") + name};
  return value.get<std::string>();
}

/// JSON numbers are exact to 2^53; larger ones come as strings of digits.
inline uint64_t number_of(const Json& arguments, const char* name) {
  const Json& value = argument(arguments, name);
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  if (value.is_string()) {
    const std::string text = value.get<std::string>();
    if (!text.empty() && text.size() <= 19 && text.find_first_not_of("0123456789") == std::string::npos)
      return std::stoull(text);
  }
  throw Refused{"ERR_MALFORMED_QUANTITY", std::string("not a number: ") + name};
}

template <class Id>
Id id_of(const Json& arguments, const char* name) {
  const auto id = parse_id<Id>(text_of(arguments, name));
  if (!id) throw Refused{"ERR_MALFORMED_ID", std::string("not an id of 40 hex digits: ") + name};
  return *id;
}

inline std::vector<uint8_t> bytes_of(const Json& arguments, const char* name) {
  auto bytes = parse_hex(text_of(arguments, name));
  if (!bytes) throw Refused{"ERR_ARGUMENT", std::string("not hex: ") + name};
  return *bytes;
}

inline const char* name_of(Mode mode) {
  return mode == Mode::durable ? "durable" : mode == Mode::quorum ? "quorum" : "local";
}

inline Epoch epoch_of(const Json& arguments) {
  const Json& epoch = argument(arguments, "epoch");
  if (!epoch.is_object()) throw Refused{"ERR_ARGUMENT", "not an object: epoch"};
  Epoch out{number_of(epoch, "counter"), id_of<HostId>(epoch, "host")};
  if (out.counter > kLsnMax) throw Refused{"ERR_MALFORMED_QUANTITY", "epoch counter beyond 2^48"};
  return out;
}

inline Volume& volume_of(const Store& store, const Json& arguments) {
  const Exports::Found found = Exports::resolve(store, text_of(arguments, "volume"));
  if (found.refusal != nullptr && std::string_view(found.refusal) == "ambiguous")
    throw Refused{"ERR_AMBIGUOUS_NAME", "several volumes have this name"};
  if (found.target.volume == nullptr || found.target.snapshot != 0)
    throw Refused{"ERR_UNKNOWN_VOLUME", "no volume of this id or name is here"};
  return *found.target.volume;
}

inline bool flag_of(const Json& arguments, const char* name) {
  const auto at = arguments.find(name);
  if (at == arguments.end()) return false;
  if (!at->is_boolean()) throw Refused{"ERR_ARGUMENT", std::string("not true or false: ") + name};
  return at->get<bool>();
}

/// Who is to have a volume attached, all of them.
inline AttachPayload attach_of(const Json& arguments) {
  AttachPayload payload;
  payload.revision = number_of(arguments, "after") + 1;
  const Json& holders = argument(arguments, "holders");
  if (!holders.is_array() || holders.size() > kHoldersMax)
    throw Refused{"ERR_ARGUMENT", "holders: a list of at most " + std::to_string(kHoldersMax)};
  for (const Json& given : holders) {
    if (!given.is_object()) throw Refused{"ERR_ARGUMENT", "not an object: a holder"};
    Holder& holder = payload.holders.emplace_back();
    const std::vector<uint8_t> session = bytes_of(given, "session");
    if (session.size() != holder.session.size())
      throw Refused{"ERR_ARGUMENT", "session: 16 bytes in hex, zero where it has ended"};
    std::copy(session.begin(), session.end(), holder.session.begin());
    holder.host = id_of<HostId>(given, "host");
    holder.shared = flag_of(given, "isShared");
    holder.socket = text_of(given, "socket");
    if (holder.socket.size() > UINT8_MAX || !is_utf8(as_bytes(holder.socket)))
      throw Refused{"ERR_ARGUMENT", "socket: at most 255 bytes of UTF-8"};
  }
  return payload;
}

/// A volume of this id, in whatever state it is.
inline Volume& volume_by_id(const Store& store, const Json& arguments) {
  Volume* volume = store.find(id_of<VolumeId>(arguments, "volume"));
  if (volume == nullptr) throw Refused{"ERR_UNKNOWN_VOLUME", "no volume of this id is here"};
  return *volume;
}

}  // namespace cloudfs
