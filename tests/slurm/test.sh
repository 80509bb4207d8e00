#!/usr/bin/env bash
# The tests of cluster_test.py on a cluster that is made for them. Exit code 77: it cannot be made here.
#
#   DEEPSEARCH=build/release/deepsearch tests/slurm/test.sh PYTHON [options of pytest]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${1:?which Python?}
shift
"$here/cluster.sh" check || exit $?
# Not ctest's variables of a job this may itself be part of.
unset "${!SLURM_@}"
exec "$here/cluster.sh" run "$python" -m pytest -q -p no:cacheprovider "$@" "$here/cluster_test.py"
