#!/usr/bin/env bash
# The tests of cluster_*_test.py on a cluster that is made for them. Exit code 77: it cannot be made here.
#
#   DEEPSEARCH=build/release/deepsearch tests/slurm/test.sh PYTHON [options of pytest]
#
# DEEPSEARCH_SLOW_TESTS=1: the slow ones too. After DEEPSEARCH_SLURM_SECONDS (default 840) it is given up and the cluster
# taken down.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${1:?which Python?}
shift
"$here/cluster.sh" check || exit $?
# Not ctest's variables of a job this may itself be part of.
unset "${!SLURM_@}"
exec "$here/cluster.sh" run timeout --signal=INT --kill-after=20 "${DEEPSEARCH_SLURM_SECONDS:-840}" \
    "$python" -m pytest -q -rs -p no:cacheprovider "$@" "$here"/cluster_*_test.py
