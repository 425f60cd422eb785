// A payload comes with a command or in a record. What is taken for one is encoded to the same bytes again, but for the
// zeros that pad it. The first byte says which payload.
#include "core/format/payload.h"

#include "codec.h"

namespace {

using namespace cloudfs;

void require_padded(ByteSpan bytes, const std::vector<uint8_t>& encoded) {
  fuzz::require(bytes.size() >= encoded.size() && bytes.size() - encoded.size() <= 3);
  fuzz::require_same(bytes.first(encoded.size()), encoded);
  fuzz::require(all_zero(bytes.subspan(encoded.size())));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const ByteSpan bytes(data + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      if (const auto create = decode_create(bytes)) require_padded(bytes, encode_create(*create));
      break;
    case 1:
      if (const auto view = decode_view(bytes)) require_padded(bytes, encode_view(*view));
      break;
    case 2:
      if (const auto name = decode_snapshot_name(bytes)) require_padded(bytes, encode_snapshot_name(*name));
      break;
    case 3:
      if (const auto bytes_wanted = decode_resize(bytes)) require_padded(bytes, encode_resize(*bytes_wanted));
      break;
    default:
      if (const auto mode = decode_mode(bytes)) require_padded(bytes, encode_mode(*mode));
  }
  return 0;
}
