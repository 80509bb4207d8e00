#!/usr/bin/env bash
# Where does search pay? Makes base policies, measures how rarely they succeed and what a first solution costs by
# rollouts and by trees, trains every method from them to the same held-out accuracy, and draws what each spent.
#
#   jobs/headline.sh [--quick | --whole] [--out DIR] [--at-once N]   (default: runs/headline, as many at once as cores)
#
# Somewhat over an hour on 2 cores: bags of 8, 12 and 16 operators, chain and countdown with three seeds, bags of 20 with
# one, and the paper's own configuration on bags of 8. --quick: three minutes, two sizes and methods. --whole: hours,
# three seeds of everything, bags of 24 and branching rollouts too. What is done is not done again, and a run that was
# interrupted goes on. configs/headline/ has the methods, the target and the stopping rule; docs/headline.md what came
# of it.
set -euo pipefail
# shellcheck source=jobs/common.sh
source "$(dirname "$0")/common.sh"

QUICK='' WHOLE='' OUT=$REPO/runs/headline AT_ONCE=$(cores)
while [ $# -gt 0 ]; do
    case $1 in
    --quick) QUICK=1 && shift ;;
    --whole) WHOLE=1 && shift ;;
    --out) OUT=$(realpath -m "${2:?--out needs a folder}") && shift 2 ;;
    --at-once) AT_ONCE=${2:?--at-once needs a number} && shift 2 ;;
    -h | --help) help_text && exit 0 ;;
    *) die "unknown option '$1' (try --help)" ;;
    esac
done
[ -z "$QUICK" ] || [ -z "$WHOLE" ] || die "--quick and --whole: one of them is wanted"
case $AT_ONCE in '' | 0 | *[!0-9]*) die "--at-once $AT_ONCE: a number above 0 is wanted" ;; esac
export DEEPSEARCH=${DEEPSEARCH:-$(program_here)}
[ -x "$DEEPSEARCH" ] || die "$DEEPSEARCH is not there: build first (jobs/quickstart.sh does, or INSTALL.md)"
export DEEPSEARCH_HOME=${DEEPSEARCH_HOME:-$REPO}
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
HEADLINE=$REPO/configs/headline
mkdir -p "$OUT/points" "$OUT/tuning" "$OUT/rates" "$OUT/log"

# Long runs first, so that the last of a pool are short. Nobody but ours learns on bags of more than 16, so that there
# is nothing to tune a rate by: DAPO takes that of 16 there.
TASKS="bag chain countdown" SIZES="20 16 12 8" RATES="0.0002 0.0003 0.0005" PROBLEMS=64 LIMIT=400000
TARGETS=0.002,0.003,0.005,0.01,0.02,0.04,0.08,0.2,0.25,0.3,0.35,0.5
if [ -n "$WHOLE" ]; then SIZES="24 $SIZES"; fi
if [ -n "$QUICK" ]; then TASKS=bag SIZES="16 8" RATES=0.0005 PROBLEMS=16 LIMIT=50000; fi

# base NAME: its base policy, once.
base() {
    [ -e "$OUT/base-$1/config.json" ] && return
    say "base policy: $1"
    "$DEEPSEARCH" sft "$HEADLINE/$1.toml" --out "$OUT/base-$1" --force >"$OUT/log/base-$1" 2>&1 || die "see $OUT/log/base-$1"
}

# point FOLDER CONFIG [OPTIONS…]: one training run, or what is left of it.
point() {
    local folder=$1 config=$2
    shift 2
    [ -e "$folder/done" ] && return
    local name log
    name=$(basename "$folder")
    log=$OUT/log/$name
    "$DEEPSEARCH" train "$config" --run "$folder" --resume --set run.checkpoint_minutes=5 "$@" >"$log" 2>&1 || {
        echo "error: $name: see $log" >&2
        return 1
    }
    touch "$folder/done"
    printf '    %-24s %s\n' "$name" "$(sed -n 's/^held-out Pass@1: //p' "$log" | tail -n 1)"
}

# first_solution SIZE: what it costs by rollouts and by trees, once. Where rollouts find next to nothing they stop early.
first_solution() {
    local limit=$LIMIT table=$OUT/rates/bag-$1.txt
    [ -e "$table" ] && return
    if [ "$1" -gt 16 ] && [ "$limit" -gt 20000 ]; then limit=20000; fi
    "$DEEPSEARCH" bench search "$HEADLINE/bag-ours.toml" --model "$OUT/base-bag" --sizes "$1" --problems "$PROBLEMS" \
        --max-tokens "$limit" >"$table.part" 2>"$OUT/log/search-$1" || {
        echo "error: bench search, size $1: see $OUT/log/search-$1" >&2
        return 1
    }
    mv "$table.part" "$table"
}
export -f point first_solution
export OUT HEADLINE PROBLEMS LIMIT

# pool COMMAND: a line of arguments each, at most AT_ONCE at a time.
pool() { xargs -P "$AT_ONCE" -d '\n' -I '{}' bash -c "$1 {}"; }

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
sizes_of() {
    case $1 in
    bag) echo "$SIZES" ;;
    chain) echo 10 ;;
    countdown) echo 4 ;;
    esac
}

seeds_of() { # SIZE
    if [ -n "$QUICK" ] || { [ -z "$WHOLE" ] && [ "$1" -gt 16 ]; }; then echo 1; else echo 1 2 3; fi
}

methods_of() { # TASK SIZE
    echo ours dapo
    if [ -z "$QUICK" ]; then echo control; fi
    if [ -n "$WHOLE" ] && [ "$1" = bag ]; then echo branch; fi
    if [ -z "$QUICK" ] && [ "$1" = bag ] && { [ -n "$WHOLE" ] || [ "$2" = 8 ]; }; then echo published; fi
}

tuned_as() { # TASK SIZE: the size whose rate it takes
    if [ "$1" = bag ] && [ "$2" -gt 16 ]; then echo 16; else echo "$2"; fi
}

for task in $TASKS; do base "$task"; done

say "how often a rollout succeeds, and what a first solution costs: rollouts against trees"
for k in $SIZES; do echo "$k"; done | pool first_solution
cat "$OUT"/rates/bag-*.txt | grep -E '\|' | awk '!seen[$0]++' # one heading

say "tuning DAPO's learning rate, seed 1"
for task in $TASKS; do
    for k in $(sizes_of "$task"); do
        [ "$(tuned_as "$task" "$k")" = "$k" ] || continue
        for rate in $RATES; do line "tuning/dapo-$task$k-lr$rate" dapo "$task" "$k" 1 "$rate"; done
    done
done | pool point

# own_rate METHOD TASK SIZE: the rate it was tuned to, nothing for a method whose configuration says it.
own_rate() {
    [ "$1" = dapo ] || return 0
    "${ANALYSE[@]}" best "$OUT/tuning" --runs "dapo-$2$(tuned_as "$2" "$3")-lr*" --key learn.optimizer.lr --targets "$TARGETS"
}

say "every method, three seeds where there is time for them"
for task in $TASKS; do
    for k in $(sizes_of "$task"); do
        for method in $(methods_of "$task" "$k"); do
            rate=$(own_rate "$method" "$task" "$k")
            for seed in $(seeds_of "$k"); do
                name=$method-$task$k-s$seed
                tuned=tuning/dapo-$task$k-lr$rate
                if [ "$method" = dapo ] && [ "$seed" = 1 ] && [ -e "$OUT/$tuned/done" ] && [ ! -e "$OUT/points/$name" ]; then
                    cp -r "$OUT/$tuned" "$OUT/points/$name" # the same run
                fi
                line "points/$name" "$method" "$task" "$k" "$seed" "$rate"
            done
        done
    done
done | pool point

say "cost to the same held-out accuracy"
"${ANALYSE[@]}" cost "$OUT/points" --ours ours --targets "$TARGETS" --out "$OUT"
