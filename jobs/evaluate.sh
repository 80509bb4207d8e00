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

case ${1:-} in
'' | -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0" && exit 0 ;;
-*) die "the configuration comes first (try --help)" ;;
esac
CONFIG=$1 RUN='' RANKS=1 MORE=()
shift
while [ $# -gt 0 ]; do
    case $1 in
    --run) RUN=${2:?--run needs a folder} && shift 2 ;;
    --ranks) RANKS=${2:?--ranks needs a number} && shift 2 ;;
    *) MORE+=("$1") && shift ;;
    esac
done
case $RANKS in '' | *[!0-9]* | 0) die "--ranks $RANKS: a whole number from 1 on is wanted" ;; esac
RUN=${RUN:-runs/eval-$(basename "$CONFIG" .toml)}
DEEPSEARCH=${DEEPSEARCH:-$(program_here)}
[ -x "$DEEPSEARCH" ] || die "$DEEPSEARCH: no such program; build it (INSTALL.md) or set DEEPSEARCH"
"$DEEPSEARCH" config "$CONFIG" >/dev/null

LAUNCH=()
if [ "$RANKS" -gt 1 ]; then
    if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
    LAUNCH=(mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 --mca btl_base_warn_component_unused 0
        -n "$RANKS")
fi
exec "$REPO/slurm/attempt.sh" "$RUN" ${LAUNCH[@]+"${LAUNCH[@]}"} "$DEEPSEARCH" evaluate "$CONFIG" --run "$RUN" \
    --resume ${MORE[@]+"${MORE[@]}"}
