#include "core/log/superblock_writer.h"

#include <utility>

namespace cloudfs {

namespace {

constexpr uint64_t kWritten = 1;
constexpr uint64_t kSynced = 2;

}  // namespace

void SuperblockWriter::format(const Superblock& superblock, SuperblockListener& listener) {
  ensure(!busy(), "one superblock is written at a time");
  listener_ = &listener;
  next_ = superblock;
  BufferRef buffer(2 * kSuperblockBytes);
  next_.sequence = 1;
  encode_superblock(next_, {buffer.data(), kSuperblockBytes});
  next_.sequence = 2;
  encode_superblock(next_, {buffer.data() + kSuperblockBytes, kSuperblockBytes});
  next_copy_ = 1;
  std::vector<Slice> slices{{buffer, buffer.data(), 2 * kSuperblockBytes}};
  io_.write(*this, kWritten, kSuperblockRegion, 0, std::move(slices));
}

void SuperblockWriter::adopt(const Superblock& superblock, uint32_t copy) {
  current_ = superblock;
  current_copy_ = copy;
}

void SuperblockWriter::write(Superblock next, SuperblockListener& listener) {
  ensure(!busy(), "one superblock is written at a time");
  listener_ = &listener;
  next_ = next;
  next_.sequence = current_.sequence + 1;
  next_copy_ = 1 - current_copy_;
  BufferRef buffer(kSuperblockBytes);
  encode_superblock(next_, {buffer.data(), kSuperblockBytes});
  std::vector<Slice> slices{{buffer, buffer.data(), kSuperblockBytes}};
  io_.write(*this, kWritten, kSuperblockRegion, next_copy_ * kSuperblockBytes, std::move(slices));
}

void SuperblockWriter::on_io(uint64_t cookie, int error) {
  if (error == 0 && cookie == kWritten) {
    io_.sync(*this, kSynced, {kSuperblockRegion});
    return;
  }
  if (error == 0) {
    current_ = next_;
    current_copy_ = next_copy_;
  }
  std::exchange(listener_, nullptr)->on_superblock(error);
}

}  // namespace cloudfs
