#!/usr/bin/env bash
# A folder that runs on a machine with a GPU, CUDA 13 and PyTorch 2.11 and little else: the program, the CUDA engine's
# tests, and the shared libraries that such a machine lacks. A few tens of MB.
#
#   jobs/bundle.sh OUT [--build DIR]      (default: build/release; the targets deepsearch, test_engine_cuda,
#                                          bench_engine_cuda and test_learn must be built)
#
# Not taken along: libc and the compiler's runtime, CUDA's libraries and NCCL, LibTorch. On the other machine:
#
#   OUT/run.sh deepsearch bench …         finds PyTorch's libraries (python3 -c 'import torch', or $LIBTORCH)
#   OUT/jobs/gpu_check.sh                 everything that needs a GPU, and a report
#   sbatch OUT/slurm/gpu_check.sbatch     the same as a Slurm job, from OUT
set -euo pipefail
# shellcheck source=jobs/common.sh
source "$(dirname "$0")/common.sh"

BUILD=$REPO/build/release OUT=
LIMIT_MB=60
while [ $# -gt 0 ]; do
    case $1 in
    --build) BUILD=${2:?--build needs a folder} && shift 2 ;;
    -h | --help) help_text && exit 0 ;;
    -*) die "unknown option '$1' (try --help)" ;;
    *) OUT=$1 && shift ;;
    esac
done
[ -n "$OUT" ] || die "where to? (try --help)"
if [ -e "$OUT" ] && [ ! -e "$OUT/run.sh" ]; then die "$OUT exists and is no bundle"; fi

PROGRAMS=("$BUILD/deepsearch" "$BUILD/tests/engine/cuda/test_engine_cuda" "$BUILD/tests/engine/cuda/bench_engine_cuda"
    "$BUILD/tests/test_learn")
for program in "${PROGRAMS[@]}"; do
    [ -x "$program" ] || die "$program: not built (cmake --build $BUILD --target $(basename "$program"))"
done

# What the other machine has, by the beginning of its name.
PRESENT='^(ld-linux|linux-vdso|lib(c|m|dl|pthread|rt|util|resolv|stdc\+\+|gcc_s|gomp)\.so'
PRESENT+='|libtorch|libc10|libcu|libnv|libnccl|libcaffe2)'
# Networks that Open MPI's plugins are made for; a bundle is for one machine.
NETWORKS='libucp|libucs|libfabric|libpsm|libibverbs|librdmacm|libefa'

# libraries_of FILE…: "name path" of everything they load that is to be taken along.
libraries_of() {
    local file
    for file in "$@"; do ldd "$file" | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }'; done |
        sort -u | grep -vE "$PRESENT" || true
}

rm -rf "$OUT"
mkdir -p "$OUT/bin" "$OUT/lib" "$OUT/jobs" "$OUT/slurm"
cp "${PROGRAMS[@]}" "$OUT/bin/"

say "Open MPI: plugins and texts"
PLUGINS=$(ompi_info --parsable --path pkglibdir | cut -d: -f3 | tail -1)
DATA=$(ompi_info --parsable --path pkgdatadir | cut -d: -f3 | tail -1)
PREFIX=$(ompi_info --parsable --path prefix | cut -d: -f3 | tail -1)
# Open MPI looks below OPAL_PREFIX as it did below its own prefix.
mkdir -p "$OUT/openmpi${PLUGINS#"$PREFIX"}" "$OUT/openmpi${DATA#"$PREFIX"}"
TAKEN=()
for plugin in "$PLUGINS"/mca_*.so; do
    if ldd "$plugin" | grep -qE "$NETWORKS|not found"; then continue; fi
    TAKEN+=("$plugin")
done
cp "${TAKEN[@]}" "$OUT/openmpi${PLUGINS#"$PREFIX"}/"
cp -r "$DATA/." "$OUT/openmpi${DATA#"$PREFIX"}/"

say "libraries"
libraries_of "${PROGRAMS[@]}" "${TAKEN[@]}" | while read -r name path; do cp -L "$path" "$OUT/lib/$name"; done
find "$OUT/bin" "$OUT/lib" "$OUT/openmpi" -type f \( -perm -u+x -o -name '*.so*' \) -exec strip --strip-unneeded {} +

cp "$REPO/jobs/gpu_check.sh" "$OUT/jobs/"
cp "$REPO/slurm/gpu_check.sbatch" "$OUT/slurm/"
cat >"$OUT/run.sh" <<'EOF'
#!/usr/bin/env bash
# run.sh PROGRAM [ARGUMENT…]: a program of this bundle with the bundle's libraries, PyTorch's and CUDA's.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ $# = 0 ]; then
    echo "usage: $0 PROGRAM [ARGUMENT…]; programs: $(ls "$HERE/bin" | tr '\n' ' ')" >&2
    exit 2
fi
# Without loading PyTorch, which takes seconds: its folder is all that is wanted.
FIND='import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")'
TORCH=${LIBTORCH:-$(python3 -c "$FIND" 2>/dev/null || true)}
paths=$HERE/lib
if [ -n "$TORCH" ] && [ -e "$TORCH/lib/libtorch_cpu.so" ]; then
    paths+=:$TORCH/lib
    for folder in "$TORCH"/../nvidia/*/lib; do
        if [ -d "$folder" ]; then paths+=:$folder; fi
    done
elif [ "$1" = deepsearch ]; then
    echo "run.sh: no PyTorch here: install it, or set LIBTORCH to the folder that holds its lib/" >&2
    exit 2
fi
for folder in "${CUDA_HOME:-/usr/local/cuda}/lib64"; do
    if [ -d "$folder" ]; then paths+=:$folder; fi
done
export LD_LIBRARY_PATH=$paths${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export OPAL_PREFIX=$HERE/openmpi
# One process, no daemon of Open MPI's.
export OMPI_MCA_ess_singleton_isolated=1 OMPI_MCA_btl_base_warn_component_unused=0
program=$1
shift
exec "$HERE/bin/$program" "$@"
EOF
chmod +x "$OUT/run.sh" "$OUT/jobs/gpu_check.sh"

say "checking"
# Every library that is neither here nor expected on the other machine would be missed there.
MISSED=$(for file in "$OUT"/bin/* "$OUT"/lib/*; do LD_LIBRARY_PATH="$OUT/lib" ldd "$file"; done |
    awk -v lib="$(cd "$OUT" && pwd)/lib/" '$2 == "=>" && index($3, lib) != 1 { print $1 }' |
    sort -u | grep -vE "$PRESENT" || true)
[ -z "$MISSED" ] || die "not in the bundle: $MISSED"
SIZE_MB=$(du -sm --apparent-size "$OUT" | cut -f1)
[ "$SIZE_MB" -lt "$LIMIT_MB" ] || die "$OUT has $SIZE_MB MB, more than $LIMIT_MB"
say "$OUT: $SIZE_MB MB, $(find "$OUT/lib" -type f | wc -l) libraries"
