// The exports that the clients of one listener see: the core's, all of them or one volume's.
#pragma once

#include <string>

#include "core/store/core.h"
#include "nbd/export_source.h"

namespace cloudfs::shell {

class NbdExports final : public nbd::ExportSource {
 public:
  /// `volume` in hex; empty = all exports, and none by default.
  NbdExports(Core& core, std::string volume) : core_(core), volume_(std::move(volume)) {}

  std::optional<Export> find(std::string_view name) override;
  std::vector<Export> list() override;
  std::optional<Export> open(std::string_view name) override;
  void close(uint64_t handle) override;
  std::string refusal(std::string_view name) override;

 private:
  /// The core's name for what the client calls `name`; empty if this listener does not show it.
  std::string core_name(std::string_view name) const;

  Core& core_;
  const std::string volume_;
};

}  // namespace cloudfs::shell
