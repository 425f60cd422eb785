#include <doctest/doctest.h>

#include <string>

#include "nbd_peer.h"

using namespace nbd_test;

namespace {

constexpr uint16_t kHasFlags = 1, kReadOnly = 2, kSendFlush = 4, kSendFua = 8, kSendTrim = 32,
                   kSendWriteZeroes = 64, kSendDf = 128, kCanMultiConn = 256, kSendCache = 1024,
                   kSendFastZero = 2048;
constexpr uint16_t kAlways = kHasFlags | kSendFlush | kSendFua | kCanMultiConn | kSendCache;
constexpr uint16_t kWritable = kAlways | kSendTrim | kSendWriteZeroes | kSendFastZero;

std::string info_export(uint32_t type, uint64_t size, uint16_t flags) {
  return option_reply(type, kRepInfo, be(uint16_t{0}) + be(size) + be(flags));
}

// The type of the one reply in `bytes`.
uint32_t only_reply(const std::string& bytes) {
  REQUIRE(bytes.size() >= 20);
  REQUIRE(bytes.size() == 20 + from_be<uint32_t>(std::string_view(bytes).substr(16)));
  CHECK(from_be<uint64_t>(bytes) == 0x3e889045565a9);
  return from_be<uint32_t>(std::string_view(bytes).substr(12));
}

// A peer that has said hello; the greeting is read.
struct Negotiating : Peer {
  explicit Negotiating(uint32_t flags = 3) { feed(hello(flags)); }
};

}  // namespace

TEST_CASE("a connection greets with fixed newstyle and no-zeroes, before the client has said a word") {
  Peer peer;
  CHECK(peer.drain() == greeting());
  CHECK(peer.connection.in_handshake());
  CHECK(peer.connection.exported() == nullptr);
  CHECK_FALSE(peer.connection.wants_close());
}

TEST_CASE("an oldstyle client, and one with flags nobody offered, is cut off") {
  for (const std::string& first : {request(kRead, 1, 0, 512), be(4u), be(0x80000003u)}) {
    Peer peer;
    CHECK(peer.feed(first) == greeting());
    CHECK(peer.connection.wants_close());
    CHECK(peer.connection.receive_target().bytes == 0);
    peer.connection.disconnected();
    CHECK(peer.connection.finished());
  }
}

TEST_CASE("EXPORT_NAME is answered with size, flags and 124 zeroes, or without them if the client asks") {
  for (uint32_t flags : {0u, 1u, 2u, 3u}) {
    Negotiating peer(flags);
    const std::string zeroes((flags & 2) != 0 ? 0 : 124, '\0');
    CHECK(peer.feed(option(kOptExportName, "disk")) == be(kDiskBytes) + be(kWritable) + zeroes);
    CHECK_FALSE(peer.connection.in_handshake());
    REQUIRE(peer.connection.exported() != nullptr);
    CHECK(peer.connection.exported()->name == "disk");
    CHECK(peer.exports.opened == std::vector<uint64_t>{1});
  }
}

TEST_CASE("EXPORT_NAME of the empty name opens the default export, and structured replies count for it") {
  Negotiating peer;
  peer.feed(option(kOptStructuredReply));
  const uint16_t flags = kWritable | kSendDf;
  CHECK(peer.feed(option(kOptExportName)) == be(kDiskBytes) + be(flags));
}

TEST_CASE("EXPORT_NAME of what cannot be opened closes the connection, since it has no error reply") {
  const std::string nul("di\0sk", 5);
  for (const std::string& name :
       {std::string("nothing"), nul, std::string(4097, 'n'), std::string(70000, 'n')}) {
    Negotiating peer;
    CHECK(peer.feed(option(kOptExportName, name)) == "");
    CHECK(peer.connection.wants_close());
    CHECK(peer.exports.opened.empty());
  }
}

TEST_CASE("without fixed newstyle only EXPORT_NAME is understood") {
  Negotiating peer(2);
  CHECK(peer.feed(option(kOptList)) == "");
  CHECK(peer.connection.wants_close());
}

TEST_CASE("ABORT is acknowledged, with data or without, and closes when the acknowledgement is sent") {
  for (size_t bytes : {0u, 5u, 70000u}) {
    Negotiating peer;
    std::vector<ClientOp> ops;
    const std::string abort = option(kOptAbort, std::string(bytes, 'x'));
    size_t fed = 0;
    while (fed < abort.size()) {
      const auto window = peer.connection.receive_target();
      const size_t part = std::min(window.bytes, abort.size() - fed);
      std::memcpy(window.data, abort.data() + fed, part);
      peer.connection.received(part);
      peer.connection.advance(ops);
      fed += part;
    }
    CHECK_FALSE(peer.connection.wants_close());
    CHECK(peer.send() == option_reply(kOptAbort, kRepAck));
    CHECK(peer.connection.wants_close());
  }
}

TEST_CASE("LIST shows each export with its description, and takes no data") {
  Negotiating peer;
  CHECK(peer.feed(option(kOptList)) ==
        option_reply(kOptList, kRepServer, sized("disk") + "a disk") +
            option_reply(kOptList, kRepServer, sized("disk@monday")) +
            option_reply(kOptList, kRepServer, sized("large") + "a large disk") +
            option_reply(kOptList, kRepAck));
  CHECK(only_reply(peer.feed(option(kOptList, "x"))) == kRepErrInvalid);
}

TEST_CASE("LIST leaves out a name too long for the protocol and says when there are too many exports") {
  Negotiating peer;
  peer.exports.exports.assign(2, {1, 512, false, std::string(4097, 'n'), ""});
  peer.exports.exports.push_back({2, 512, false, std::string(4096, 'n'), std::string(9000, 'd')});
  CHECK(peer.feed(option(kOptList)) ==
        option_reply(kOptList, kRepServer, sized(std::string(4096, 'n')) + std::string(4096, 'd')) +
            option_reply(kOptList, kRepAck));

  peer.exports.exports.assign(cloudfs::nbd::kExportsListedMax + 1, {1, 512, false, "n", ""});
  const std::string output = peer.feed(option(kOptList));
  const size_t one = option_reply(kOptList, kRepServer, sized("n")).size();
  CHECK(only_reply(output.substr(one * cloudfs::nbd::kExportsListedMax)) == kRepErrTooBig);
}

TEST_CASE("INFO tells what was asked for without opening; GO tells the same and opens") {
  for (uint32_t type : {kOptInfo, kOptGo}) {
    Negotiating peer;
    const std::string everything =
        info_export(type, kDiskBytes, kWritable) + option_reply(type, kRepInfo, be(uint16_t{1}) + "disk") +
        option_reply(type, kRepInfo, be(uint16_t{2}) + "a disk") +
        option_reply(type, kRepInfo, be(uint16_t{3}) + be(1u) + be(4096u) + be(32u << 20)) +
        option_reply(type, kRepAck);
    // An item the server does not know, and one that is there twice, are no harm.
    CHECK(peer.feed(option(type, info_data("", {0, 1, 2, 3, 77, 3}))) == everything);
    CHECK(peer.connection.in_handshake() == (type == kOptInfo));
    CHECK(peer.exports.opened.size() == (type == kOptGo ? 1 : 0));
  }
  Negotiating peer;
  CHECK(peer.feed(option(kOptInfo, info_data("disk", {}))) ==
        info_export(kOptInfo, kDiskBytes, kWritable) + option_reply(kOptInfo, kRepAck));
}

TEST_CASE("an export that is read-only says so and offers no command that writes") {
  Negotiating peer;
  CHECK(peer.feed(go("disk@monday", {2})) ==
        info_export(kOptGo, kDiskBytes, kAlways | kReadOnly) + option_reply(kOptGo, kRepAck));
}

TEST_CASE("DF is offered once structured replies are agreed on") {
  Negotiating peer;
  CHECK(peer.feed(option(kOptStructuredReply)) == option_reply(kOptStructuredReply, kRepAck));
  CHECK(peer.feed(go("disk")) ==
        info_export(kOptGo, kDiskBytes, kWritable | kSendDf) + option_reply(kOptGo, kRepAck));
}

TEST_CASE("INFO and GO of an unknown export give the reason, and the client may go on") {
  for (uint32_t type : {kOptInfo, kOptGo}) {
    Negotiating peer;
    CHECK(peer.feed(option(type, info_data("nothing", {}))) ==
          option_reply(type, kRepErrUnknown, "no export nothing"));
    CHECK(peer.feed(go("disk")).ends_with(option_reply(kOptGo, kRepAck)));
  }
}

TEST_CASE("a reason longer than a string may be is cut between characters") {
  Negotiating peer;
  std::string name;
  while (name.size() < 4090) name += "\xc3\xa9";  // "no export " and these would be cut within one of them
  const std::string output = peer.feed(go("x" + name));
  const std::string reason = "no export x" + name;
  CHECK(output == option_reply(kOptGo, kRepErrUnknown, std::string_view(reason).substr(0, 4095)));
}

TEST_CASE("malformed INFO and GO data is refused, and the next option is understood") {
  const std::string nul("di\0sk", 5);
  const std::vector<std::string> malformed = {
      "",
      "\0\0",
      be(4u) + "disk",                                     // no count
      be(4u) + "disk" + be(uint16_t{1}),                   // an item is missing
      be(4u) + "disk" + be(uint16_t{1}) + be(uint8_t{3}),  // half an item
      be(4u) + "disk" + be(uint16_t{0}) + "x",             // one byte too many
      be(4u) + "disk" + be(uint16_t{1}) + be(uint16_t{3}) + be(uint16_t{3}),
      be(5u) + "disk" + be(uint16_t{0}),
      be(0xffffffffu) + "disk" + be(uint16_t{0}),
      be(0xfffffffau) + "disk" + be(uint16_t{0}),
      be(4u) + "disk" + be(uint16_t{0xffff}),
      info_data(nul, {}),
  };
  for (uint32_t type : {kOptInfo, kOptGo}) {
    Negotiating peer;
    for (const std::string& data : malformed)
      CHECK(only_reply(peer.feed(option(type, data))) == kRepErrInvalid);
    CHECK(only_reply(peer.feed(option(type, info_data(std::string(4097, 'n'), {})))) == kRepErrTooBig);
    CHECK(peer.exports.opened.empty());
    CHECK(peer.feed(go("disk")).ends_with(option_reply(kOptGo, kRepAck)));
  }
}

TEST_CASE("options nobody implements here are refused by name or number") {
  Negotiating peer;
  for (uint32_t type : {kOptPeekExport, kOptStarttls, kOptExtendedHeaders, 0u, 12u, 0xffffffffu}) {
    const std::string output = peer.feed(option(type, type == 12 ? "data" : ""));
    CHECK(only_reply(output) == kRepErrUnsup);
    CHECK(from_be<uint32_t>(std::string_view(output).substr(8)) == type);
  }
}

TEST_CASE("STRUCTURED_REPLY takes no data, and may be repeated") {
  Negotiating peer;
  CHECK(only_reply(peer.feed(option(kOptStructuredReply, "x"))) == kRepErrInvalid);
  CHECK(peer.feed(go("disk")) == info_export(kOptGo, kDiskBytes, kWritable) + option_reply(kOptGo, kRepAck));
  Negotiating again;
  for (int i = 0; i < 2; ++i)
    CHECK(again.feed(option(kOptStructuredReply)) == option_reply(kOptStructuredReply, kRepAck));
}

TEST_CASE("metadata contexts need structured replies first") {
  for (uint32_t type : {kOptListMetaContext, kOptSetMetaContext}) {
    Negotiating peer;
    CHECK(only_reply(peer.feed(meta(type, "disk", {"base:allocation"}))) == kRepErrInvalid);
  }
}

TEST_CASE("LIST_META_CONTEXT shows base:allocation to those who ask for all, for base: or for it") {
  Negotiating peer;
  peer.feed(option(kOptStructuredReply));
  const std::string ack = option_reply(kOptListMetaContext, kRepAck);
  const std::string listed =
      option_reply(kOptListMetaContext, kRepMetaContext, be(0u) + "base:allocation") + ack;
  using Queries = std::vector<std::string>;
  for (const Queries& queries :
       {Queries{}, {"base:"}, {"base:allocation"}, {"x-y:z", "base:", "base:allocation"}})
    CHECK(peer.feed(meta(kOptListMetaContext, "disk", queries)) == listed);
  for (const Queries& queries : {Queries{"x-y:"}, {"base:nothing"}, {":"}, {"base:allocation "}})
    CHECK(peer.feed(meta(kOptListMetaContext, "disk", queries)) == ack);
}

TEST_CASE("SET_META_CONTEXT selects base:allocation once by its full name and nothing by a wildcard") {
  Negotiating peer;
  peer.feed(option(kOptStructuredReply));
  const std::string ack = option_reply(kOptSetMetaContext, kRepAck);
  CHECK(peer.feed(meta(kOptSetMetaContext, "disk", {"base:allocation", "x-y:z", "base:allocation"})) ==
        option_reply(kOptSetMetaContext, kRepMetaContext, be(1u) + "base:allocation") + ack);
  CHECK(peer.feed(meta(kOptSetMetaContext, "disk", {"base:"})) == ack);
  CHECK(peer.feed(meta(kOptSetMetaContext, "disk", {})) == ack);
}

TEST_CASE("malformed metadata queries are refused, unknown exports named") {
  for (uint32_t type : {kOptListMetaContext, kOptSetMetaContext}) {
    Negotiating peer;
    peer.feed(option(kOptStructuredReply));
    const std::vector<std::string> malformed = {
        "",
        sized("disk"),
        sized("disk") + be(1u),
        sized("disk") + be(0xffffffffu),
        sized("disk") + be(1u) + be(16u) + "base:allocation",
        sized("disk") + be(1u) + be(0xffffffffu) + "base:allocation",
        sized("disk") + be(0u) + "x",
        sized("disk") + be(1u) + sized("allocation"),  // no namespace
        be(0xffffffffu) + "disk" + be(0u),
    };
    for (const std::string& data : malformed)
      CHECK(only_reply(peer.feed(option(type, data))) == kRepErrInvalid);
    CHECK(only_reply(peer.feed(meta(type, std::string(4097, 'n'), {}))) == kRepErrTooBig);
    CHECK(only_reply(peer.feed(meta(type, "disk", {"x-y:" + std::string(4093, 'q')}))) == kRepErrTooBig);
    CHECK(peer.feed(meta(type, "nothing", {})) == option_reply(type, kRepErrUnknown, "no export nothing"));
  }
}

TEST_CASE(
    "contexts hold for the export they were selected for, until the next SET_META_CONTEXT, failed or not") {
  const std::string set = meta(kOptSetMetaContext, "disk", {"base:allocation"});
  const std::string status = request(kBlockStatus, 1, 0, 4096);
  const auto selected = [&](const std::string& between, const std::string& last) {
    Negotiating peer;
    peer.feed(option(kOptStructuredReply));
    peer.feed(set);
    peer.feed(between);
    peer.feed(last);
    REQUIRE_FALSE(peer.connection.in_handshake());
    peer.feed(status);
    return peer.ops.size() == 1;
  };
  CHECK(selected("", go("disk")));
  CHECK(selected("", option(kOptExportName, "disk")));
  CHECK(selected(go("nothing"), go("disk")));
  CHECK(selected(meta(kOptListMetaContext, "large", {}), go("disk")));
  CHECK_FALSE(selected("", go("large")));
  CHECK_FALSE(selected("", go("")));  // the same export by another name: the rule is about names
  CHECK_FALSE(selected(meta(kOptSetMetaContext, "disk", {}), go("disk")));
  CHECK_FALSE(selected(meta(kOptSetMetaContext, "nothing", {"base:allocation"}), go("disk")));
  CHECK_FALSE(selected(option(kOptSetMetaContext, "malformed"), go("disk")));
}

TEST_CASE("oversized option data is dropped as it arrives, refused, and the next option is understood") {
  Negotiating peer;
  CHECK(only_reply(peer.feed(option(77, std::string(65537, 'x')))) == kRepErrTooBig);
  CHECK(only_reply(peer.feed(option(77, std::string(65536, 'x')))) == kRepErrUnsup);
  // 3 GiB are announced; what has come is dropped, and no buffer of that size is asked for.
  peer.feed("IHAVEOPT" + be(kOptGo) + be(3u << 30));
  const std::string megabyte(1 << 20, 'x');
  for (int i = 0; i < 3 * 1024 - 1; ++i) REQUIRE(peer.feed(megabyte) == "");
  CHECK(peer.connection.bytes_in_flight() == 0);
  CHECK(only_reply(peer.feed(megabyte)) == kRepErrTooBig);
  CHECK(peer.feed(go("disk")).ends_with(option_reply(kOptGo, kRepAck)));
}

TEST_CASE("a client that never chooses an export is cut off after a number of options") {
  Negotiating peer;
  for (uint32_t i = 0; i < cloudfs::nbd::kOptionsMax; ++i) {
    REQUIRE_FALSE(peer.connection.wants_close());
    CHECK(only_reply(peer.feed(option(77))) == kRepErrUnsup);
  }
  CHECK(peer.feed(option(77)) == "");
  CHECK(peer.connection.wants_close());
}

TEST_CASE("bytes that are no option close the connection") {
  Negotiating peer;
  CHECK(peer.feed("IHAVEOPS" + be(kOptList) + be(0u)) == "");
  CHECK(peer.connection.wants_close());
}

TEST_CASE("a client that sends options without reading the replies is not served ahead of its reading") {
  Negotiating peer;
  peer.exports.exports.assign(1000, {1, 512, false, std::string(100, 'n'), ""});
  std::string options;
  for (int i = 0; i < 50; ++i) options += option(kOptList);
  const auto window = peer.connection.receive_target();
  REQUIRE(window.bytes >= options.size());
  std::memcpy(window.data, options.data(), options.size());
  peer.connection.received(options.size());
  std::vector<ClientOp> ops;
  peer.connection.advance(ops);
  const size_t one_list = 1000 * (20 + 4 + 100) + 20;
  CHECK(peer.connection.bytes_in_flight() == one_list);
  CHECK(peer.connection.receive_target().bytes == 0);
  CHECK_FALSE(peer.connection.can_advance());
  CHECK(peer.send().size() == one_list);
  CHECK(peer.connection.can_advance());
  CHECK(peer.drain().size() == 49 * one_list);
}

TEST_CASE("a server that shuts down refuses options and closes") {
  Negotiating peer;
  peer.connection.shut_down();
  const std::string list = option(kOptList) + go("disk");
  const auto window = peer.connection.receive_target();
  CHECK(window.bytes == 0);  // advance() is due
  CHECK(peer.drain() == "");
  CHECK(peer.connection.wants_close());

  Negotiating late;
  const auto room = late.connection.receive_target();
  std::memcpy(room.data, list.data(), list.size());
  late.connection.received(list.size());
  late.connection.shut_down();
  const std::string reason = "the server is shutting down";
  CHECK(late.drain() ==
        option_reply(kOptList, kRepErrShutdown, reason) + option_reply(kOptGo, kRepErrShutdown, reason));
  CHECK(late.connection.wants_close());
  CHECK(late.exports.opened.empty());
}

TEST_CASE("a handshake means the same however its bytes are cut") {
  const std::string handshake = hello() + option(kOptStructuredReply) + option(kOptList) +
                                option(kOptInfo, info_data("large", {1, 2, 3})) + option(77, "some data") +
                                option(kOptGo, "malformed") + go("nothing") +
                                meta(kOptListMetaContext, "disk", {}) +
                                meta(kOptSetMetaContext, "disk", {"base:allocation"}) + go("disk", {3});
  Peer whole;
  const std::string expected = whole.feed(handshake);
  REQUIRE_FALSE(whole.connection.in_handshake());
  for (size_t cut = 1; cut < handshake.size(); ++cut) {
    Peer halves;
    std::string output = halves.feed(handshake.substr(0, cut));
    output += halves.feed(handshake.substr(cut));
    REQUIRE(output == expected);
    REQUIRE_FALSE(halves.connection.in_handshake());
    Peer pieces;
    REQUIRE(pieces.feed(handshake, cut) == expected);
  }
}
