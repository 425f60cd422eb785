// Any bytes may come to a follower from a host that says it is the volume's primary. The first byte chooses the follower: one
// that holds the volume, or nothing yet, or is about to lead it; test/stream_ordeal.h says what must hold.
#include "../test/stream_ordeal.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using cloudfs::test::StreamOrdeal;
  if (size < 1) return 0;
  std::vector<uint8_t> bytes(data + 1, data + size);
  StreamOrdeal::seal(bytes);
  const auto victim = data[0] == 4         ? StreamOrdeal::Victim::heir
                      : (data[0] & 1) == 0 ? StreamOrdeal::Victim::follower
                                           : StreamOrdeal::Victim::new_follower;
  // What it throws is not caught: it ends the process with its text, and the input is kept.
  StreamOrdeal().attack(victim, bytes, size);
  return 0;
}
