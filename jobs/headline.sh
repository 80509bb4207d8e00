#!/usr/bin/env bash
# Where does search pay? Makes a base policy, measures what a solution costs by rollouts and by a tree over its pass
# rate, then trains every method of configs/headline from it over problem sizes and seeds, and draws what it cost them
# to reach the same accuracies.
#
#   jobs/headline.sh [--quick] [--sizes "8 12 …"] [--seeds "1 2 3"] [--methods "ours dapo …"] [--budget COST]
#                    [--at-once N] [--out DIR]
#                    (default: all sizes from 8 to 24, three seeds, the budget of configs/headline/bag.toml, a run a
#                     core, runs/headline; --quick: sizes 8 and 16, one seed, two methods, a budget of 1e6)
#
# Started again it goes on: what is done is not done again.
set -euo pipefail
# shellcheck source=jobs/common.sh
source "$(dirname "$0")/common.sh"

SIZES="8 12 16 20 24" SEEDS="1 2 3" METHODS="ours inject dapo dapo-1e-4 dapo-1e-3 control published"
BUDGET='' AT_ONCE=$(cores) OUT=$REPO/runs/headline PROBLEMS=32
while [ $# -gt 0 ]; do
    case $1 in
    --quick) SIZES="8 16" SEEDS=1 METHODS="ours dapo" BUDGET=1e6 PROBLEMS=8 && shift ;;
    --sizes) SIZES=${2:?--sizes needs numbers} && shift 2 ;;
    --seeds) SEEDS=${2:?--seeds needs numbers} && shift 2 ;;
    --methods) METHODS=${2:?--methods needs names} && shift 2 ;;
    --budget) BUDGET=${2:?--budget needs a cost} && shift 2 ;;
    --at-once) AT_ONCE=${2:?--at-once needs a number} && shift 2 ;;
    --out) OUT=$(realpath -m "${2:?--out needs a folder}") && shift 2 ;;
    -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) die "unknown option '$1' (try --help)" ;;
    esac
done
for number in $SIZES $SEEDS; do
    case $number in *[!0-9]*) die "'$number': sizes and seeds are whole numbers" ;; esac
done
export DEEPSEARCH=${DEEPSEARCH:-$(program_here)}
[ -x "$DEEPSEARCH" ] || die "$DEEPSEARCH is not there: build first (jobs/quickstart.sh does, or INSTALL.md)"
CONFIGS=$REPO/configs/headline
mkdir -p "$OUT"

if [ ! -e "$OUT/base/config.json" ]; then
    say "base policy: supervised warm start"
    "$DEEPSEARCH" sft "$CONFIGS/bag.toml" --out "$OUT/base"
fi
if [ ! -e "$OUT/search.txt" ]; then
    say "what a solution costs at the base policy, up to 20 000 tokens a problem"
    # shellcheck disable=SC2086
    "$DEEPSEARCH" bench search "$CONFIGS/bag-ours.toml" --model "$OUT/base" --sizes $SIZES --problems "$PROBLEMS" \
        --max-tokens 20000 >"$OUT/.search.txt"
    mv "$OUT/.search.txt" "$OUT/search.txt"
fi
cat "$OUT/search.txt"

# One run: METHOD SIZE SEED. dapo-RATE is dapo with another learning rate.
train_one() {
    local method=$1 size=$2 seed=$3 more=()
    local run=$OUT/runs/${method//-/_}-k$size-s$seed # the analysis takes a name up to the first "-" for the method
    local config=$CONFIGS/bag-${method%%-*}.toml
    [ "$method" = "${method#*-}" ] || more=(--set "learn.optimizer.lr=${method#*-}")
    [ -z "$BUDGET" ] || more+=(--set "learn.budget_amount=$BUDGET")
    if [ -e "$run/log/done" ]; then return; fi
    echo "$(date +%T) $method, k = $size, seed $seed"
    if ! DEEPSEARCH_QUIET=1 "$REPO/slurm/attempt.sh" "$run" "$DEEPSEARCH" train "$config" --run "$run" --resume \
        --set "model.path=$OUT/base" --set "task.sizes=[$size]" --set "run.seed=$seed" ${more[@]+"${more[@]}"} >/dev/null; then
        echo "failed: $(sed -n 2p "$run/log/latest/exit")" >&2
        return 1
    fi
}
export -f train_one
export REPO OUT CONFIGS BUDGET
say "training: $METHODS; sizes $SIZES; seeds $SEEDS; $AT_ONCE at once"
for seed in $SEEDS; do
    for size in $SIZES; do
        for method in $METHODS; do echo "$method $size $seed"; done
    done
done | xargs -P "$AT_ONCE" -L 1 bash -c 'train_one "$@"' train_one
say "what it cost"
PYTHONPATH=$REPO/analysis "$VENV/bin/python" -m deepsearch_analysis cost "$OUT/runs" --ours ours \
    --targets 0.005,0.01,0.02,0.05,0.1,0.25
