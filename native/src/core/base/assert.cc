#include "core/base/assert.h"

#include <cstdlib>

namespace cloudfs {

namespace {

AssertionHandler handler_of_process = nullptr;

}  // namespace

void set_assertion_handler(AssertionHandler handler) {
  handler_of_process = handler;
}

void assertion_failed(const char* invariant, const std::source_location& where) {
  if (handler_of_process != nullptr) handler_of_process(invariant, where);
  std::abort();
}

}  // namespace cloudfs
