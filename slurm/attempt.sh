#!/usr/bin/env bash
# One attempt at a run, the same inside a Slurm job and without. Started by train.sbatch, sweep.sbatch, jobs/train.sh
# and `deepsearch sweep run`.
#
#   slurm/attempt.sh RUN COMMAND…
#
# COMMAND is a launcher with `deepsearch train … --run RUN --resume`; "--logs RUN/log/attempt-N" is put behind it.
#
#   RUN/log/attempt-N/output.txt   what it printed; rank-NNNN.log beside it
#   RUN/log/attempt-N/exit         its exit code, and below that why it failed; absent while it runs, or when it was killed
#   RUN/log/latest                 the newest attempt
#   RUN/log/done                   all steps are done: further attempts end at once with 0
#
# SIGUSR1, SIGUSR2, SIGTERM, SIGINT: passed on as SIGUSR1, at which a run writes a checkpoint and ends with 75.
# DEEPSEARCH_UNTIL=STEP: a run that stopped at that step by [run].stop_after has done what was asked: 0.
# DEEPSEARCH_QUIET: what the run prints goes to its file only; so it does in a job.
# DEEPSEARCH_SRUN_PATIENCE (40): seconds that an srun which has reported failed ranks gets to end.
# In a Slurm job, unless DEEPSEARCH_REQUEUE=0: after 75 the job requeues itself; after a crash too, but at most
# DEEPSEARCH_MAX_FAILURES (3) times in a row without a new checkpoint. What was cancelled stays so.
set -uo pipefail
export LC_ALL=C.UTF-8

if [ $# -lt 2 ]; then
    sed -n '5,5s/^# *//p' "$0" >&2
    exit 2
fi
run=$1
shift
logs=$run/log

say() { printf '%s %s\n' "$(date '+%F %T')" "$*"; }

if [ -e "$logs/done" ]; then
    say "$run is done already"
    exit 0
fi
number=1
while [ -e "$logs/attempt-$number" ]; do number=$((number + 1)); done
attempt=$logs/attempt-$number
mkdir -p "$attempt" || exit 2
ln -sfn "attempt-$number" "$logs/latest"
{
    echo "host=$(hostname)"
    echo "pid=$$"
    echo "started=$(date +%s)"
    if [ -n "${SLURM_JOB_ID:-}" ]; then
        echo "job=$SLURM_JOB_ID"
        echo "restarts=${SLURM_RESTART_COUNT:-0}"
        echo "nodes=${SLURM_JOB_NODELIST:-}"
    fi
} >"$attempt/start"

newest_checkpoint() { find "$run/checkpoints" -maxdepth 1 -name 'step-*[0-9]' 2>/dev/null | sort | tail -n 1; }
before=$(newest_checkpoint)

# When the job ends: older Slurms do not say so themselves.
if [ -n "${SLURM_JOB_ID:-}" ] && [ -z "${SLURM_JOB_END_TIME:-}" ]; then
    end=$(timeout 30 squeue -h -j "$SLURM_JOB_ID" -o %e 2>/dev/null | head -n 1)
    if [ -n "$end" ] && end=$(date -d "$end" +%s 2>/dev/null); then export SLURM_JOB_END_TIME=$end; fi
fi

say "attempt $number: $*"
# A session of its own: what a terminal or Slurm sends to the group of this shell is passed on below, once.
start() {
    : >>"$attempt/output.txt" # there before `tail` looks for it
    setsid "$@" --logs "$attempt" >>"$attempt/output.txt" 2>&1 </dev/null &
    child=$!
    if [ -z "${SLURM_JOB_ID:-}" ]; then return; fi
    end_stuck_srun "$child" &
    watch=$!
}
# An srun that knows of a failed rank ends the others and itself. Of the two steps of a heterogeneous job it sometimes
# misses the end of one and waits for ever, the nodes with it; so it does when one of the two could not be launched.
end_stuck_srun() {
    local waited=0 patience=${DEEPSEARCH_SRUN_PATIENCE:-40}
    trap - USR1 USR2 TERM INT
    while kill -0 "$1" 2>/dev/null; do
        sleep 2
        if tail -c 65536 "$attempt/output.txt" | grep -aqE '^srun: (error: .*: (Exited|Killed|Terminated)|error: Application launch failed|Force Terminated)'; then
            waited=$((waited + 2))
        fi
        if [ $waited -gt "$patience" ]; then
            say "srun has not ended $patience s after ranks failed: killed"
            kill -KILL -- "-$1"
        fi
    done
}
watch=
start "$@"
asked=
# shellcheck disable=SC2317 # called by the traps
stop() {
    say "$1: asking for a checkpoint"
    asked=$1
    kill -USR1 "$child" 2>/dev/null
}
trap 'stop SIGUSR1' USR1
trap 'stop SIGUSR2' USR2
trap 'stop SIGTERM' TERM
trap 'stop SIGINT' INT
show=
if [ -z "${SLURM_JOB_ID:-}" ] && [ -z "${DEEPSEARCH_QUIET:-}" ]; then
    # Its own session too: Ctrl-C is for the run.
    setsid tail -n +1 -f --pid="$child" "$attempt/output.txt" &
    show=$!
fi
code=0
again=2
while true; do
    wait "$child"
    code=$?
    if kill -0 "$child" 2>/dev/null; then continue; fi
    # A node that lost its slurmstepd does not start a step of the same number, which the job's requeueing gave: srun's
    # next has another.
    if [ $code = 0 ] || [ -n "$asked" ] || [ $again = 0 ] || [ -z "${SLURM_JOB_ID:-}" ] ||
        ! grep -aq 'aborted before step completely launched' "$attempt/output.txt"; then
        break
    fi
    again=$((again - 1))
    say "srun could not start the ranks: once more. $(grep -a 'launch failed' "$attempt/output.txt" | tail -n 1)"
    mv "$attempt/output.txt" "$attempt/output-not-started-$again.txt"
    start "$@"
done
if [ -n "$show" ]; then wait "$show"; fi
if [ -n "$watch" ]; then kill "$watch" 2>/dev/null; fi
# srun ends the other ranks when the first is gone, and returns the highest of all codes: the first one tells why.
case $code in
0 | 2 | 75) ;;
*)
    first=$(grep -aoE '^srun: error: .* Exited with exit code [0-9]+' "$attempt/output.txt" | head -n 1)
    case ${first##* } in 2 | 75) code=${first##* } ;; esac
    ;;
esac

reason() {
    case $code in
    0 | 75) ;;
    *) { grep -aE 'error( [0-9]+)?: |is stuck in|was silent|exited on signal|Killed|oom' "$attempt/output.txt" ||
        tail -n 1 "$attempt/output.txt"; } | head -n 1 | cut -c -300 ;;
    esac
}
{
    echo "$code"
    reason
} >"$attempt/.exit" && mv "$attempt/.exit" "$attempt/exit"
if [ "$code" = 0 ]; then
    date '+%F %T' >"$logs/.done" && mv "$logs/.done" "$logs/done"
    say "all steps are done"
    exit 0
fi
say "attempt $number ended with exit code $code${asked:+ after $asked}. $(reason)"

if [ "$code" = 75 ] && [ -n "${DEEPSEARCH_UNTIL:-}" ]; then
    reached=$(newest_checkpoint)
    if [ "$((10#${reached##*step-}))" -ge "$DEEPSEARCH_UNTIL" ]; then
        say "step $DEEPSEARCH_UNTIL is reached: the sweep decides whether it goes on"
        exit 0
    fi
fi
if [ -z "${SLURM_JOB_ID:-}" ] || [ "${DEEPSEARCH_REQUEUE:-1}" = 0 ]; then exit "$code"; fi
# Cancelled, or requeued by Slurm: then it is completing, and what follows is not for this script to decide.
state=$(timeout 30 squeue -h -j "$SLURM_JOB_ID" -o %T 2>/dev/null | head -n 1)
if [ "$state" != RUNNING ]; then exit "$code"; fi
if [ "$code" = 2 ] || [ "$code" = 130 ]; then exit "$code"; fi
if [ "$code" != 75 ]; then
    failures=0
    if [ "$(newest_checkpoint)" = "$before" ]; then failures=$(cat "$logs/failures" 2>/dev/null || echo 0); fi
    failures=$((failures + 1))
    echo "$failures" >"$logs/failures"
    if [ $failures -ge "${DEEPSEARCH_MAX_FAILURES:-3}" ]; then
        say "failed $failures times in a row without a new checkpoint: given up"
        exit "$code"
    fi
else
    rm -f "$logs/failures"
fi
say "requeueing job $SLURM_JOB_ID (restarts so far: ${SLURM_RESTART_COUNT:-0})"
timeout 60 scontrol requeue "${SLURM_HET_JOB_ID:-$SLURM_JOB_ID}" || say "scontrol requeue failed: submit again, the run goes on"
exit "$code"
