// JSON Lines: files of one JSON object a line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/atomic_file.h"
#include "data/tokens.h"

namespace deepsearch {

// Lines longer than this are refused before they are held.
inline constexpr uint64_t kMaxJsonLineBytes = uint64_t{64} << 20;

class JsonLinesReader {
 public:
  // "-" reads standard input. bad_input for a file that cannot be opened.
  explicit JsonLinesReader(const std::filesystem::path& path);
  // The next object; false at the end. Blank lines are skipped. bad_input, with file and line, for anything else.
  bool next(nlohmann::json& object);
  // "prompts.jsonl:3": of the line read last.
  std::string place() const;

 private:
  bool read_line();

  std::string name_;
  std::ifstream file_;
  std::istream* in_;
  std::string text_;
  int64_t line_ = 0;
};

// Whole or not at all: the file appears with finish(). "-" writes to standard output as it comes.
class JsonLinesWriter {
 public:
  explicit JsonLinesWriter(const std::filesystem::path& path);
  void write(const nlohmann::ordered_json& object);
  void finish();

 private:
  std::unique_ptr<AtomicFile> file_;
  std::string pending_;
};

// Values of one key of an object; bad_input with the place when it is absent or of another type.
std::string json_text(const nlohmann::json& object, const char* key, const std::string& place);
// Ids from 0 to 2^31 − 1.
std::vector<Token> json_tokens(const nlohmann::json& object, const char* key, const std::string& place);

}  // namespace deepsearch
