#!/usr/bin/env bash
# What jobs/submit.sh queues, on this machine: trains, or goes on with the run that is there.
#
#   jobs/train.sh CONFIG [--run DIR] [--ranks N] [more options of `deepsearch train`]
#                                                  (default: runs/NAME of the configuration's file, 1 rank)
#
# Ctrl-C or SIGTERM write a checkpoint (exit code 75); the same command goes on. RUN/log/latest holds the newest
# attempt's output, RUN/log/done says that all steps are done. DEEPSEARCH names another build of the program.
set -euo pipefail
# shellcheck source=jobs/common.sh
source "$(dirname "$0")/common.sh"

attempt_here train runs/ "$@"
