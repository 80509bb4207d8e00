#!/usr/bin/env bash
# Evaluates a policy on this machine, or goes on with the evaluation that is there.
#
#   jobs/evaluate.sh CONFIG [--run DIR] [--ranks N] [more options of `deepsearch evaluate`]
#                                                  (default: runs/eval-NAME of the configuration's file, 1 rank)
#
#   jobs/evaluate.sh configs/eval/paper.toml --model MODEL --benchmarks DIR --ranks 2
#
# Ctrl-C or SIGTERM end it (exit code 75); the same command goes on. RUN/log/latest holds the newest attempt's output,
# RUN/table.md the scores, RUN/log/done says that they are there. DEEPSEARCH names another build of the program.
set -euo pipefail
# shellcheck source=jobs/common.sh
source "$(dirname "$0")/common.sh"

attempt_here evaluate runs/eval- "$@"
