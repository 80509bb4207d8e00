// libFuzzer target over messages between ranks: whatever the bytes, the end is a message or an Error, and a message
// packs into the bytes that it was read from. Length and checksum are put right first, or mutations would meet nothing
// but those two checks; the first byte of an input says whether (0: not).
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "comm/mailbox.h"
#include "comm/sample_messages.h"
#include "comm/wire.h"
#include "core/error.h"
#include "fuzz/seeds.h"

namespace deepsearch {
namespace {

// Errors name bytes of a message, never the message itself.
void must_be_a_line(const std::string& text) {
  if (text.empty() || text.size() > 500 || text.find('\n') != std::string::npos) std::abort();
}

void run_one(bool seal, std::vector<char> bytes) {
  if (seal) seal_message(bytes);
  try {
    const AnyMessage message = unpack_message(bytes.data(), bytes.size());
    if (pack_message(message) != bytes) std::abort();
  } catch (const Error& error) {
    must_be_a_line(error.what());
  }
}

std::vector<std::string> seeds() {
  std::vector<std::string> seeds;
  for (const AnyMessage& message : testing::sample_messages()) {
    const std::vector<char> bytes = pack_message(message);
    if (unpack_message(bytes.data(), bytes.size()).index() != message.index()) std::abort();
    seeds.push_back('s' + std::string(bytes.begin(), bytes.end()));
  }
  seeds.push_back(seeds.front());
  seeds.back()[0] = '\0';
  return seeds;
}

}  // namespace
}  // namespace deepsearch

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  deepsearch::fuzz::write_seeds_if_asked(*argc, *argv, deepsearch::seeds());
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) deepsearch::run_one(data[0] != 0, std::vector<char>(data + 1, data + size));
  return 0;
}
