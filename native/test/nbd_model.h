// A second, independent reading of the NBD protocol: what a client's bytes mean, and whether a server's bytes are a
// right answer to them. It sees whole streams, so it is simple where the server has to be incremental. Any bytes are
// allowed; what differs from the server is thrown as a Violation.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <stdexcept>

#include "nbd_peer.h"

namespace nbd_test {

struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void demand(bool holds, const std::string& what) {
  if (!holds) throw Violation(what);
}

/// What a client's stream asks for, in its order.
class ClientStream {
 public:
  enum class End { open, disconnected, broken };

  struct OptionExpected {
    uint32_t type = 0;
    uint32_t last_reply = 0;
  };
  struct RequestExpected {
    uint16_t flags = 0, type = 0;
    uint64_t cookie = 0, offset = 0;
    uint32_t length = 0;
    uint32_t error = 0;
    bool op = false;  // passed to the core; then `error` is what the core says
    std::vector<Piece> pieces;
  };

  /// Reads `bytes` and gives each request its own cookie there. `error_of_op(n)` is the errno with which the core will
  /// answer the n-th op.
  ClientStream(std::string& bytes, MemoryExports& exports, const std::function<int(size_t)>& error_of_op)
      : bytes_(bytes), exports_(exports), error_of_op_(error_of_op) {
    read_handshake();
  }

  std::vector<OptionExpected> options;
  std::vector<RequestExpected> requests;
  std::optional<Export> exported;
  bool by_export_name = false, no_zeroes = false, structured = false, contexts = false;
  End end = End::open;
  size_t ops = 0;

 private:
  std::optional<std::string_view> take(size_t count) {
    if (bytes_.size() - at_ < count) return std::nullopt;
    at_ += count;
    return std::string_view(bytes_).substr(at_ - count, count);
  }

  void read_handshake() {
    const auto flags = take(4);
    if (!flags) return;
    const auto bits = from_be<uint32_t>(*flags);
    if (bits > 3) return finish(End::broken);
    no_zeroes = (bits & 2) != 0;
    while (end == End::open && !exported) {
      const auto header = take(16);
      if (!header) return;
      const auto type = from_be<uint32_t>(header->substr(8));
      const auto length = from_be<uint32_t>(header->substr(12));
      if (!header->starts_with("IHAVEOPT") || options.size() == 128) return finish(End::broken);
      if ((bits & 1) == 0 && type != kOptExportName) return finish(End::broken);
      if (type == kOptExportName && length > 65536) return finish(End::broken);
      const auto data = take(length);
      if (!data) return;
      if (type == kOptExportName) {
        by_export_name = true;
        if (!open(*data)) return finish(End::broken);
      } else {
        options.push_back(
            {type, length > 65536 && type != kOptAbort ? kRepErrTooBig : reply_to(type, *data)});
      }
    }
    if (exported) read_requests();
  }

  void finish(End how) { end = how; }

  bool open(std::string_view name) {
    exported = valid(name) ? exports_.find(name) : std::nullopt;
    contexts = contexts && contexts_of_ == name;
    return exported.has_value();
  }

  static bool valid(std::string_view name) {
    return name.size() <= 4096 && name.find('\0') == std::string_view::npos;
  }

  uint32_t reply_to(uint32_t type, std::string_view data) {
    switch (type) {
      case kOptAbort:
        finish(End::disconnected);
        return kRepAck;
      case kOptList:
        return data.empty() ? kRepAck : kRepErrInvalid;
      case kOptStructuredReply:
        structured |= data.empty();
        return data.empty() ? kRepAck : kRepErrInvalid;
      case kOptInfo:
      case kOptGo: {
        const auto name = string_in(data);
        if (!name || data.size() < 2 || name->find('\0') != std::string_view::npos) return kRepErrInvalid;
        if (data.size() != 2u + 2u * from_be<uint16_t>(data)) return kRepErrInvalid;
        if (!valid(*name)) return kRepErrTooBig;
        if (type == kOptGo) return open(*name) ? kRepAck : kRepErrUnknown;
        return exports_.find(*name) ? kRepAck : kRepErrUnknown;
      }
      case kOptListMetaContext:
      case kOptSetMetaContext:
        return reply_to_meta(type == kOptSetMetaContext, data);
      default:
        return kRepErrUnsup;
    }
  }

  uint32_t reply_to_meta(bool set, std::string_view data) {
    if (set) contexts = false;
    const auto name = string_in(data);
    if (!structured || !name || data.size() < 4 || name->find('\0') != std::string_view::npos)
      return kRepErrInvalid;
    uint64_t count = from_be<uint32_t>(data);
    data.remove_prefix(4);
    bool allocation = false;
    uint32_t first_bad = valid(*name) ? 0 : kRepErrTooBig;
    for (; count > 0; --count) {
      const auto query = string_in(data);
      if (!query) return kRepErrInvalid;
      allocation |= *query == "base:allocation";
      if (first_bad == 0 && query->size() > 4096) first_bad = kRepErrTooBig;
      if (first_bad == 0 && query->find(':') == std::string_view::npos) first_bad = kRepErrInvalid;
    }
    if (!data.empty()) return kRepErrInvalid;
    if (first_bad != 0) return first_bad;
    if (!exports_.find(*name)) return kRepErrUnknown;
    if (set) {
      contexts = allocation;
      contexts_of_ = *name;
    }
    return kRepAck;
  }

  static std::optional<std::string_view> string_in(std::string_view& data) {
    if (data.size() < 4) return std::nullopt;
    const auto length = from_be<uint32_t>(data);
    if (data.size() - 4 < length) return std::nullopt;
    const std::string_view text = data.substr(4, length);
    data.remove_prefix(4 + length);
    return text;
  }

  void read_requests() {
    MemoryDisk disk(exported->size_bytes);
    while (const auto header = take(28)) {
      if (!header->starts_with("\x25\x60\x95\x13")) return finish(End::broken);
      RequestExpected request;
      request.flags = from_be<uint16_t>(header->substr(4));
      request.type = from_be<uint16_t>(header->substr(6));
      request.offset = from_be<uint64_t>(header->substr(16));
      request.length = from_be<uint32_t>(header->substr(24));
      request.cookie = requests.size() + 1;
      bytes_.replace(at_ - 20, 8, be(request.cookie));
      if (request.type == kDisc) return finish(End::disconnected);
      std::string_view payload;
      if (request.type == kWrite) {
        const auto found = take(request.length);
        if (!found) return;
        payload = *found;
      }
      request.error = refusal_of(request);
      request.op = request.error == 0 && (request.length > 0 || request.type == kFlush);
      if (request.op) carry_out(disk, request, payload);
      requests.push_back(std::move(request));
    }
  }

  uint32_t refusal_of(const RequestExpected& request) const {
    constexpr uint32_t kLongest = 32 << 20;
    const bool writes = request.type == kWrite || request.type == kTrim || request.type == kWriteZeroes;
    uint16_t allowed = kFua;
    if (request.type == kRead && structured) allowed |= kDf;
    if (request.type == kWriteZeroes) allowed |= kNoHole | kFastZero;
    if (request.type == kBlockStatus) allowed |= kReqOne;
    if (request.type > kBlockStatus || (request.flags & ~allowed) != 0) return kEinval;
    if (writes && exported->read_only) return kEperm;
    if (request.type == kFlush) return request.offset == 0 && request.length == 0 ? 0 : kEinval;
    if (request.type == kBlockStatus && (!contexts || request.length == 0)) return kEinval;
    if (request.offset > exported->size_bytes || exported->size_bytes - request.offset < request.length)
      return request.type == kWrite || request.type == kWriteZeroes ? kEnospc : kEinval;
    if (request.type == kRead && request.length > kLongest) return structured ? kEoverflow : kEinval;
    if (request.type == kWrite && request.length > kLongest) return kEinval;
    return 0;
  }

  void carry_out(MemoryDisk& disk, RequestExpected& request, std::string_view payload) {
    const int error = error_of_op_(ops++);
    request.error = static_cast<uint32_t>(error);  // the errnos used here are the protocol's own
    if (error != 0) return;
    if (request.type == kWrite) disk.write(request.offset, payload);
    if (request.type == kTrim || request.type == kWriteZeroes) disk.zero(request.offset, request.length);
    if (request.type == kRead || request.type == kBlockStatus)
      request.pieces = disk.pieces(request.offset, request.length);
  }

  std::string& bytes_;
  MemoryExports& exports_;
  const std::function<int(size_t)>& error_of_op_;
  size_t at_ = 0;
  std::string contexts_of_;
};

/// Reads all that a server has sent and throws unless it is well-formed and answers each request of the client exactly
/// once (at most once if `may_miss`).
class ServerStream {
 public:
  ServerStream(std::string_view bytes, const ClientStream& client, bool may_miss)
      : rest_(bytes), client_(client) {
    demand(take(18) == greeting(), "the greeting is wrong");
    read_options();
    if (client.exported) {
      for (const auto& request : client.requests) open_.emplace(request.cookie, Open{&request, {}, {}});
      while (!rest_.empty()) read_reply();
    }
    demand(rest_.empty(), "bytes are left behind the last reply");
    demand(may_miss || open_.empty(), "a request was not answered");
  }

 private:
  struct Open {
    const ClientStream::RequestExpected* request;
    std::map<uint64_t, uint64_t> content;  // offset → end
    std::vector<bool> status;              // one element if a status chunk came
  };

  std::string_view take(size_t count) {
    demand(count <= rest_.size(), "a message is cut short");
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  template <class Integer>
  Integer number() {
    return from_be<Integer>(take(sizeof(Integer)));
  }

  void read_options() {
    for (const ClientStream::OptionExpected& option : client_.options) {
      for (bool last = false; !last;) {
        demand(number<uint64_t>() == 0x3e889045565a9, "an option reply has another magic");
        demand(number<uint32_t>() == option.type, "a reply to another option");
        const auto reply = number<uint32_t>();
        const auto data = take(number<uint32_t>());
        last = reply == kRepAck || reply >= 0x80000000;
        demand(!last || reply == option.last_reply,
               "an option has another outcome: " + std::to_string(reply));
        demand(data.size() <= 2 * 4096 + 4, "an option reply is too long");
        demand(reply != kRepAck || data.empty(), "an acknowledgement has data");
        const bool fits = (reply == kRepServer && option.type == kOptList) ||
                          (reply == kRepInfo && (option.type == kOptInfo || option.type == kOptGo)) ||
                          (reply == kRepMetaContext && option.type >= kOptListMetaContext);
        demand(last || fits, "a reply does not belong to its option");
      }
    }
    if (client_.by_export_name && client_.exported) {
      demand(number<uint64_t>() == client_.exported->size_bytes, "the size is wrong");
      demand((number<uint16_t>() & 3) == (client_.exported->read_only ? 3 : 1), "the flags are wrong");
      if (!client_.no_zeroes) demand(take(124) == std::string(124, '\0'), "the zeroes are missing");
    }
  }

  Open& open(uint64_t cookie) {
    const auto found = open_.find(cookie);
    demand(found != open_.end(), "a reply to no request, or a second one");
    return found->second;
  }

  void read_reply() {
    const auto magic = number<uint32_t>();
    if (magic == 0x67446698) return read_simple();
    demand(magic == 0x668e33ef, "a reply has another magic");
    demand(client_.structured, "a structured reply that nobody asked for");
    read_chunk();
  }

  void read_simple() {
    const auto error = number<uint32_t>();
    const auto cookie = number<uint64_t>();
    const ClientStream::RequestExpected& request = *open(cookie).request;
    demand(error == request.error, "the error is " + std::to_string(error));
    demand(!client_.structured || (request.type != kRead && error == 0), "a simple reply where none may be");
    demand(request.type != kBlockStatus || error != 0, "a status without extents");
    if (request.type == kRead && error == 0) compare(request, request.offset, take(request.length));
    open_.erase(cookie);
  }

  void read_chunk() {
    const auto flags = number<uint16_t>();
    const auto type = number<uint16_t>();
    const auto cookie = number<uint64_t>();
    const auto payload = take(number<uint32_t>());
    Open& open_request = open(cookie);
    const ClientStream::RequestExpected& request = *open_request.request;
    demand(flags <= 1, "an unknown reply flag");
    if (type == 0) {
      demand(payload.empty() && flags == 1 && request.error == 0, "a bad NONE chunk");
    } else if (type == 0x8001) {
      demand(payload.size() >= 6 && from_be<uint32_t>(payload) == request.error && request.error != 0,
             "a bad error");
      demand(from_be<uint16_t>(payload.substr(4)) == payload.size() - 6, "a bad error message");
      demand(flags == 1 && open_request.content.empty(), "an error is not the only chunk");
    } else if (type == 1 || type == 2) {
      demand(request.type == kRead && request.error == 0, "content for no read");
      read_content(open_request, type == 2, payload);
    } else {
      demand(type == 5 && request.type == kBlockStatus && request.error == 0, "an unexpected chunk");
      demand(open_request.status.empty(), "a second chunk for a context");
      open_request.status.push_back(true);
      read_status(request, payload);
    }
    if (flags != 1) return;
    if (request.error == 0 && request.type == kRead && request.length > 0) {
      demand(open_request.content.size() == 1 && open_request.content.begin()->first == request.offset &&
                 open_request.content.begin()->second == request.offset + request.length,
             "a read is not covered by its chunks");
    }
    demand(request.error != 0 || request.type != kBlockStatus || !open_request.status.empty(),
           "no status chunk");
    open_.erase(cookie);
  }

  void read_content(Open& open_request, bool hole, std::string_view payload) {
    const ClientStream::RequestExpected& request = *open_request.request;
    demand(hole ? payload.size() == 12 : payload.size() >= 9, "a content chunk of a wrong size");
    const auto offset = from_be<uint64_t>(payload);
    const uint64_t bytes = hole ? from_be<uint32_t>(payload.substr(8)) : payload.size() - 8;
    const uint64_t end = offset + bytes;
    demand(bytes > 0 && offset >= request.offset && end >= offset && end <= request.offset + request.length,
           "content outside of its request");
    demand((request.flags & kDf) == 0 || open_request.content.empty(), "a read with DF has two chunks");
    if (hole) {
      uint64_t at = request.offset;
      for (const Piece& piece : request.pieces) {
        demand(piece.hole || at + piece.bytes <= offset || at >= end, "a hole where there is data");
        at += piece.bytes;
      }
    } else {
      compare(request, offset, payload.substr(8));
    }
    // Chunks come in order here, so that covered ranges grow into one.
    auto& content = open_request.content;
    demand(content.empty() || content.begin()->second == offset, "content overlaps or leaves a gap");
    if (content.empty()) {
      content[offset] = end;
    } else {
      content.begin()->second = end;
    }
  }

  static void compare(const ClientStream::RequestExpected& request, uint64_t offset, std::string_view data) {
    static const std::string zeroes(32 << 20, '\0');
    uint64_t at = request.offset;
    for (const Piece& piece : request.pieces) {
      const uint64_t begin = std::max(at, offset);
      const uint64_t end = std::min(at + piece.bytes, offset + data.size());
      if (begin < end) {
        const char* expected =
            piece.hole ? zeroes.data() : reinterpret_cast<const char*>(piece.data.data) + (begin - at);
        demand(std::memcmp(data.data() + (begin - offset), expected, end - begin) == 0,
               "a read has other bytes");
      }
      at += piece.bytes;
    }
  }

  static void read_status(const ClientStream::RequestExpected& request, std::string_view payload) {
    demand(payload.size() >= 12 && payload.size() % 8 == 4, "a status chunk of a wrong size");
    demand(from_be<uint32_t>(payload) == 1, "a status for another context");
    payload.remove_prefix(4);
    demand((request.flags & kReqOne) == 0 || payload.size() == 8, "more than one extent");
    uint64_t covered = 0;
    size_t piece = 0;
    uint64_t piece_end = request.pieces.at(0).bytes;
    while (!payload.empty()) {
      demand(covered < request.length, "an extent begins behind the request");
      const uint64_t bytes = from_be<uint32_t>(payload);
      const auto status = from_be<uint32_t>(payload.substr(4));
      demand(bytes > 0 && covered + bytes <= request.length, "an extent of a wrong length");
      for (const uint64_t end = covered + bytes; covered < end;) {
        demand(status == (request.pieces[piece].hole ? 3u : 0u), "a status is wrong");
        covered = std::min(end, piece_end);
        if (covered == piece_end && ++piece < request.pieces.size()) piece_end += request.pieces[piece].bytes;
      }
      payload.remove_prefix(8);
    }
  }

  std::string_view rest_;
  const ClientStream& client_;
  std::map<uint64_t, Open> open_;
};

}  // namespace nbd_test
