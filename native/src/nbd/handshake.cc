#include "nbd/handshake.h"

#include <algorithm>
#include <utility>

#include "nbd/protocol.h"

namespace cloudfs::nbd {

uint16_t transmission_flags(const Session& session) {
  // Every connection speaks with the same core, which keeps no cache of its own per connection: a FLUSH covers what any
  // of them was told is written.
  uint16_t flags = kFlagHasFlags | kFlagSendFlush | kFlagSendFua | kFlagCanMultiConn | kFlagSendCache;
  if (session.exported.read_only) {
    flags |= kFlagReadOnly;
  } else {
    flags |= kFlagSendTrim | kFlagSendWriteZeroes | kFlagSendFastZero;
  }
  if (session.structured) flags |= kFlagSendDf;
  return flags;
}

namespace {

constexpr uint32_t kMinimumBlockBytes = 1;
constexpr uint32_t kPreferredBlockBytes = kBlockBytes;

Writer reply(Output& output, uint32_t option, OptionReply type, size_t bytes) {
  Writer writer = output.put(kOptionReplyHeaderBytes + bytes);
  writer.put(kOptionReplyMagic).put(option).put(type).put(static_cast<uint32_t>(bytes));
  return writer;
}

Step acknowledge(Output& output, uint32_t option) {
  reply(output, option, OptionReply::ack, 0);
  return Step::progressed;
}

// Cut to what a string may have, between characters.
std::string_view clipped(std::string_view text) {
  if (text.size() <= kStringBytesMax) return text;
  size_t end = kStringBytesMax;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

Step refuse(Output& output, uint32_t option, OptionReply error, std::string_view message) {
  message = clipped(message);
  reply(output, option, error, message.size()).put(message);
  return Step::progressed;
}

bool has_nul(std::string_view name) {
  return name.find('\0') != std::string_view::npos;
}

/// Data of LIST_META_CONTEXT and SET_META_CONTEXT.
struct MetaQuery {
  std::string_view name;
  std::vector<std::string_view> queries;
};

bool parse(std::span<const uint8_t> data, MetaQuery& query) {
  Cursor cursor(data);
  uint32_t bytes = 0;
  uint32_t count = 0;
  if (!cursor.take(bytes) || !cursor.take(bytes, query.name) || !cursor.take(count)) return false;
  if (count > cursor.rest() / sizeof(uint32_t)) return false;
  query.queries.resize(count);
  for (std::string_view& each : query.queries)
    if (!cursor.take(bytes) || !cursor.take(bytes, each)) return false;
  return cursor.rest() == 0;
}

/// Data of INFO and GO.
struct InfoQuery {
  std::string_view name;
  bool wants_name = false;
  bool wants_description = false;
  bool wants_block_size = false;
};

bool parse(std::span<const uint8_t> data, InfoQuery& query) {
  Cursor cursor(data);
  uint32_t bytes = 0;
  uint16_t count = 0;
  if (!cursor.take(bytes) || !cursor.take(bytes, query.name) || !cursor.take(count)) return false;
  if (cursor.rest() != count * sizeof(uint16_t)) return false;
  for (uint16_t item = 0; cursor.take(item);) {
    query.wants_name |= item == static_cast<uint16_t>(Info::name);
    query.wants_description |= item == static_cast<uint16_t>(Info::description);
    query.wants_block_size |= item == static_cast<uint16_t>(Info::block_size);
  }
  return true;
}

void describe(Output& output, uint32_t option, const InfoQuery& query, const Session& session) {
  const Export& exported = session.exported;
  reply(output, option, OptionReply::info, 12)
      .put(Info::exported)
      .put(exported.size_bytes)
      .put(transmission_flags(session));
  if (query.wants_name) {
    const std::string_view name = clipped(exported.name);
    reply(output, option, OptionReply::info, 2 + name.size()).put(Info::name).put(name);
  }
  if (query.wants_description && !exported.description.empty()) {
    const std::string_view text = clipped(exported.description);
    reply(output, option, OptionReply::info, 2 + text.size()).put(Info::description).put(text);
  }
  if (query.wants_block_size) {
    reply(output, option, OptionReply::info, 14)
        .put(Info::block_size)
        .put(kMinimumBlockBytes)
        .put(kPreferredBlockBytes)
        .put(kPayloadBytesMax);
  }
}

}  // namespace

Handshake::Handshake(ExportSource& exports, Output& output) : exports_(exports) {
  output.put(18).put(kGreetingMagic).put(kOptionMagic).put<uint16_t>(kFlagFixedNewstyle | kFlagNoZeroes);
}

Step Handshake::step(ReceiveBuffer& input, Output& output) {
  if (!flags_known_) return client_flags(input);
  // A client waits for the reply to an option before it sends the next one. One that does not is served as fast as it
  // reads, and no faster.
  if (output.bytes() > kHandshakeOutputBytesMax) return Step::blocked;
  if (oversized_ != 0) {
    if (input.skipping()) return Step::starved;
    const uint32_t of = std::exchange(oversized_, 0);
    if (of == static_cast<uint32_t>(Option::abort)) return option(of, {}, output);
    return refuse(output, of, OptionReply::err_too_big, "option data is limited to 65536 bytes");
  }

  const std::span<const uint8_t> bytes = input.available();
  if (bytes.size() < kOptionHeaderBytes) {
    input.want(kOptionHeaderBytes);
    return Step::starved;
  }
  const auto magic = load<uint64_t>(bytes.data());
  const auto type = load<uint32_t>(bytes.data() + 8);
  const auto length = load<uint32_t>(bytes.data() + 12);
  if (magic != kOptionMagic || options_ >= kOptionsMax) return Step::broken;
  if (!fixed_newstyle_ && type != static_cast<uint32_t>(Option::export_name)) return Step::broken;
  if (length > kOptionBytesMax) return oversized(type, length, input);
  if (bytes.size() < kOptionHeaderBytes + length) {
    input.want(kOptionHeaderBytes + length);
    return Step::starved;
  }
  ++options_;
  const Step step = option(type, bytes.subspan(kOptionHeaderBytes, length), output);
  input.consume(kOptionHeaderBytes + length);
  return step;
}

Step Handshake::client_flags(ReceiveBuffer& input) {
  const std::span<const uint8_t> bytes = input.available();
  if (bytes.size() < kClientFlagsBytes) {
    input.want(kClientFlagsBytes);
    return Step::starved;
  }
  const auto flags = load<uint32_t>(bytes.data());
  input.consume(kClientFlagsBytes);
  if ((flags & ~uint32_t{kFlagFixedNewstyle | kFlagNoZeroes}) != 0) return Step::broken;
  fixed_newstyle_ = (flags & kFlagFixedNewstyle) != 0;
  no_zeroes_ = (flags & kFlagNoZeroes) != 0;
  flags_known_ = true;
  return Step::progressed;
}

Step Handshake::oversized(uint32_t option, uint32_t bytes, ReceiveBuffer& input) {
  // The one option whose reply cannot carry an error.
  if (option == static_cast<uint32_t>(Option::export_name)) return Step::broken;
  ++options_;
  oversized_ = option;
  input.consume(kOptionHeaderBytes);
  input.skip(bytes);
  return Step::progressed;
}

Step Handshake::option(uint32_t option, std::span<const uint8_t> data, Output& output) {
  const auto type = static_cast<Option>(option);
  if (type == Option::abort) {
    acknowledge(output, option);
    return Step::ended;
  }
  if (shutting_down_) {
    if (type == Option::export_name) return Step::broken;
    return refuse(output, option, OptionReply::err_shutdown, "the server is shutting down");
  }
  switch (type) {
    case Option::export_name:
      return export_name(data, output);
    case Option::list:
      return list(data, output);
    case Option::info:
    case Option::go:
      return info_or_go(option, data, output);
    case Option::structured_reply:
      return structured_reply(data, output);
    case Option::list_meta_context:
    case Option::set_meta_context:
      return meta_context(option, data, output);
    case Option::starttls:
      return refuse(output, option, OptionReply::err_unsup, "TLS is not supported by this server");
    case Option::extended_headers:
    default:
      return refuse(output, option, OptionReply::err_unsup, "option not supported");
  }
}

bool Handshake::open(std::string_view name) {
  std::optional<Export> opened = exports_.open(name);
  if (!opened) return false;
  session_.exported = *std::move(opened);
  // Contexts are selected for an export by its name; those of another one mean nothing here.
  if (!session_.structured || contexts_of_ != name) session_.contexts.clear();
  return true;
}

Step Handshake::export_name(std::span<const uint8_t> data, Output& output) {
  std::string_view name;
  if (data.size() > kStringBytesMax || !Cursor(data).take(data.size(), name) || has_nul(name) || !open(name))
    return Step::broken;
  const size_t zeroes = no_zeroes_ ? 0 : kExportNameZeroes;
  output.put(10 + zeroes).put(session_.exported.size_bytes).put(transmission_flags(session_)).zeroes(zeroes);
  return Step::entered;
}

Step Handshake::list(std::span<const uint8_t> data, Output& output) {
  constexpr auto kOption = static_cast<uint32_t>(Option::list);
  if (!data.empty()) return refuse(output, kOption, OptionReply::err_invalid, "LIST takes no data");
  uint32_t listed = 0;
  for (const Export& exported : exports_.list()) {
    if (listed++ >= kExportsListedMax)
      return refuse(output, kOption, OptionReply::err_too_big, "too many exports to list: name one");
    // A name that had to be cut would not open.
    if (exported.name.size() > kStringBytesMax) continue;
    const std::string_view description = clipped(exported.description);
    const auto name_bytes = static_cast<uint32_t>(exported.name.size());
    reply(output, kOption, OptionReply::server, sizeof name_bytes + name_bytes + description.size())
        .put(name_bytes)
        .put(std::string_view(exported.name))
        .put(description);
  }
  return acknowledge(output, kOption);
}

Step Handshake::info_or_go(uint32_t option, std::span<const uint8_t> data, Output& output) {
  InfoQuery query;
  if (!parse(data, query) || has_nul(query.name))
    return refuse(output, option, OptionReply::err_invalid, "malformed data");
  if (query.name.size() > kStringBytesMax)
    return refuse(output, option, OptionReply::err_too_big, "an export name is limited to 4096 bytes");
  if (option == static_cast<uint32_t>(Option::go)) {
    if (!open(query.name))
      return refuse(output, option, OptionReply::err_unknown, exports_.refusal(query.name));
    describe(output, option, query, session_);
    acknowledge(output, option);
    return Step::entered;
  }
  std::optional<Export> found = exports_.find(query.name);
  if (!found) return refuse(output, option, OptionReply::err_unknown, exports_.refusal(query.name));
  describe(output, option, query, {*std::move(found), session_.structured, {}, false});
  return acknowledge(output, option);
}

Step Handshake::structured_reply(std::span<const uint8_t> data, Output& output) {
  constexpr auto kOption = static_cast<uint32_t>(Option::structured_reply);
  if (!data.empty())
    return refuse(output, kOption, OptionReply::err_invalid, "STRUCTURED_REPLY takes no data");
  session_.structured = true;
  return acknowledge(output, kOption);
}

Step Handshake::meta_context(uint32_t option, std::span<const uint8_t> data, Output& output) {
  const bool set = option == static_cast<uint32_t>(Option::set_meta_context);
  if (set) session_.contexts.clear();  // also if this option fails
  if (!session_.structured)
    return refuse(output, option, OptionReply::err_invalid, "negotiate structured replies first");
  MetaQuery query;
  if (!parse(data, query) || has_nul(query.name))
    return refuse(output, option, OptionReply::err_invalid, "malformed data");
  if (query.name.size() > kStringBytesMax)
    return refuse(output, option, OptionReply::err_too_big, "an export name is limited to 4096 bytes");
  for (std::string_view each : query.queries) {
    if (each.size() > kStringBytesMax)
      return refuse(output, option, OptionReply::err_too_big, "a query is limited to 4096 bytes");
    if (each.find(':') == std::string_view::npos)
      return refuse(output, option, OptionReply::err_invalid, "a query begins with a namespace and a colon");
  }
  if (!exports_.find(query.name))
    return refuse(output, option, OptionReply::err_unknown, exports_.refusal(query.name));

  const std::vector<MetaContext> contexts =
      set ? select_meta_contexts(query.queries) : list_meta_contexts(query.queries);
  for (const MetaContext& context : contexts) {
    reply(output, option, OptionReply::meta_context, sizeof context.id + context.name.size())
        .put(context.id)
        .put(std::string_view(context.name));
  }
  if (set) {
    session_.contexts = contexts;
    contexts_of_ = query.name;
  }
  return acknowledge(output, option);
}

}  // namespace cloudfs::nbd
