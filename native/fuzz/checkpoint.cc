// A checkpoint's pages have checksums, but a program may write nonsense too. What is taken for a checkpoint is encoded to
// the same bytes again, and no length that lies costs memory.
#include "codec.h"
#include "core/format/checkpoint_codec.h"
#include "core/format/describe.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloudfs;
  const ByteSpan bytes(data, size);
  const Result<Checkpoint> checkpoint = decode_checkpoint(bytes);
  fuzz::require(describe("checkpoint", bytes)->front() == (checkpoint.ok() ? '{' : 'E'));
  if (checkpoint) fuzz::require_same(bytes, encode_checkpoint(*checkpoint));
  return 0;
}
