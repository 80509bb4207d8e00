// Our side of tests/oracle/bpe_oracle.py, which compares it with PyPI's `tokenizers`.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "tokenizer/tokenizer.h"

namespace deepsearch {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<json> read_lines(const fs::path& path) {
  std::ifstream in(path);
  std::vector<json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
  return lines;
}

std::string stream(const Tokenizer& tokenizer, TokenSpan ids) {
  StreamDecoder decoder(tokenizer);
  std::string text;
  for (const Token id : ids) text += decoder.append(id);
  return text + decoder.flush();
}

constexpr size_t kTimed = 8000;

// DIR/tokenizer.json, DIR/texts.jsonl (a text a line) and DIR/ids.jsonl (a list a line) → DIR/encoded.jsonl and
// DIR/decoded.jsonl; the seconds that encoding the first
// kTimed texts took go into DIR/seconds.
void answer(const fs::path& folder) {
  const Tokenizer tokenizer = load_tokenizer(folder / "tokenizer.json");
  const std::vector<json> texts = read_lines(folder / "texts.jsonl");
  std::vector<std::vector<Token>> encoded;
  const auto start = std::chrono::steady_clock::now();
  auto timed = start;
  for (const json& text : texts) {
    try {
      encoded.push_back(tokenizer.encode(text.get_ref<const std::string&>()));
    } catch (const Error&) {
      encoded.push_back({-1});
    }
    if (encoded.size() <= kTimed) timed = std::chrono::steady_clock::now();
  }
  const std::chrono::duration<double> time = timed - start;
  write_file_atomically(folder / "seconds", std::to_string(time.count()));

  std::string lines;
  for (size_t i = 0; i < texts.size(); ++i) {
    // Special tokens around a text are asked for at every tenth.
    const bool refused = encoded[i] == std::vector<Token>{-1};
    const json special =
        refused || i % 10 != 0 ? json(nullptr) : json(tokenizer.encode(texts[i].get<std::string>(), true));
    lines += json({{"ids", refused ? json(nullptr) : json(encoded[i])}, {"special", special}}).dump() + "\n";
  }
  write_file_atomically(folder / "encoded.jsonl", lines);

  lines.clear();
  for (const json& line : read_lines(folder / "ids.jsonl")) {
    const auto ids = line.get<std::vector<Token>>();
    lines += json({{"text", tokenizer.decode(ids)},
                   {"skipped", tokenizer.decode(ids, true)},
                   {"streamed", stream(tokenizer, ids)}})
                 .dump() +
             "\n";
  }
  write_file_atomically(folder / "decoded.jsonl", lines);
}

TEST(TokenizerOracle, AnswersTheQuestions) {
  const char* const root = std::getenv("DEEPSEARCH_BPE_ORACLE");
  if (root == nullptr) GTEST_SKIP() << "bpe_oracle.py sets DEEPSEARCH_BPE_ORACLE to a folder of questions";
  size_t n = 0;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (!fs::exists(entry.path() / "tokenizer.json")) continue;
    SCOPED_TRACE(entry.path().string());
    EXPECT_NO_THROW(answer(entry.path()));
    ++n;
  }
  EXPECT_GT(n, 0U);
}

}  // namespace
}  // namespace deepsearch
