#!/usr/bin/env bash
# The paper's table of search strategies on the embedded task: makes a base policy, trains it once a strategy and seed
# (configs/sweeps/search.toml), and prints the table; the sweep's page and CSV files lie in the folder.
#
#   jobs/search-table.sh [--steps N] [--ranks R] [--out DIR] [--base MODEL]
#                        (default: 60 steps, 3 ranks, runs/search-table, a base policy of its own)
#
# A point that is done already is not trained again.
set -euo pipefail
# shellcheck source=jobs/common.sh
source "$(dirname "$0")/common.sh"

STEPS=60 RANKS=3 OUT=$REPO/runs/search-table BASE=
while [ $# -gt 0 ]; do
    case $1 in
    --steps) STEPS=${2:?--steps needs a number} && shift 2 ;;
    --ranks) RANKS=${2:?--ranks needs a number} && shift 2 ;;
    --out) OUT=$(realpath -m "${2:?--out needs a folder}") && shift 2 ;;
    --base) BASE=$(realpath "${2:?--base needs a model folder}") && shift 2 ;;
    -h | --help) help_text && exit 0 ;;
    *) die "unknown option '$1' (try --help)" ;;
    esac
done
case $STEPS in '' | *[!0-9]*) die "--steps $STEPS: a whole number is wanted" ;; esac
DEEPSEARCH=${DEEPSEARCH:-$REPO/build/release/deepsearch}
export DEEPSEARCH_HOME=${DEEPSEARCH_HOME:-$REPO} # a program that was copied elsewhere looks for its scripts there
[ -x "$DEEPSEARCH" ] || die "$DEEPSEARCH is not there: build first (jobs/quickstart.sh does, or INSTALL.md)"

if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
mkdir -p "$(dirname "$OUT")"
if [ -z "$BASE" ]; then
    BASE=$OUT-base
    if [ ! -e "$BASE/config.json" ]; then
        say "base policy: supervised warm start"
        "$DEEPSEARCH" sft "$REPO/configs/ablations/base.toml" --out "$BASE"
    fi
fi
say "the sweep: 6 strategies, 2 seeds, $STEPS steps each"
SWEEP=$OUT-sweep.toml
{
    echo "# Made by jobs/search-table.sh from configs/sweeps/search.toml."
    sed "s|^base = .*|base = \"$REPO/configs/ablations/base.toml\"\nset.model.path = \"$BASE\"\nset.learn.steps = $STEPS|" \
        "$REPO/configs/sweeps/search.toml"
} >"$SWEEP"
if [ -d "$OUT/points" ]; then
    "$DEEPSEARCH" sweep resume "$OUT"
else
    "$DEEPSEARCH" sweep run "$SWEEP" --out "$OUT" --ranks "$RANKS" --at-once 1
fi
say "the table"
PYTHONPATH=$REPO/analysis "$VENV/bin/python" -m deepsearch_analysis sweep "$OUT"
