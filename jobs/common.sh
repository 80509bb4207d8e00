# shellcheck shell=bash disable=SC2034
# Sourced by the other scripts here: where things are, and how MPI is started on one machine.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export DEEPSEARCH_CACHE=${DEEPSEARCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/deepsearch}
VENV=$DEEPSEARCH_CACHE/venv
TORCH_VERSION=2.11.0
LIBTORCH_HOME=$DEEPSEARCH_CACHE/libtorch-$TORCH_VERSION

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# The comment that the calling script begins with.
help_text() { awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"; }

cores() { nproc 2>/dev/null || echo 1; }

# The program of this checkout, or of the installed tree that this file lies in.
program_here() {
    local installed=$REPO/../../bin/deepsearch
    if [ ! -x "$REPO/build/release/deepsearch" ] && [ -x "$installed" ]; then
        realpath "$installed"
    else
        echo "$REPO/build/release/deepsearch"
    fi
}

# launcher N: fills LAUNCH with what starts N ranks on this machine, nothing for one. Ranks may outnumber cores, so they
# yield while they wait.
launcher() {
    LAUNCH=()
    [ "$1" -gt 1 ] || return 0
    if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
    LAUNCH=(mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 --mca btl_base_warn_component_unused 0 -n "$1")
}

# run_ranks N COMMAND…: N ranks, with a bar of progress where a person watches.
run_ranks() {
    launcher "$1"
    shift
    if [ -z "${DEEPSEARCH_PROGRESS:-}" ] && [ -t 1 ]; then export DEEPSEARCH_PROGRESS=bar; fi
    ${LAUNCH[@]+"${LAUNCH[@]}"} "$@"
}

# attempt_here VERB PREFIX ARGUMENTS…: `deepsearch VERB CONFIG`, or on with what is there, in PREFIX and the
# configuration's name; the arguments are those of jobs/train.sh and jobs/evaluate.sh.
attempt_here() {
    local verb=$1 prefix=$2 config=${3:-} run='' ranks=1 more=()
    case $config in
    '' | -h | --help) help_text && exit 0 ;;
    -*) die "the configuration comes first (try --help)" ;;
    esac
    shift 3
    while [ $# -gt 0 ]; do
        case $1 in
        --run) run=${2:?--run needs a folder} && shift 2 ;;
        --ranks) ranks=${2:?--ranks needs a number} && shift 2 ;;
        *) more+=("$1") && shift ;;
        esac
    done
    case $ranks in '' | *[!0-9]* | 0) die "--ranks $ranks: a whole number from 1 on is wanted" ;; esac
    run=${run:-$prefix$(basename "$config" .toml)}
    DEEPSEARCH=${DEEPSEARCH:-$(program_here)}
    [ -x "$DEEPSEARCH" ] || die "$DEEPSEARCH: no such program; build it (INSTALL.md) or set DEEPSEARCH"
    "$DEEPSEARCH" config "$config" >/dev/null
    launcher "$ranks"
    exec "$REPO/slurm/attempt.sh" "$run" ${LAUNCH[@]+"${LAUNCH[@]}"} "$DEEPSEARCH" "$verb" "$config" --run "$run" \
        --resume ${more[@]+"${more[@]}"}
}

# build PRESET TARGET [CMAKE OPTIONS…]: configure when needed, then build ("all": the tests too).
build() {
    local preset=$1 target=$2
    shift 2
    (cd "$REPO" && cmake --preset "$preset" "$@" >/dev/null && cmake --build --preset "$preset" --target "$target" -j "$(cores)")
}
