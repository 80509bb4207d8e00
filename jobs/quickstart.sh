#!/usr/bin/env bash
# The main job, small: sets up, builds, makes a base policy, trains it by DeepSearch on two search ranks and two learners
# (which take turns, so that two cores are enough), and draws the result.
#
#   jobs/quickstart.sh [--seed N] [--run DIR]      (default: seed 1, runs/quickstart)
#
# A run that is already in DIR is replaced. DEEPSEARCH_CUDA=AUTO|ON|OFF chooses the build (default: AUTO).
set -euo pipefail
# shellcheck source=jobs/common.sh
source "$(dirname "$0")/common.sh"

SEED=1 RUN=$REPO/runs/quickstart
while [ $# -gt 0 ]; do
    case $1 in
    --seed) SEED=${2:?--seed needs a number} && shift 2 ;;
    --run) RUN=${2:?--run needs a folder} && shift 2 ;;
    -h | --help) help_text && exit 0 ;;
    *) die "unknown option '$1' (try --help)" ;;
    esac
done
case $SEED in '' | *[!0-9]*) die "--seed $SEED: a whole number is wanted" ;; esac

"$REPO/jobs/setup.sh"
say "building"
build release deepsearch -DDEEPSEARCH_CUDA="${DEEPSEARCH_CUDA:-AUTO}"
DEEPSEARCH=$REPO/build/release/deepsearch
CONFIG=$REPO/configs/quickstart.toml

say "base policy: supervised warm start"
mkdir -p "$(dirname "$RUN")"
"$DEEPSEARCH" sft "$CONFIG" --set run.seed="$SEED" --out "$RUN-base" --force

say "training by DeepSearch: 2 search ranks, 2 learners in turn"
if [ -t 1 ]; then export DEEPSEARCH_PROGRESS=bar; fi # the pipe below hides the terminal
RESULT=$(mktemp)
trap 'rm -f "$RESULT"' EXIT
run_ranks 4 "$DEEPSEARCH" train "$CONFIG" --run "$RUN" --force --set run.seed="$SEED" --set model.path="$RUN-base" \
    --set ranks.learners=2 |
    tee "$RESULT"

say "a tree that found a solution where $(sed -n 's/^group *= *//p' "$CONFIG") independent rollouts found none"
"$DEEPSEARCH" inspect "$RUN" --tree rescue ||
    echo "(none in this run: rollouts solved every problem they met)"
say "report"
PYTHONPATH=$REPO/analysis "$VENV/bin/python" -m deepsearch_analysis report "$RUN"
"$DEEPSEARCH" inspect "$RUN"
grep '^held-out Pass@' "$RESULT"
