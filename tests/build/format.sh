#!/usr/bin/env bash
# Every C++ and CUDA file of src/ and tests/ is as clang-format writes it (.clang-format). Exit code 77: not installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if ! command -v clang-format > /dev/null; then
  echo "clang-format is not installed; nothing checked"
  exit 77
fi
find src tests -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
  xargs -0 -r clang-format --dry-run --Werror
