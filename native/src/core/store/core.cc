#include "core/store/core.h"

#include <algorithm>
#include <cerrno>

#include "core/base/io_queue.h"
#include "core/log/superblock_writer.h"
#include "core/store/commands.h"
#include "core/store/exports.h"
#include "core/store/recovery.h"
#include "core/store/store.h"

namespace cloudfs {

namespace {

enum class Phase : uint8_t { idle, formatting, starting, running, stopping, stopped, failed };

}  // namespace

struct Core::Impl final : SuperblockListener, RecoveryListener, IoOwner {
  explicit Impl(const CoreParams& given) : params(given), superblock(io) {}

  // SuperblockListener: of format
  void on_superblock(int error) override;
  // IoOwner: the superblock being read
  void on_io(uint64_t cookie, int error) override;
  // RecoveryListener
  void on_recovered(uint64_t start, uint64_t last_sequence) override;
  void on_recovery_failed(const char* code, const std::string& message) override { fail(code, message); }

  bool failed() const { return phase == Phase::failed || (store != nullptr && store->failed()); }
  void fail(const char* code, const std::string& message);
  void run_store(uint64_t start, uint64_t last_sequence);
  void take_inputs();
  void begin_boot(bool clean);
  void mind_boot();
  void run();
  void mind_stop();

  CoreParams params;
  IoQueue io;
  Effects out;
  SuperblockWriter superblock;
  Commands commands;
  Exports exports;
  std::unique_ptr<Store> store;
  std::unique_ptr<Recovery> recovery;
  BufferRef region;  // the superblock's
  Phase phase = Phase::idle;
  // What a stop waits for: one internal command at a time.
  enum class Marker : uint8_t { none, checkpointing, writing };
  Marker marker = Marker::none;
  bool recovery_done = false;
  bool stop_wanted = false;
  // R1, before the store answers anybody: replicas marked, then the boot noted, each synced.
  enum class Boot : uint8_t { none, marking, noting };
  Boot boot = Boot::none;
  bool boot_noted = true;
  bool was_clean = true;

  std::vector<IoResult> results;
  std::vector<ClientOp> ops;
  std::vector<Command> waiting_commands;
  uint64_t now_ns = 0;
};

// --- Life ---------------------------------------------------------------------------------------------------------

Core::Core(const CoreParams& params) : impl_(std::make_unique<Impl>(params)) {}
Core::~Core() {
  impl_->io.close();
}

void Core::format(const StoreIdentity& identity, uint64_t now_ns) {
  Impl& impl = *impl_;
  ensure(impl.phase == Phase::idle, "a core lives once");
  impl.now_ns = now_ns;
  Superblock superblock;
  superblock.segment_log2 = impl.params.segment_log2;
  superblock.store = identity.store;
  superblock.host = identity.host;
  superblock.generation = identity.generation;
  superblock.segment_limit = impl.params.segment_limit;
  impl.phase = Phase::formatting;
  impl.superblock.format(superblock, impl);
}

void Core::Impl::on_superblock(int error) {
  if (error != 0)
    return fail("ERR_STORE_IO", "the superblock cannot be written: errno " + std::to_string(error));
  store = std::make_unique<Store>(params, io, superblock, out, commands);
  run_store(1, 0);
  begin_boot(true);
}

void Core::start(uint64_t now_ns) {
  Impl& impl = *impl_;
  ensure(impl.phase == Phase::idle, "a core lives once");
  impl.now_ns = now_ns;
  impl.phase = Phase::starting;
  impl.region = BufferRef(2 * kSuperblockBytes);
  impl.io.read(impl, 0, kSuperblockRegion, 0, 2 * kSuperblockBytes, impl.region);
}

void Core::Impl::on_io(uint64_t, int error) {
  if (error != 0)
    return fail("ERR_STORE_IO", "the superblock cannot be read: errno " + std::to_string(error));
  std::optional<Superblock> best;
  uint32_t best_copy = 0;
  for (uint32_t copy = 0; copy < 2; ++copy) {
    const Result<Superblock> found =
        decode_superblock({region.data() + copy * kSuperblockBytes, kSuperblockBytes});
    // Though the other copy is of this version: what a later program wrote is not to be undone.
    if (!found.ok() && found.error().code == ErrorCode::store_version)
      return fail("ERR_STORE_VERSION", "the store is of a later format version");
    if (!found.ok() || (best && best->sequence > found->sequence)) continue;
    best = *found;
    best_copy = copy;
  }
  if (!best) return fail("ERR_STORE_CORRUPT", "neither copy of the superblock is valid");
  superblock.adopt(*best, best_copy);
  params.segment_log2 = best->segment_log2;
  params.segment_limit = best->segment_limit;
  store = std::make_unique<Store>(params, io, superblock, out, commands);
  recovery = std::make_unique<Recovery>(*store, superblock, *this);
  recovery->begin();
}

void Core::Impl::on_recovered(uint64_t start, uint64_t last_sequence) {
  run_store(start, last_sequence);
  // The mark of a clean stop names the start that stopped; by now this start is another, so it counts once.
  const LocalValue* stopped = store->locals.find({}, LocalKind::stopped);
  const bool clean = stopped != nullptr && stopped->bytes[0] == 1 && stopped->epoch.counter == start - 1;
  recovery_done = true;
  begin_boot(clean);
}

void Core::Impl::begin_boot(bool clean) {
  was_clean = clean;
  store->restore_recovering();
  const LocalValue* noted = store->locals.find({}, LocalKind::boot);
  if (!params.elections ||
      (noted != nullptr && std::equal(noted->bytes.begin(), noted->bytes.end(), params.boot_id.begin())))
    return run();
  phase = Phase::starting;
  boot = Boot::marking;
  // What a clean stop leaves is synced.
  if (!clean && !store->volumes().empty() && params.plant != Plant::boot_ignored)
    store->mark_recovering(commands.internal());
}

void Core::Impl::mind_boot() {
  if (boot == Boot::none || failed() || commands.internal_busy()) return;
  if (commands.internal_failed()) {
    // There was no room. The boot is not noted then, so the next start of this boot marks again: no stop of this one is
    // clean.
    boot = Boot::none;
    boot_noted = false;
    return run();
  }
  if (boot == Boot::marking) {
    boot = Boot::noting;
    store->put_local({}, {}, LocalKind::boot, {params.boot_id.begin(), params.boot_id.end()},
                     commands.internal());
    // Appended in this turn: nothing else asks for another one.
    store->turn(now_ns);
  } else {
    boot = Boot::none;
    run();
  }
}

void Core::Impl::run() {
  phase = Phase::running;
  store->begin_replication();
  store->event("ready", was_clean ? "{\"clean\":true}" : "{\"clean\":false}");
}

void Core::Impl::run_store(uint64_t start, uint64_t last_sequence) {
  const Superblock& block = superblock.current();
  store->begin({block.store, block.host, block.generation}, start, last_sequence);
}

void Core::stop() {
  impl_->stop_wanted = true;
}

void Core::Impl::mind_stop() {
  if (!stop_wanted || phase == Phase::stopped) return;
  if (phase == Phase::idle || phase == Phase::failed) {
    phase = phase == Phase::idle ? Phase::stopped : phase;
    stop_wanted = false;
    out.events.push_back({"stopped", "{}"});
    return;
  }
  if (phase == Phase::running) phase = Phase::stopping;
  if (phase != Phase::stopping) return;
  if (marker == Marker::none) {
    if (!store->quiet()) return;
    marker = Marker::checkpointing;
    store->begin_checkpoint(commands.internal());
  } else if (marker == Marker::checkpointing && commands.internal_done() && boot_noted) {
    marker = Marker::writing;
    store->put_local({}, {superblock.current().starts, {}}, LocalKind::stopped, {1}, commands.internal());
    // Appended in this turn: nothing else asks for another one.
    store->turn(now_ns);
  } else if (marker != Marker::none && commands.internal_done()) {
    phase = Phase::stopped;
    store->event("stopped", "{}");
  }
}

void Core::Impl::fail(const char* code, const std::string& message) {
  if (store != nullptr) {
    store->fail(code, message);
  } else if (phase != Phase::failed) {
    out.events.push_back(
        {"store-failed", std::string("{\"code\":\"") + code + "\",\"message\":" + json_text(message) + "}"});
  }
  phase = Phase::failed;
}

// --- Inputs -------------------------------------------------------------------------------------------------------

void Core::complete(const IoResult& result) {
  impl_->results.push_back(result);
}

void Core::submit(ClientOp op) {
  impl_->ops.push_back(std::move(op));
}

void Core::command(Command command) {
  impl_->waiting_commands.push_back(std::move(command));
}

void Core::Impl::take_inputs() {
  for (const IoResult& result : std::exchange(results, {})) io.complete(result);
  if (failed()) phase = Phase::failed;
  for (const Command& command : std::exchange(waiting_commands, {})) {
    if (phase == Phase::running) {
      commands.run(*store, exports, command);
    } else if (phase == Phase::failed) {
      commands.refuse(command, "ERR_STORE_FAILED", "the store stopped");
    } else {
      commands.refuse(command, "ERR_NOT_READY", "the store is not ready");
    }
  }
  for (ClientOp& op : std::exchange(ops, {})) {
    const Exports::Target* target = exports.find(op.target);
    // A volume of a store that failed answers for itself.
    const bool is_open = phase == Phase::running || phase == Phase::failed;
    if (is_open && target != nullptr && !Exports::is_over(*target)) {
      op.session = target->session;
      if (target->connection == 0) op.sequence = 0;
      store->submit(std::move(op), *target->volume, target->snapshot, target->connection);
      continue;
    }
    Reply& reply = out.replies.emplace_back();
    reply.client = op.client;
    reply.request = op.request;
    reply.error = phase == Phase::failed    ? EIO
                  : phase != Phase::running ? ESHUTDOWN
                  : target == nullptr       ? EINVAL
                                            : kUnanswered;
  }
}

// --- The turn -----------------------------------------------------------------------------------------------------

Effects Core::turn(uint64_t now_ns) {
  Impl& impl = *impl_;
  ensure(now_ns >= impl.now_ns, "time does not go back");
  impl.now_ns = now_ns;
  if (impl.store != nullptr) impl.store->set_now(now_ns);
  impl.take_inputs();
  if (impl.recovery_done) impl.recovery.reset();
  if (impl.recovery != nullptr && !impl.failed()) {
    impl.store->recovery_turn(now_ns);
    impl.recovery->step();
  } else if (impl.store != nullptr && impl.phase != Phase::stopped) {
    impl.store->turn(now_ns);
  }
  if (impl.failed()) impl.phase = Phase::failed;
  impl.mind_boot();
  impl.mind_stop();
  Effects out = std::exchange(impl.out, {});
  out.io = impl.io.take();
  return out;
}

std::vector<CommandReply> Core::take_command_replies() {
  return impl_->commands.take();
}

std::optional<uint64_t> Core::next_deadline_ns() const {
  const Impl& impl = *impl_;
  if (impl.io.pending() || !impl.out.empty()) return impl.now_ns;
  if ((impl.phase == Phase::stopping || impl.boot != Impl::Boot::none) && impl.commands.internal_done())
    return impl.now_ns;
  if (impl.phase == Phase::stopped) return std::nullopt;
  if (impl.recovery != nullptr && impl.recovery->eager() && !impl.failed()) return impl.now_ns;
  return impl.store == nullptr ? std::nullopt : impl.store->next_deadline_ns();
}

uint32_t Core::segment_log2() const {
  return impl_->params.segment_log2;
}

// --- Streams ------------------------------------------------------------------------------------------------------

uint64_t Core::open_stream(StreamRole role, const VolumeId& volume, std::string& refusal,
                           const std::optional<HostId>& host) {
  Impl& impl = *impl_;
  if (impl.phase != Phase::running) {
    refusal = "ERR_NOT_READY";
    return 0;
  }
  return role == StreamRole::leader ? impl.store->open_to_follower(volume, host, refusal)
                                    : impl.store->open_to_leader(volume, role == StreamRole::copy, refusal);
}

Epoch Core::promised(const VolumeId& volume) const {
  return impl_->phase == Phase::running ? impl_->store->promised(volume) : Epoch{};
}

bool Core::leads(const VolumeId& volume, const Epoch& epoch, LeadStage stage) const {
  if (impl_->phase != Phase::running) return false;
  const Volume* found = impl_->store->find(volume);
  const Leader* leader = found == nullptr ? nullptr : impl_->store->leader_of(*found);
  return leader != nullptr && leader->epoch() == epoch &&
         (stage == LeadStage::elected || leader->stage() == Leader::Stage::lead);
}

StreamRefusal Core::stream_refusal(uint64_t stream) const {
  return impl_->store == nullptr ? StreamRefusal{} : impl_->store->streams.refusal(stream);
}

ReceiveWindow Core::stream_receive_target(uint64_t stream) {
  if (impl_->store == nullptr) return {};
  const FrameChannel::Window window = impl_->store->streams.receive_target(stream);
  return {window.data, window.bytes};
}

void Core::stream_received(uint64_t stream, size_t bytes) {
  if (impl_->store != nullptr) impl_->store->streams.received(stream, bytes);
}

void Core::stream_sent(uint64_t stream, size_t bytes) {
  if (impl_->store != nullptr) impl_->store->streams.sent(stream, bytes);
}

void Core::stream_closed(uint64_t stream) {
  if (impl_->store != nullptr) impl_->store->streams.closed(stream);
}

// --- Exports ------------------------------------------------------------------------------------------------------

std::optional<Export> Core::open_export(std::string_view name, const SessionId& session) {
  Impl& impl = *impl_;
  if (impl.phase != Phase::running) return std::nullopt;
  return impl.exports.open(*impl.store, name, session);
}

void Core::session_seen(uint64_t handle, uint64_t sequence) {
  const Exports::Target* target = impl_->exports.find(handle);
  if (impl_->phase != Phase::running || target == nullptr || Exports::is_over(*target)) return;
  target->volume->session_seen(target->session, target->connection, sequence);
}

std::vector<Export> Core::list_exports() const {
  return impl_->phase == Phase::running ? Exports::list(*impl_->store) : std::vector<Export>{};
}

void Core::close_export(uint64_t handle) {
  impl_->exports.close(handle);
}

std::string Core::open_refusal(std::string_view name, const SessionId& session) const {
  if (impl_->phase != Phase::running) return "not ready";
  const Exports::Found found = Exports::resolve_export(*impl_->store, name, session);
  return found.refusal == nullptr ? "" : found.refusal;
}

}  // namespace cloudfs
