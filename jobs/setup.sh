#!/usr/bin/env bash
# Puts in place what the build and the tests need: Debian packages, LibTorch, and a Python environment.
#
#   jobs/setup.sh [--build-only | --with-oracles] [--with-browser] [--with-slurm] [--check]
#
#   (default)       what building, running and the report need
#   --build-only    no Python environment
#   --with-oracles  also the PyPI packages that the oracle tests compare with
#   --with-browser  also Chromium, for the tests that open the analysis' pages
#   --with-slurm    also Slurm and munge, for the tests on a cluster of two nodes made on this machine (tests/slurm)
#   --check         change nothing; say what is missing and exit 1 if anything is
#
# Idempotent. Without root it works when the packages are there already (or come from modules, see INSTALL.md).
# LibTorch and the Python environment go to $DEEPSEARCH_CACHE (default: ~/.cache/deepsearch), shared by all checkouts.
set -euo pipefail
# shellcheck source=jobs/common.sh
source "$(dirname "$0")/common.sh"

PYTHON_ENV=1 ORACLES=0 BROWSER=0 SLURM=0 CHECK=0 MISSING=0
for arg in "$@"; do
    case $arg in
    --build-only) PYTHON_ENV=0 ;;
    --with-oracles) ORACLES=1 ;;
    --with-browser) BROWSER=1 ;;
    --with-slurm) SLURM=1 ;;
    --check) CHECK=1 ;;
    -h | --help)
        help_text
        exit 0
        ;;
    *) die "unknown option '$arg' (try --help)" ;;
    esac
done

# libFuzzer and the sanitizers' runtime of the clang that `clang` stands for; Debian names the version.
clang_runtime() {
    local version
    version=$(apt-cache depends clang 2>/dev/null | sed -n 's/^ *Depends: clang-\([0-9]\+\)$/\1/p' | head -n 1) || true
    echo "libclang-rt-${version:-14}-dev"
}

DEBIAN_PACKAGES=(build-essential cmake ninja-build ccache git unzip pkg-config python3 python3-venv python3-pip
    libopenmpi-dev openmpi-bin libhdf5-dev zlib1g-dev hdf5-tools libtomlplusplus-dev libcli11-dev libspdlog-dev libfmt-dev
    nlohmann-json3-dev libcereal-dev libpcre2-dev libutf8proc-dev libgmp-dev libmpfr-dev libgtest-dev libgmock-dev
    clang clang-format "$(clang_runtime)" shellcheck)
if [ $BROWSER = 1 ]; then DEBIAN_PACKAGES+=(chromium); fi
if [ $SLURM = 1 ]; then DEBIAN_PACKAGES+=(slurmctld slurmd slurm-client munge iproute2); fi

# needs WHAT: in --check mode count it and return false; otherwise say that it is being done.
needs() {
    if [ $CHECK = 1 ]; then
        echo "missing: $*"
        MISSING=1
        return 1
    fi
    say "$*"
}

check_processor() {
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || [ -e "${LIBTORCH:-}/lib/libtorch_cpu.so" ] ||
        die "the pinned LibTorch is for Linux on x86-64, this is $(uname -sm); set LIBTORCH to a LibTorch $TORCH_VERSION of your own"
}

install_packages() {
    local missing=() package
    if ! command -v dpkg-query >/dev/null; then
        say "no Debian packages on this system: relying on what is installed (see INSTALL.md)"
        return
    fi
    for package in "${DEBIAN_PACKAGES[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    if [ ${#missing[@]} = 0 ]; then return; fi
    needs "Debian packages: ${missing[*]}" || return 0
    local sudo=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null ||
            die "not root: ask an administrator for 'apt-get install ${missing[*]}', or use modules or Spack (INSTALL.md)"
        sudo=(sudo)
    fi
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

has_cuda_toolkit() { command -v nvcc >/dev/null || [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; }

# fetch_wheels REQUIREMENTS FOLDER: pip checks the SHA-256 of each; then they are unpacked side by side.
fetch_wheels() {
    local download wheel
    download=$(mktemp -d "$DEEPSEARCH_CACHE/download.XXXXXX")
    # The wheel's headers and libraries are wanted, not its Python side, so the interpreter here need not match.
    python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes --python-version 3.11 \
        --implementation cp --abi cp311 --abi none \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux2014_x86_64 \
        --dest "$download" -r "$1"
    for wheel in "$download"/*.whl; do unzip -q -o "$wheel" -d "$2"; done
    rm -rf "$download"
}

install_libtorch() {
    local home=$LIBTORCH_HOME want part
    if [ -n "${LIBTORCH:-}" ]; then
        [ -e "${LIBTORCH:-}/lib/libtorch_cpu.so" ] || die "LIBTORCH=$LIBTORCH holds no lib/libtorch_cpu.so"
        return
    fi
    want="libtorch"
    if has_cuda_toolkit; then want="libtorch libtorch-cuda"; fi
    for part in $want; do
        if [ -e "$home/.$part-complete" ]; then continue; fi
        needs "LibTorch $TORCH_VERSION: $part, into $home" || continue
        mkdir -p "$home"
        fetch_wheels "$REPO/jobs/requirements/$part.txt" "$home"
        touch "$home/.$part-complete"
    done
    if [ $CHECK = 0 ]; then
        grep -q "^Version: $TORCH_VERSION" "$home"/torch-*.dist-info/METADATA || die "$home holds another version of torch"
    fi
}

# install_python NAME: requirements NAME.txt into the environment, once per content of that file.
install_python() {
    local list=$REPO/jobs/requirements/$1.txt stamp
    stamp=$VENV/.$1-$(sha256sum "$list" | cut -c1-16)
    if [ -e "$stamp" ]; then return; fi
    needs "Python packages: $1, into $VENV" || return 0
    [ -x "$VENV/bin/python" ] || python3 -m venv "$VENV"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -r "$list"
    touch "$stamp"
}

check_processor
install_packages
if [ $CHECK = 0 ]; then mkdir -p "$DEEPSEARCH_CACHE"; fi
install_libtorch
if [ $PYTHON_ENV = 1 ]; then install_python python; fi
if [ $ORACLES = 1 ]; then install_python oracles; fi
if [ $CHECK = 1 ] && [ $MISSING = 0 ]; then say "nothing is missing"; fi
exit $MISSING
