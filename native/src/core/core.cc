#include "core/core.h"

#include <cerrno>

#include "core/commands.h"
#include "core/exports.h"
#include "core/io_queue.h"
#include "core/store.h"
#include "core/superblock_writer.h"

namespace cloudfs {

namespace {

enum class Phase : uint8_t { idle, formatting, starting, running, stopping, stopped, failed };

}  // namespace

struct Core::Impl final : SuperblockListener {
  explicit Impl(const CoreParams& given) : params(given), superblock(io) {}

  // SuperblockListener
  void on_superblock(int error) override;

  void fail(const char* code, const std::string& message);
  void begin_running(uint64_t start, uint64_t last_sequence);
  void take_inputs();

  CoreParams params;
  IoQueue io;
  Effects out;
  SuperblockWriter superblock;
  Commands commands;
  Exports exports;
  std::unique_ptr<Store> store;
  Phase phase = Phase::idle;

  std::vector<IoResult> results;
  std::vector<ClientOp> ops;
  std::vector<Command> waiting_commands;
  uint64_t now_ns = 0;
};

// --- Life ---------------------------------------------------------------------------------------------------------

Core::Core(const CoreParams& params) : impl_(std::make_unique<Impl>(params)) {}
Core::~Core() = default;

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

void Core::start(uint64_t now_ns) {
  Impl& impl = *impl_;
  ensure(impl.phase == Phase::idle, "a core lives once");
  impl.now_ns = now_ns;
  impl.phase = Phase::starting;
}

void Core::stop() {}

void Core::Impl::on_superblock(int error) {
  if (error != 0)
    return fail("ERR_STORE_IO", "the superblock cannot be written: errno " + std::to_string(error));
  if (phase == Phase::formatting) {
    store = std::make_unique<Store>(params, io, out, commands);
    begin_running(1, 0);
  }
}

void Core::Impl::begin_running(uint64_t start, uint64_t last_sequence) {
  const Superblock& block = superblock.current();
  store->appender.begin({block.store, block.host, block.generation}, start, last_sequence);
  phase = Phase::running;
  store->event("ready", "{}");
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
  if (store != nullptr && store->failed()) phase = Phase::failed;
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
    if (phase == Phase::running && target != nullptr) {
      store->submit(std::move(op), *target->volume, target->snapshot);
      continue;
    }
    Reply& reply = out.replies.emplace_back();
    reply.client = op.client;
    reply.request = op.request;
    reply.error = phase == Phase::failed ? EIO : phase != Phase::running ? ESHUTDOWN : EINVAL;
  }
}

// --- The turn -----------------------------------------------------------------------------------------------------

Effects Core::turn(uint64_t now_ns) {
  Impl& impl = *impl_;
  ensure(now_ns >= impl.now_ns, "time does not go back");
  impl.now_ns = now_ns;
  impl.take_inputs();
  if (impl.store != nullptr) impl.store->turn(now_ns);
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
  return impl.store == nullptr ? std::nullopt : impl.store->next_deadline_ns();
}

uint32_t Core::segment_log2() const {
  return impl_->params.segment_log2;
}

// --- Exports ------------------------------------------------------------------------------------------------------

std::optional<Export> Core::open_export(std::string_view name) {
  Impl& impl = *impl_;
  if (impl.phase != Phase::running) return std::nullopt;
  return impl.exports.open(*impl.store, name);
}

std::vector<Export> Core::list_exports() const {
  return impl_->phase == Phase::running ? Exports::list(*impl_->store) : std::vector<Export>{};
}

void Core::close_export(uint64_t handle) {
  impl_->exports.close(handle);
}

std::string Core::open_refusal(std::string_view name) const {
  if (impl_->phase != Phase::running) return "not ready";
  const Exports::Found found = Exports::resolve(*impl_->store, name);
  return found.refusal == nullptr ? "" : found.refusal;
}

}  // namespace cloudfs
