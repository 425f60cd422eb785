// Any bytes may lie where a superblock or a segment header is expected: what is taken for one is encoded to the same
// bytes again. The input is the page; a short one is tried as it is and with zeros behind.
#include "codec.h"
#include "core/format/describe.h"
#include "core/format/segment_header.h"
#include "core/format/superblock.h"

namespace {

using namespace cloudfs;

void try_page(ByteSpan bytes) {
  const Result<Superblock> superblock = decode_superblock(bytes);
  fuzz::require(describe("superblock", bytes)->front() == (superblock.ok() ? '{' : 'E'));
  std::vector<uint8_t> page(4096);
  if (superblock) {
    encode_superblock(*superblock, page);
    fuzz::require_same(bytes.first(page.size()), page);
  }
  const Result<SegmentHeader> header = decode_segment_header(bytes);
  fuzz::require(describe("segment-header", bytes)->front() == (header.ok() ? '{' : 'E'));
  if (header) {
    encode_segment_header(*header, page);
    fuzz::require_same(bytes.first(page.size()), page);
  }
  fuzz::require(!superblock.ok() || !header.ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try_page({data, size});
  std::vector<uint8_t> sealed(data, data + std::min<size_t>(size, 4092));
  sealed.resize(4096);
  store(sealed.data() + 4092, crc32c(ByteSpan(sealed).first(4092)));
  try_page(sealed);
  return 0;
}
