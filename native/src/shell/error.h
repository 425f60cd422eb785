// What went wrong when a store or a socket was opened. The data path uses plain errno values instead.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>

namespace cloudfs::shell {

/// `code` is one of docs/errors.md; `error` and `syscall` name the cause, 0 and empty if there was none.
class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message) : runtime_error(message), code_(std::move(code)) {}
  Error(std::string code, const std::string& message, int error, std::string syscall)
      : runtime_error(message + ": " + std::strerror(error)),
        code_(std::move(code)),
        syscall_(std::move(syscall)),
        error_(error) {}

  const std::string& code() const { return code_; }
  const std::string& syscall() const { return syscall_; }
  int error() const { return error_; }

 private:
  std::string code_;
  std::string syscall_;
  int error_ = 0;
};

}  // namespace cloudfs::shell
