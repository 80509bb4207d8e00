#!/usr/bin/env bash
# Queues a training run with Slurm, after checking configuration, memory, ranks and disk. See docs/slurm.md.
#
#   jobs/submit.sh CONFIG [--run DIR] [--nodes N] [more options of `deepsearch submit`]
#                                                       (default: runs/NAME of the configuration's file)
#   jobs/submit.sh configs/quickstart.toml --nodes 2 --dry-run      prints the job's script and the rank map
#
# slurm/site.toml says what your cluster wants; DEEPSEARCH names another build of the program.
set -euo pipefail
# shellcheck source=jobs/common.sh
source "$(dirname "$0")/common.sh"

case ${1:-} in
'' | -h | --help) help_text && exit 0 ;;
-*) die "the configuration comes first (try --help)" ;;
esac
CONFIG=$1
shift
DEEPSEARCH=${DEEPSEARCH:-$(program_here)}
[ -x "$DEEPSEARCH" ] || die "$DEEPSEARCH: no such program; build it (INSTALL.md) or set DEEPSEARCH"
case " $* " in *" --run "* | *" --run="*) ;; *) set -- --run "runs/$(basename "$CONFIG" .toml)" "$@" ;; esac
exec "$DEEPSEARCH" submit "$CONFIG" "$@"
