#!/usr/bin/env bash
# Sets up, builds and runs every test: C++ unit and golden cases, MPI runs, oracles, the analysis package, jobs on a
# Slurm cluster that is made for them.
#
#   jobs/test.sh [--full] [CTEST OPTIONS…]      e.g. jobs/test.sh -L unit
#
# --full: the slow cases too (DEEPSEARCH_SLOW_TESTS=1), and Slurm is installed where it can be. Without root or Slurm
# (jobs/setup.sh --with-slurm) its tests are skipped, and a line says so.
# DEEPSEARCH_CUDA=AUTO|ON|OFF chooses the build (default: ON where the CUDA toolkit is, else OFF).
# DEEPSEARCH_SHARED names the folder of benchmark sets and golden traces (default: ../shared); tests that need it say
# so and are skipped when it is absent.
set -euo pipefail
# shellcheck source=jobs/common.sh
source "$(dirname "$0")/common.sh"

if [ "${1:-}" = --full ]; then
    shift
    export DEEPSEARCH_SLOW_TESTS=1
fi
"$REPO/jobs/setup.sh" --with-oracles
if [ -n "${DEEPSEARCH_SLOW_TESTS:-}" ] && ! "$REPO/jobs/setup.sh" --build-only --with-slurm; then
    say "Slurm cannot be installed here"
fi
if [ -z "${DEEPSEARCH_CUDA:-}" ]; then
    if command -v nvcc >/dev/null || [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; then DEEPSEARCH_CUDA=ON; else DEEPSEARCH_CUDA=OFF; fi
fi
say "building (CUDA $DEEPSEARCH_CUDA)"
build release all -DDEEPSEARCH_CUDA="$DEEPSEARCH_CUDA" -DDEEPSEARCH_TESTS=ON
SLURM=$("$REPO/tests/slurm/cluster.sh" check 2>&1) || say "tests on a Slurm cluster: ${SLURM#cluster: }"
say "testing"
export DEEPSEARCH_SHARED=${DEEPSEARCH_SHARED:-$REPO/../shared}
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
cd "$REPO" && ctest --preset release -j "$(cores)" "$@"
