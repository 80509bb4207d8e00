// Seeds of a fuzz program: `--seeds=DIR` on its command line makes it write them there and end. (libFuzzer itself
// passes over options that start with two dashes.)
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace deepsearch::fuzz {

// For LLVMFuzzerInitialize.
inline void write_seeds_if_asked(int argc, char** argv, const std::vector<std::string>& seeds) {
  constexpr std::string_view kOption = "--seeds=";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (!argument.starts_with(kOption)) continue;
    const std::filesystem::path folder(argument.substr(kOption.size()));
    for (size_t n = 0; n < seeds.size(); ++n) {
      std::ofstream(folder / ("seed" + std::to_string(n)), std::ios::binary) << seeds[n];
    }
    std::exit(EXIT_SUCCESS);
  }
}

}  // namespace deepsearch::fuzz
