// Runs from the log go out with their digests unchecked: whoever takes them checks those.
#include "cluster_story.h"

using namespace cloudfs;
using namespace cloudfs::test;

namespace {

/// Changes a block so that its crc32c stays the same: by the generator polynomial, its bits in the order of the checksum.
void change_unseen(uint8_t* block) {
  constexpr uint64_t kGenerator = 0x11EDC6F41;
  for (unsigned bit = 0; bit <= 32; ++bit)
    if ((kGenerator >> (32 - bit) & 1) != 0) block[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
}

}  // namespace

TEST_CASE(
    "replication: a block of the log that has its checksum and not its digest is not taken by a follower") {
  Cluster cluster(3);
  const std::string volume = create_volume(cluster, Mode::quorum);
  const Export disk = cluster.node(0).open(volume);
  cluster.cut(2);
  const std::vector<uint8_t> body = pattern(kBlockBytes, 5);
  cluster.node(0).submit(Driver::write_op(disk.handle, 0, body));
  cluster.run(50);
  int changed = 0;
  for (uint32_t physical = 0; physical < small_params().segment_limit; ++physical) {
    std::vector<uint8_t>& bytes = cluster.node(0).disk.cache(physical);
    const auto at = std::search(bytes.begin(), bytes.end(), body.begin(), body.end());
    if (at == bytes.end()) continue;
    uint8_t* block = &*at;
    change_unseen(block);
    CHECK(sum_block(block).crc == sum_block(body.data()).crc);
    CHECK(sum_block(block).digest != sum_block(body.data()).digest);
    ++changed;
  }
  CHECK(changed == 1);
  const std::string before = head_of(cluster, 2, volume);
  CHECK(cluster.connect(0, 2, volume));
  cluster.run();
  CHECK(cluster.refusal(2) == "ERR_BLOCK_CORRUPT");
  CHECK(head_of(cluster, 2, volume) == before);
}
