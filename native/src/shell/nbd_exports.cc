#include "shell/nbd_exports.h"

namespace cloudfs::shell {

std::string NbdExports::core_name(std::string_view name) const {
  if (volume_.empty()) return std::string(name);
  if (name.empty()) return volume_;
  if (name.starts_with('@')) return volume_ + std::string(name);
  const bool shown =
      name.starts_with(volume_) && (name.size() == volume_.size() || name[volume_.size()] == '@');
  return shown ? std::string(name) : std::string();
}

std::optional<Export> NbdExports::find(std::string_view name) {
  auto found = open(name);
  if (found) core_.close_export(found->handle);
  return found;
}

std::vector<Export> NbdExports::list() {
  if (volume_.empty()) return core_.list_exports();
  // One volume: its default export is all that a client needs to be told of.
  const auto found = find("");
  return found ? std::vector<Export>{*found} : std::vector<Export>{};
}

std::optional<Export> NbdExports::open(std::string_view name) {
  const std::string asked = core_name(name);
  if (asked.empty()) return std::nullopt;
  auto opened = core_.open_export(asked);
  // A name of its own would be ambiguous here as elsewhere, and is not one that open() takes.
  if (opened && !volume_.empty()) opened->name = asked;
  return opened;
}

void NbdExports::close(uint64_t handle) {
  core_.close_export(handle);
}

std::string NbdExports::refusal(std::string_view name) {
  const std::string asked = core_name(name);
  if (!asked.empty()) return core_.open_refusal(asked);
  return volume_.empty() ? "name an export: there is no default one here"
                         : "only " + volume_ + " is served here";
}

}  // namespace cloudfs::shell
