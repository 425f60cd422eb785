#include "core/base/io_queue.h"

#include "core/base/assert.h"

namespace cloudfs {

IoEffect& IoQueue::issue(IoEffect::Kind kind, IoOwner& owner, uint64_t cookie) {
  if (vacant_.empty()) {
    vacant_.push_back(static_cast<uint32_t>(waiters_.size()));
    waiters_.emplace_back();
  }
  const uint32_t index = vacant_.back();
  vacant_.pop_back();
  Waiter& waiter = waiters_[index];
  waiter.owner = &owner;
  waiter.cookie = cookie;
  ++waiter.uses;
  ++in_flight_;
  IoEffect& effect = effects_.emplace_back();
  effect.kind = kind;
  effect.id = uint64_t{waiter.uses} << 32 | index;
  return effect;
}

void IoQueue::write(IoOwner& owner, uint64_t cookie, uint32_t physical, uint64_t offset,
                    std::vector<Slice>&& slices) {
  IoEffect& effect = issue(IoEffect::Kind::write, owner, cookie);
  effect.physical = physical;
  effect.offset = offset;
  effect.slices = std::move(slices);
}

void IoQueue::sync(IoOwner& owner, uint64_t cookie, std::vector<uint32_t>&& physicals) {
  issue(IoEffect::Kind::sync, owner, cookie).physicals = std::move(physicals);
}

void IoQueue::read(IoOwner& owner, uint64_t cookie, uint32_t physical, uint64_t offset, uint32_t bytes,
                   BufferRef target) {
  ensure(target.size() >= bytes, "a read fits its buffer");
  IoEffect& effect = issue(IoEffect::Kind::read, owner, cookie);
  effect.physical = physical;
  effect.offset = offset;
  effect.bytes = bytes;
  effect.target = std::move(target);
}

void IoQueue::read_aside(IoOwner& owner, uint64_t cookie, uint32_t physical, uint64_t offset, uint32_t bytes,
                         BufferRef target) {
  read(owner, cookie, physical, offset, bytes, std::move(target));
  effects_.back().aside = true;
}

void IoQueue::prepare(IoOwner& owner, uint64_t cookie, uint32_t physical) {
  issue(IoEffect::Kind::prepare, owner, cookie).physical = physical;
}

void IoQueue::complete(const IoResult& result) {
  const auto index = static_cast<uint32_t>(result.id);
  ensure(index < waiters_.size(), "a completion names an effect that was issued");
  Waiter& waiter = waiters_[index];
  ensure(waiter.owner != nullptr && waiter.uses == result.id >> 32, "an effect completes once");
  IoOwner* owner = waiter.owner;
  const uint64_t cookie = waiter.cookie;
  waiter.owner = nullptr;
  vacant_.push_back(index);
  --in_flight_;
  owner->on_io(cookie, result.error);
}

std::vector<IoEffect> IoQueue::take() {
  return std::exchange(effects_, {});
}

}  // namespace cloudfs
