// deepsearch: one binary, a subcommand a job.
#include <cstdio>
#include <exception>

#include <CLI/CLI.hpp>

#include "commands/commands.h"
#include "commands/usage_error.h"
#include "core/error.h"
#include "core/log.h"
#include "core/version.h"

namespace {

int run(int argc, char** argv) {
  using namespace deepsearch;  // NOLINT(google-build-using-namespace): main only
  CLI::App app{"DeepSearch: Monte Carlo tree search inside reinforcement learning with verifiable rewards"};
  app.set_version_flag("--version", program());
  app.require_subcommand(1);
  CommandLine line;
  line.argc = &argc;
  line.argv = &argv;
  line.arguments.assign(argv, argv + argc);
  add_train(app, line);
  add_filter(app, line);
  add_submit(app, line);
  add_sweep(app, line);
  add_sft(app, line);
  add_plan(app, line);
  add_simulate(app, line);
  add_evaluate(app, line);
  add_generate(app, line);
  add_score(app, line);
  add_compare(app, line);
  add_tokenize(app, line);
  add_problems(app, line);
  add_verify(app, line);
  add_inspect(app, line);
  add_check(app, line);
  add_config(app, line);
  add_bench(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    return app.exit(wanted);
  } catch (const CLI::ParseError& error) {
    bad_input("{}", usage_error(app, error));
  }
  return line.chosen();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const deepsearch::Error& error) {
    if (error.what()[0] != '\0') std::fprintf(stderr, "error: %s\n", error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return deepsearch::kExitFailure;
  }
}
