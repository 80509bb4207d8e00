#!/usr/bin/env bash
# Runs a fuzz program on its own seeds for some seconds.
#
#   run.sh BINARY NAME SECONDS
#
# A finding is written into the folder this is run in, and its name and stack are the last lines printed.
set -euo pipefail
binary=$1 name=$2 seconds=$3
here=$(cd "$(dirname "$0")" && pwd)
corpus=$(mktemp -d)
trap 'rm -rf "$corpus"' EXIT
"$binary" --seeds="$corpus"
[ -n "$(ls "$corpus")" ] || { echo "fuzz: $name wrote no seeds" >&2; exit 1; }
options=(-max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 -verbosity=1)
# shellcheck disable=SC2207 # words are options
if [ -e "$here/$name.options" ]; then options+=($(cat "$here/$name.options")); fi
if [ -e "$here/$name.dict" ]; then options+=(-dict="$here/$name.dict"); fi
# The clock is watched here too: what it starts (store: a process for each file) must not outlive it.
timeout --kill-after=10 $((seconds + 60)) "$binary" "${options[@]}" "$corpus" 2>&1 | tail -n 60
