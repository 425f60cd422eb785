#include "core/base/json_writer.h"

namespace cloudfs {

void JsonWriter::string(std::string_view name, std::string_view value) {
  key(name);
  quote(value);
}

void JsonWriter::key(std::string_view name) {
  if (!first_) text_ += ',';
  first_ = false;
  if (name.empty()) return;
  quote(name);
  text_ += ':';
}

void JsonWriter::quote(std::string_view value) {
  text_ += '"';
  for (const char character : value) {
    switch (character) {
      case '"':
        text_ += "\\\"";
        break;
      case '\\':
        text_ += "\\\\";
        break;
      case '\b':
        text_ += "\\b";
        break;
      case '\f':
        text_ += "\\f";
        break;
      case '\n':
        text_ += "\\n";
        break;
      case '\r':
        text_ += "\\r";
        break;
      case '\t':
        text_ += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(character) >= 0x20) {
          text_ += character;
        } else {
          const auto byte = static_cast<uint8_t>(character);
          text_ += "\\u00" + to_hex(ByteSpan(&byte, 1));
        }
    }
  }
  text_ += '"';
}

}  // namespace cloudfs
