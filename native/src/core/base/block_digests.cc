// SHA-256 of blocks. A processor's SHA instructions wait for each other within one message and not between two, so blocks are
// hashed side by side, by Intel's multi-buffer library where there is one (x86; Debian's libipsec-mb-dev): two blocks in the
// time of one. Else one after the other, by Nettle.
#include <algorithm>
#include <memory>

#include "core/base/checksum.h"

#ifdef CLOUDFS_HAS_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

namespace cloudfs {

namespace {

void digest_one(const uint8_t* block, BlockDigest& digest) {
  Sha256().add({block, kBlockBytes}).finish(digest);
}

#ifdef CLOUDFS_HAS_IPSEC_MB

constexpr size_t kSha256Bytes = 32;
/// Jobs that the library holds at most.
constexpr size_t kSideBySide = 64;

class SideBySide {
 public:
  SideBySide() : manager_(alloc_mb_mgr(0)) {
    if (!manager_) return;
    // SSE names the instruction set that the SHA instructions belong to; without them it hashes four at a time.
    init_mb_mgr_sse(manager_.get());
    if (imb_get_errno(manager_.get()) != 0 || (manager_->features & IMB_FEATURE_SHANI) == 0) manager_.reset();
  }

  /// @returns false: this processor cannot, or the library would not
  [[nodiscard]] bool hash(std::span<const uint8_t* const> blocks, std::span<BlockDigest> digests) {
    if (!manager_) return false;
    ensure(blocks.size() <= kSideBySide, "the library has room for the jobs");
    uint8_t hashes[kSideBySide][kSha256Bytes];
    size_t done = 0;
    const auto count_done = [&done](const IMB_JOB* job) {
      if (job->status == IMB_STATUS_COMPLETED) ++done;
    };
    for (size_t index = 0; index < blocks.size(); ++index) {
      IMB_JOB* const job = IMB_GET_NEXT_JOB(manager_.get());
      *job = {};
      job->src = blocks[index];
      job->msg_len_to_hash_in_bytes = kBlockBytes;
      job->auth_tag_output = hashes[index];
      job->auth_tag_output_len_in_bytes = kSha256Bytes;
      job->hash_alg = IMB_AUTH_SHA_256;
      job->cipher_mode = IMB_CIPHER_NULL;
      job->cipher_direction = IMB_DIR_ENCRYPT;
      job->chain_order = IMB_ORDER_HASH_CIPHER;
      for (IMB_JOB* ended = IMB_SUBMIT_JOB(manager_.get()); ended != nullptr;
           ended = IMB_GET_COMPLETED_JOB(manager_.get()))
        count_done(ended);
    }
    while (const IMB_JOB* const ended = IMB_FLUSH_JOB(manager_.get())) count_done(ended);
    if (done != blocks.size()) return false;
    for (size_t index = 0; index < blocks.size(); ++index)
      std::copy_n(hashes[index], digests[index].size(), digests[index].begin());
    return true;
  }

 private:
  struct Free {
    void operator()(IMB_MGR* manager) const { free_mb_mgr(manager); }
  };
  std::unique_ptr<IMB_MGR, Free> manager_;
};

bool hash_side_by_side(std::span<const uint8_t* const> blocks, std::span<BlockDigest> digests) {
  thread_local SideBySide side_by_side;  // its jobs are one thread's
  return side_by_side.hash(blocks, digests);
}

#else

constexpr size_t kSideBySide = 1;
bool hash_side_by_side(std::span<const uint8_t* const>, std::span<BlockDigest>) {
  return false;
}

#endif

}  // namespace

BlockDigest block_digest(const uint8_t* block) {
  BlockDigest digest;
  digest_one(block, digest);
  return digest;
}

void block_digests(std::span<const uint8_t* const> blocks, std::span<BlockDigest> digests) {
  ensure(digests.size() >= blocks.size(), "there is room for the digests");
  while (!blocks.empty()) {
    const size_t count = std::min(blocks.size(), kSideBySide);
    const auto some = blocks.first(count);
    if (count == 1 || !hash_side_by_side(some, digests))
      for (size_t index = 0; index < count; ++index) digest_one(some[index], digests[index]);
    blocks = blocks.subspan(count);
    digests = digests.subspan(count);
  }
}

}  // namespace cloudfs
