// JSON text as JSON.stringify writes it: no white space, keys in the order they are given.
#pragma once

#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/hex.h"

namespace cloudfs {

class JsonWriter {
 public:
  // Containers. A name is given inside an object and left out inside an array and at the top.
  void object(std::string_view name = {}) { open(name, '{'); }
  void array(std::string_view name = {}) { open(name, '['); }
  void end_object() { close('}'); }
  void end_array() { close(']'); }

  void number(std::string_view name, uint64_t value) {
    key(name);
    text_ += std::to_string(value);
  }
  /// 64 bits as a string: more than a JSON number holds everywhere.
  void decimal(std::string_view name, uint64_t value) { string(name, std::to_string(value)); }
  void hex(std::string_view name, ByteSpan bytes) { string(name, to_hex(bytes)); }
  /// `value` is UTF-8.
  void string(std::string_view name, std::string_view value);

  std::string take() { return std::move(text_); }

 private:
  void open(std::string_view name, char bracket) {
    key(name);
    text_ += bracket;
    first_ = true;
  }
  void close(char bracket) {
    text_ += bracket;
    first_ = false;
  }
  void key(std::string_view name);
  void quote(std::string_view value);

  std::string text_;
  bool first_ = true;
};

}  // namespace cloudfs
