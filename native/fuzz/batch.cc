// Any bytes may lie where recovery looks for a batch. What is taken for one is encoded to the same bytes again.
#include "core/format/batch.h"

#include "../test/encode_again.h"
#include "codec.h"
#include "core/format/describe.h"

namespace {

using namespace cloudfs;

void try_batch(ByteSpan bytes) {
  const Result<BatchHeader> peeked = peek_batch(bytes);
  const Result<BatchView> batch = decode_batch(bytes);
  fuzz::require(describe("batch", bytes)->front() == (batch.ok() ? '{' : 'E'));
  if (!batch) return;
  fuzz::require(peeked.ok() && *peeked == batch->header);
  fuzz::require_same(bytes.first(batch->header.header_bytes), encode_again::batch(*batch));
  (void)verify_batch_bodies(*batch, bytes).ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try_batch({data, size});
  std::vector<uint8_t> sealed(data, data + size);
  if (size < kBatchHeaderBytes) return 0;
  const auto run_count = load<uint16_t>(sealed.data() + 36);
  for (size_t index = 0; index < run_count; ++index) {
    const size_t entry = kBatchHeaderBytes + kDirectoryEntryBytes * index;
    if (entry + kDirectoryEntryBytes > size) break;
    const auto run_offset = load<uint32_t>(sealed.data() + entry);
    if (run_offset < size) fuzz::seal(std::span(sealed).subspan(run_offset), 124);
  }
  fuzz::seal(sealed, 60);
  try_batch(sealed);
  return 0;
}
