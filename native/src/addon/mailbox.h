// Work that other threads hand to JavaScript's.
#pragma once

#include <napi.h>

#include <functional>

namespace cloudfs::addon {

/// Keeps the process alive until close(). Letters are opened in the order in which they were sent.
class Mailbox {
 public:
  using Letter = std::function<void(Napi::Env)>;

  explicit Mailbox(Napi::Env env);
  ~Mailbox() { close(); }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  /// From any thread, before close().
  void send(Letter letter);
  /// On JavaScript's thread, when nobody sends any more. Letters that are under way are still opened.
  void close();

 private:
  static void open(Napi::Env env, Napi::Function, std::nullptr_t*, Letter* letter);
  using Function = Napi::TypedThreadSafeFunction<std::nullptr_t, Letter, open>;
  Function function_;
  bool closed_ = false;
};

}  // namespace cloudfs::addon
