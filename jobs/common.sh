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

# run_ranks N COMMAND…: N ranks on this machine. Ranks may outnumber cores, so they yield while they wait, use one
# thread each unless told otherwise.
run_ranks() {
    local n=$1
    shift
    if [ "$(id -u)" = 0 ]; then
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
    if [ -z "${DEEPSEARCH_PROGRESS:-}" ] && [ -t 1 ]; then export DEEPSEARCH_PROGRESS=bar; fi
    mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 \
        --mca btl_base_warn_component_unused 0 -n "$n" "$@"
}

# build PRESET TARGET [CMAKE OPTIONS…]: configure when needed, then build ("all": the tests too).
build() {
    local preset=$1 target=$2
    shift 2
    (cd "$REPO" && cmake --preset "$preset" "$@" >/dev/null && cmake --build --preset "$preset" --target "$target" -j "$(cores)")
}
