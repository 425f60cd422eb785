#include "addon/mailbox.h"

#include <memory>

namespace cloudfs::addon {

// No limit to the letters under way: they are replies, one for each command sent, and events, which are rare.
Mailbox::Mailbox(Napi::Env env) : function_(Function::New(env, "cloudfs", 0, 1)) {}

void Mailbox::send(Letter letter) {
  auto sent = std::make_unique<Letter>(std::move(letter));
  if (function_.NonBlockingCall(sent.get()) == napi_ok) sent.release();
}

void Mailbox::close() {
  if (closed_) return;
  closed_ = true;
  function_.Release();
}

void Mailbox::open(Napi::Env env, Napi::Function, std::nullptr_t*, Letter* letter) {
  const std::unique_ptr<Letter> owned(letter);
  if (env != nullptr) (*owned)(env);  // nullptr: the environment is going down
}

}  // namespace cloudfs::addon
