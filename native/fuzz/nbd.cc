// Any bytes may come from an NBD client, in any cuts. Eight bytes of the input seed the cuts, the core's delays and errors
// and the socket's appetite; the rest is what the client says. test/nbd_ordeal.h says what must hold.
#include "../test/nbd_ordeal.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 8) return 0;
  const std::string input(reinterpret_cast<const char*>(data), size);
  // A Violation is not caught: it ends the process with its text, and the input is kept.
  nbd_test::Ordeal(nbd_test::from_be<uint64_t>(input), input.substr(8)).run();
  return 0;
}
