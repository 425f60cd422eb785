#include "core/store/exports.h"

#include "core/base/hex.h"

namespace cloudfs {

namespace {

constexpr std::string_view kReplicaPrefix = "replica:";

Export describe(const Store& store, const Exports::Target& target) {
  const Volume& volume = *target.volume;
  Export out;
  out.name = volume.name().empty() ? to_hex(volume.id()) : volume.name();
  out.description = "volume " + to_hex(volume.id());
  out.record_bytes_max = store.appender.record_blocks_max() * kBlockBytes;
  if (target.snapshot == 0) {
    out.size_bytes = volume.made().size_bytes;
    out.read_only = !volume.writable();
    if (out.read_only) out.description = "replica of " + out.description;
  } else {
    const VersionNode* node = store.lineage.find(target.snapshot);
    out.size_bytes = node->map.blocks() * kBlockBytes;
    out.read_only = true;
    out.name += "@" + node->name;
    out.description = "snapshot " + node->name + " of " + out.description;
  }
  return out;
}

Exports::Found find_volume(const Store& store, std::string_view name) {
  if (const auto id = parse_id<VolumeId>(name)) {
    Volume* volume = store.find(*id);
    if (volume != nullptr && !volume->deleted() && volume->established()) return {{volume, 0}, nullptr};
  }
  Volume* found = nullptr;
  for (const auto& volume : store.volumes()) {
    if (volume->deleted() || !volume->established() || volume->name() != name) continue;
    if (found != nullptr) return {{}, "ambiguous"};
    found = volume.get();
  }
  if (found == nullptr || name.empty()) return {{}, "unknown"};
  return {{found, 0}, nullptr};
}

}  // namespace

Exports::Found Exports::resolve(const Store& store, std::string_view name) {
  Found found = find_volume(store, name);
  const size_t at = name.rfind('@');
  if (found.target.volume != nullptr || at == std::string_view::npos) return found;
  found = find_volume(store, name.substr(0, at));
  if (found.target.volume == nullptr) return found;
  found.target.snapshot = found.target.volume->find_snapshot(name.substr(at + 1));
  if (found.target.snapshot == 0) return {{}, "unknown"};
  return found;
}

Exports::Found Exports::resolve_export(const Store& store, std::string_view name, const SessionId& session) {
  Found found = resolve(store, name);
  // There is nothing to read, neither of the volume nor of its snapshots.
  const auto refuse_witness = [](const Found& one) {
    return one.target.volume != nullptr && one.target.volume->is_witness() ? Found{{}, "witness"} : one;
  };
  if (found.target.volume == nullptr && name.starts_with(kReplicaPrefix)) {
    found = resolve(store, name.substr(kReplicaPrefix.size()));
    // A replica is what was asked for: not the volume itself, nor one of its snapshots.
    if (found.target.volume == nullptr) return found;
    if (found.target.volume->writable() || found.target.snapshot != 0) return {{}, "unknown"};
    return refuse_witness(found);
  }
  // What is read of a replica may be older than what was acknowledged.
  if (found.target.volume != nullptr && found.target.snapshot == 0 && !found.target.volume->writable())
    return {{}, "not primary"};
  found = refuse_witness(found);
  if (session != SessionId{} && found.target.volume != nullptr &&
      (found.target.snapshot != 0 || !found.target.volume->made().is_attached(session)))
    return {{}, "session ended"};
  return found;
}

std::optional<Export> Exports::open(const Store& store, std::string_view name, const SessionId& session) {
  Found found = resolve_export(store, name, session);
  if (found.target.volume == nullptr) return std::nullopt;
  found.target.role = found.target.volume->role();
  if (session != SessionId{}) {
    found.target.session = session;
    found.target.connection = found.target.volume->open_session(session).value();
  }
  Export out = describe(store, found.target);
  out.handle = next_handle_++;
  targets_.insert(out.handle, found.target);
  return out;
}

std::vector<Export> Exports::list(const Store& store) {
  std::vector<Export> out;
  for (const auto& volume : store.volumes())
    if (!volume->deleted() && volume->established() && volume->writable())
      out.push_back(describe(store, {volume.get(), 0}));
  for (const auto& [id, node] : store.lineage.nodes()) {
    if (node.kind != NodeKind::named) continue;
    Volume* volume = store.find(node.volume);
    if (volume != nullptr && !volume->deleted() && !volume->is_witness())
      out.push_back(describe(store, {volume, id}));
  }
  return out;
}

void Exports::close(uint64_t handle) {
  if (targets_.find(handle) != nullptr) targets_.erase(handle);
}

bool Exports::is_open(const Volume& volume) const {
  bool open = false;
  targets_.each([&](uint64_t, const Target& target) { open |= target.volume == &volume; });
  return open;
}

}  // namespace cloudfs
