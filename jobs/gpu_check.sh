#!/usr/bin/env bash
# What needs a GPU: the tests of engine and learner, memory and race checks, a short whole run whose gradients go through
# NCCL, and timings. From a bundle (jobs/bundle.sh) or a checkout that is built. Under 8 minutes; exit code 1 when
# anything fails.
#
#   jobs/gpu_check.sh [--out DIR] [--no-sanitizer]      (default: gpu_check)
#   sbatch [--partition=…] slurm/gpu_check.sbatch [the same]      as a Slurm job
#
# DIR/report.txt tells what was run, how it ended, and the figures; the full output of each step lies beside it.
# --no-sanitizer is for machines without compute-sanitizer, whose absence is an error otherwise.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

OUT=gpu_check SANITIZE=1
while [ $# -gt 0 ]; do
    case $1 in
    --out) OUT=${2:?--out needs a folder} && shift 2 ;;
    --no-sanitizer) SANITIZE=0 && shift ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) echo "error: unknown option '$1' (try --help)" >&2 && exit 2 ;;
    esac
done
mkdir -p "$OUT"
REPORT=$OUT/report.txt
FAILED=()

say() { printf '%s\n' "$*" | tee -a "$REPORT"; }

# program NAME: how it is started here.
program() {
    if [ -x "$HERE/run.sh" ]; then
        echo "$HERE/run.sh $1"
    elif [ "$1" = deepsearch ]; then
        echo "$HERE/build/release/deepsearch"
    elif [ "$1" = test_learn ]; then
        echo "$HERE/build/release/tests/$1"
    else
        echo "$HERE/build/release/tests/engine/cuda/$1"
    fi
}

# step NAME SECONDS PATTERN COMMAND…: its output into a file; lines that match PATTERN, and the end when it fails, into
# the report.
step() {
    local name=$1 limit=$2 pattern=$3 log status=0 start=$SECONDS
    log=$OUT/$1.log
    shift 3
    timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 || status=$?
    say "== $name: $([ $status = 0 ] && echo passed || echo "FAILED (exit code $status)"), $((SECONDS - start)) s"
    grep -E "$pattern" "$log" | tee -a "$REPORT" || true
    if [ $status != 0 ]; then
        FAILED+=("$name")
        say "   the end of $log:"
        tail -n 25 "$log" | tee -a "$REPORT"
    fi
}

find_sanitizer() {
    local place
    for place in "$(command -v compute-sanitizer || true)" "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer" \
        "${CUDA_HOME:-/usr/local/cuda}/compute-sanitizer/compute-sanitizer"; do
        if [ -n "$place" ] && [ -x "$place" ]; then
            echo "$place"
            return
        fi
    done
}

: >"$REPORT"
say "DeepSearch GPU check, $(date -u '+%Y-%m-%d %H:%M UTC')"
if ! nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap,clocks.max.sm --format=csv,noheader >"$OUT/gpu.txt" 2>&1; then
    say "nvidia-smi found no GPU:"
    tee -a "$REPORT" <"$OUT/gpu.txt"
    exit 1
fi
tee -a "$REPORT" <"$OUT/gpu.txt"

read -r -a TESTS <<<"$(program test_engine_cuda)"
read -r -a BENCH <<<"$(program bench_engine_cuda)"
read -r -a DEEPSEARCH <<<"$(program deepsearch)"

# A skipped test is a failure here: there must be a GPU.
# on_gpu FILTER PROGRAM…
on_gpu() {
    local filter=$1 out=$OUT/tests.out
    shift
    "$@" --gtest_filter="$filter" --gtest_brief=1 | tee "$out" && ! grep -q SKIPPED "$out"
}
# checked NAME SECONDS FILTER PROGRAM…
checked() {
    local name=$1 limit=$2
    shift 2
    step "$name" "$limit" '^\[  (PASSED|FAILED)|Failure$' bash -c "$(declare -f on_gpu); set -o pipefail; OUT=${OUT@Q}; on_gpu ${*@Q}"
}
checked tests 90 '*gpu*' "${TESTS[@]}"
read -r -a LEARNER <<<"$(program test_learn)"
checked learner 60 'GpuLearner.*' "${LEARNER[@]}"

# A short whole run on the GPU, with all of NCCL that one rank can use.
cat >"$OUT/run.toml" <<'TOML'
[task]
name = "bag"
sizes = [2]

[model]
hidden_size = 64
n_layers = 2
n_heads = 2
n_kv_heads = 1
intermediate_size = 128
max_positions = 64

[search]
step_tokens = 0
max_depth = 0
width = 3
trajectories = 3

[sft]
steps = 300

[learn]
steps = 6
problems = 120
minibatch_problems = 40
overlong_penalty = 0.0

[eval]
every = 3
problems = 32
samples = 4
TOML
# whole_run PROGRAM…
whole_run() {
    "$@" sft "$OUT/run.toml" --out "$OUT/base" --force &&
        "$@" train "$OUT/run.toml" --run "$OUT/run" --force --set model.path="$OUT/base" \
            --set engine.device=cuda --set ranks.transport=nccl
}
step run 60 'gradients: |engine: |held-out|error' bash -c "$(declare -f whole_run); OUT=${OUT@Q}; whole_run ${DEEPSEARCH[*]@Q}"

if [ $SANITIZE = 1 ]; then
    SANITIZER=$(find_sanitizer)
    if [ -z "$SANITIZER" ]; then
        say "== sanitizer: FAILED, compute-sanitizer is not on this machine (--no-sanitizer to go without)"
        FAILED+=(sanitizer)
    else
        # Graphs and every kernel in bf16 and fp32; the long runs are left to the plain tests.
        KERNELS='*KernelTest*gpu*:*AttentionTest*gpu_bf16:*AttentionTest.PartsAndWaves/gpu_fp32:*CudaSampler*gpu*'
        step memcheck 80 'ERROR SUMMARY|PASSED|FAILED' "$SANITIZER" --tool memcheck --error-exitcode 9 --target-processes all \
            "${TESTS[@]}" --gtest_filter="$KERNELS:*BackendTest.GraphsChangeNothing/gpu_bf16" --gtest_brief=1
        step racecheck 80 'RACECHECK SUMMARY|ERROR SUMMARY|PASSED|FAILED' "$SANITIZER" --tool racecheck --error-exitcode 9 \
            --target-processes all "${TESTS[@]}" --gtest_filter="$KERNELS" --gtest_brief=1
    fi
fi

step backend 90 '^(decode|prompt|siblings|product)' "${BENCH[@]}"
SHAPE=(--shape qwen2-1.5b --device cuda --dtype bf16)
step decode 50 '.' "${DEEPSEARCH[@]}" bench decode "${SHAPE[@]}" --batches 1,8,64,256 --context 1024 --set engine.deterministic=false
step prefill 30 '.' "${DEEPSEARCH[@]}" bench prefill "${SHAPE[@]}"
step prefix 30 '.' "${DEEPSEARCH[@]}" bench prefix "${SHAPE[@]}" --prefix 8192 --children 8 --set engine.deterministic=false
step repeatable 50 '.' "${DEEPSEARCH[@]}" bench decode "${SHAPE[@]}" --batches 1,256 --context 1024 --set engine.deterministic=true
# A tree of the paper's shape: 8 trajectories of 64 steps of 256 tokens, 16k tokens a micro-batch.
step learn 120 '.' "${DEEPSEARCH[@]}" bench learn --shape qwen2-1.5b --cases deep --scale 1 --repetitions 2 \
    --set learn.compute=bf16 --set learn.checkpoint_activations=true --set learn.tokens_per_microbatch=16384

if [ ${#FAILED[@]} != 0 ]; then
    say "FAILED: ${FAILED[*]} (after $SECONDS s)"
    exit 1
fi
say "everything passed in $SECONDS s"
