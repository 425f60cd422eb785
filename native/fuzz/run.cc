// Any bytes may come where a run is expected. What is taken for one is encoded to the same bytes again, and everything
// that reads runs stays inside them.
#include "../test/encode_again.h"
#include "codec.h"
#include "core/format/chain.h"
#include "core/format/describe.h"

namespace {

using namespace cloudfs;

void try_run(ByteSpan bytes) {
  const Result<RunLengths> lengths = peek_run(bytes);
  const Result<RunView> run = decode_run(bytes);
  fuzz::require(describe("run", bytes)->front() == (run.ok() ? '{' : 'E'));
  if (!run) return;
  fuzz::require(lengths.ok() && lengths->run_bytes == run->bytes().size());
  fuzz::require(lengths->body_bytes == run->header().body_bytes);
  fuzz::require_same(run->bytes(), encode_again::run(*run));
  // A body of the wrong bytes, if one of that length is affordable.
  if (run->header().body_bytes <= 1u << 20) {
    const std::vector<uint8_t> body(run->header().body_bytes, 0xa5);
    (void)verify_body_crcs(*run, body).ok();
    (void)verify_body_digests(*run, body).ok();
  }
  if (run->header().type != RunType::records) return;
  std::vector<VersionId> ids;
  public_ids(*run, ids);
  fuzz::require(ids.size() == run->header().count);
  (void)verify_links(*run, ids.front()).ok();
  (void)verify_tokens(*run, Stamp{}).ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try_run({data, size});
  std::vector<uint8_t> sealed(data, data + size);
  fuzz::seal(sealed, 124);
  try_run(sealed);
  return 0;
}
