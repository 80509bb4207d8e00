#!/usr/bin/env bash
# Where does search pay? Makes base policies, measures how rarely they succeed and what a first solution costs by
# rollouts and by trees, trains every method from them to the same held-out accuracy, and draws what each spent.
#
#   jobs/headline.sh [--quick] [--out DIR] [--at-once N]      (default: runs/headline, as many runs at once as cores)
#
# Hours on 2 cores, three minutes with --quick: fewer sizes, seeds and tokens. What is done already is not done
# again. configs/headline/ has the methods, the target and the stopping rule; docs/headline.md what came of it.
set -euo pipefail
# shellcheck source=jobs/common.sh
source "$(dirname "$0")/common.sh"

QUICK='' OUT=$REPO/runs/headline AT_ONCE=$(cores)
while [ $# -gt 0 ]; do
    case $1 in
    --quick) QUICK=1 && shift ;;
    --out) OUT=$(realpath -m "${2:?--out needs a folder}") && shift 2 ;;
    --at-once) AT_ONCE=${2:?--at-once needs a number} && shift 2 ;;
    -h | --help) help_text && exit 0 ;;
    *) die "unknown option '$1' (try --help)" ;;
    esac
done
case $AT_ONCE in '' | 0 | *[!0-9]*) die "--at-once $AT_ONCE: a number above 0 is wanted" ;; esac
export DEEPSEARCH=${DEEPSEARCH:-$(program_here)}
[ -x "$DEEPSEARCH" ] || die "$DEEPSEARCH is not there: build first (jobs/quickstart.sh does, or INSTALL.md)"
export DEEPSEARCH_HOME=${DEEPSEARCH_HOME:-$REPO}
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
HEADLINE=$REPO/configs/headline
mkdir -p "$OUT/points" "$OUT/tuning" "$OUT/rates" "$OUT/log"

SIZES="8 12 16 20 24" SEEDS="1 2 3" RATES="2e-4 3e-4 5e-4" PROBLEMS=64 LIMIT=400000
TARGETS=0.002,0.003,0.005,0.01,0.02,0.04,0.08,0.2,0.25,0.3,0.35,0.5
METHODS="ours branch dapo control published"
if [ -n "$QUICK" ]; then
    SIZES="8 16" SEEDS=1 RATES=5e-4 PROBLEMS=16 LIMIT=50000 METHODS="ours dapo"
fi

# base NAME: its base policy, once.
base() {
    [ -e "$OUT/base-$1/config.json" ] && return
    say "base policy: $1"
    "$DEEPSEARCH" sft "$HEADLINE/$1.toml" --out "$OUT/base-$1" --force >"$OUT/log/base-$1" 2>&1 || die "see $OUT/log/base-$1"
}

# point FOLDER CONFIG [OPTIONS…]: one training run, unless it is done.
point() {
    local folder=$1 config=$2
    shift 2
    [ -e "$folder/done" ] && return
    echo "    $(basename "$folder")"
    "$DEEPSEARCH" train "$config" --run "$folder" --force "$@" >"$OUT/log/$(basename "$folder")" 2>&1 || {
        echo "error: $(basename "$folder"): see $OUT/log/$(basename "$folder")" >&2
        return 1
    }
    touch "$folder/done"
}
export -f point
export OUT

# Lines of options, one a point, at most AT_ONCE at a time.
points() { xargs -P "$AT_ONCE" -d '\n' -I '{}' bash -c 'point {}'; }

# The rarer success is, the more it takes until both sides learn, or provably do not.
budget() { # TASK SIZE
    if [ -n "$QUICK" ]; then
        echo 1e6
    elif [ "$1" != bag ]; then
        echo 3e6
    elif [ "$2" -le 12 ]; then
        echo 10e6
    elif [ "$2" -le 16 ]; then
        echo 20e6
    else
        echo 40e6
    fi
}

line() { # FOLDER METHOD TASK SIZE SEED [RATE]
    local rate=
    if [ -n "${6:-}" ]; then rate="--set learn.optimizer.lr=$6"; fi
    echo "'$OUT/$1' '$HEADLINE/$3-$2.toml' --set task.sizes=[$4] --set run.seed=$5 --set model.path='$OUT/base-$3' $rate --set learn.budget_amount=$(budget "$3" "$4")"
}

ANALYSE=(env "PYTHONPATH=$REPO/analysis" "$VENV/bin/python" -m deepsearch_analysis)
TASKS="bag"
if [ -z "$QUICK" ]; then TASKS="bag chain countdown"; fi
sizes_of() {
    case $1 in
    bag) echo "$SIZES" ;;
    chain) echo 10 ;;
    countdown) echo 4 ;;
    esac
}

for task in $TASKS; do base "$task"; done

say "how often a rollout succeeds, and what a first solution costs: rollouts against trees"
for k in $SIZES; do
    [ -e "$OUT/rates/bag-$k.txt" ] && continue
    "$DEEPSEARCH" bench search "$HEADLINE/bag-ours.toml" --model "$OUT/base-bag" --sizes "$k" --problems "$PROBLEMS" \
        --max-tokens "$LIMIT" >"$OUT/rates/bag-$k.txt.part" 2>"$OUT/log/search-$k" || die "see $OUT/log/search-$k"
    mv "$OUT/rates/bag-$k.txt.part" "$OUT/rates/bag-$k.txt"
done
cat "$OUT"/rates/bag-*.txt | grep -E '\|' | awk '!seen[$0]++' # one heading

say "tuning DAPO's learning rate, seed 1"
for task in $TASKS; do
    for k in $(sizes_of "$task"); do
        for rate in $RATES; do line "tuning/dapo-$task$k-lr$rate" dapo "$task" "$k" 1 "$rate"; done
    done
done | points

say "every method, seeds $SEEDS"
for task in $TASKS; do
    for k in $(sizes_of "$task"); do
        rate=$("${ANALYSE[@]}" best "$OUT/tuning" --runs "dapo-$task$k-lr*" --key learn.optimizer.lr --targets "$TARGETS")
        for seed in $SEEDS; do
            for method in $METHODS; do
                [ -e "$HEADLINE/$task-$method.toml" ] || continue
                own=
                if [ "$method" = dapo ]; then own=$rate; fi
                line "points/$method-$task$k-s$seed" "$method" "$task" "$k" "$seed" "$own"
            done
        done
    done
done | points

say "cost to the same held-out accuracy"
"${ANALYSE[@]}" cost "$OUT/points" --ours ours --targets "$TARGETS" --out "$OUT"
