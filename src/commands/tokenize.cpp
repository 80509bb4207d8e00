#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands/commands.h"
#include "core/error.h"
#include "core/timer.h"
#include "data/json_lines.h"
#include "tokenizer/tokenizer.h"

namespace deepsearch {

namespace {

struct Options {
  std::filesystem::path tokenizer;
  std::filesystem::path in;
  std::filesystem::path out;
  bool special = false;
};

int run_tokenize(const Options& options) {
  const std::filesystem::path file =
      std::filesystem::is_directory(options.tokenizer) ? options.tokenizer / "tokenizer.json" : options.tokenizer;
  const Tokenizer tokenizer = load_tokenizer(file);
  JsonLinesReader in(options.in);
  JsonLinesWriter out(options.out);
  int64_t texts = 0;
  int64_t tokens = 0;
  size_t bytes = 0;
  double seconds = 0;
  for (nlohmann::json line; in.next(line); ++texts) {
    const std::string text = json_text(line, "text", in.place());
    try {
      const Stopwatch watch;
      const std::vector<Token> ids = tokenizer.encode(text, options.special);
      seconds += watch.seconds();
      out.write({{"ids", ids}, {"decoded", tokenizer.decode(ids)}});
      tokens += static_cast<int64_t>(ids.size());
    } catch (const Error& error) {
      throw error.within(in.place());
    }
    bytes += text.size();
  }
  out.finish();
  fmt::print(stderr, "{} texts of {} bytes are {} tokens; encoded at {:.1f} MB/s\n", texts, bytes, tokens,
             static_cast<double>(bytes) / 1e6 / std::max(seconds, 1e-9));
  return kExitOk;
}

}  // namespace

void add_tokenize(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("tokenize", "Texts to token ids and back");
  command->add_option("--tokenizer", options->tokenizer, "tokenizer.json, or the model folder that holds it")
      ->required();
  command->add_option("--in", options->in, "JSONL, a line {\"text\": …}; \"-\": stdin")->required();
  command->add_option("--out", options->out, "JSONL, a line {\"ids\": […], \"decoded\": …}; \"-\": stdout")->required();
  command->add_flag("--special", options->special, "Also what the tokenizer puts around a text (begin-of-text, …)");
  command->callback([options, &line] { line.chosen = [options] { return run_tokenize(*options); }; });
}

}  // namespace deepsearch
