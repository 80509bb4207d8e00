#include "engine/stop_strings.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace deepsearch {

StopStrings::StopStrings(std::vector<std::string> strings, std::vector<std::string> token_bytes)
    : strings_(std::move(strings)), token_bytes_(std::move(token_bytes)) {
  for (const std::string& stop : strings_) {
    if (stop.empty()) bad_input("[engine].stop: an empty string would end every response at once; leave it out");
    longest_ = std::max(longest_, stop.size());
  }
  if (any() && token_bytes_.empty()) {
    bad_input("[engine].stop: stop strings need the model's tokenizer, and none was loaded");
  }
}

bool StopStrings::completes(std::string& tail, Token token) const {
  const auto id = static_cast<size_t>(token);
  const size_t before = tail.size();
  if (id < token_bytes_.size()) tail += token_bytes_[id];
  bool found = false;
  for (const std::string& stop : strings_) {
    // Ends in the new bytes: begins no earlier than its length before the first of them.
    const size_t from = before + 1 > stop.size() ? before + 1 - stop.size() : 0;
    found = found || tail.find(stop, from) != std::string::npos;
  }
  if (tail.size() >= longest_) tail.erase(0, tail.size() - (longest_ - 1));
  return found;
}

}  // namespace deepsearch
