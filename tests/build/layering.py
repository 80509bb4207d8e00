"""Checks that every folder of src/ includes only itself and folders above it, and that third-party headers are named
only where they belong. Standard library only: `python3 tests/build/layering.py [SRC]`; exit code 1 and one line a
violation otherwise.
"""

import re
import sys

from sources import files_of, root_of, told, without_comments

# The rule, read once: a folder may use those before it.
ORDER = [
    "core",
    "cluster",
    "data",
    "tokenizer",
    "verify",
    "search",
    "schedule",
    "comm",
    "store",
    "sweep",
    "model",
    "engine",
    "simulate",
    "learn",
    "rounds",
    "run",
    "evaluate",
    "measure",
    "commands",
]

# What a header is, and the folders that may name it.
OWNERS = [
    ("MPI", re.compile(r"^mpi(-ext)?\.h$|^openmpi/"), {"comm"}),
    ("NCCL", re.compile(r"^nccl"), {"comm"}),
    ("HDF5", re.compile(r"^(hdf5|H5)[^/]*$|^hdf5/"), {"store"}),
    ("zlib", re.compile(r"^zlib\.h$"), {"store"}),
    ("LibTorch", re.compile(r"^(torch|ATen|c10|caffe2)/"), {"learn"}),
    ("CUDA", re.compile(r"^(cuda|cublas)"), {"comm", "engine"}),
    ("PCRE2 and utf8proc", re.compile(r"^(pcre2|utf8proc)\.h$"), {"tokenizer"}),
    ("GMP and MPFR", re.compile(r"^(gmp|gmpxx|mpfr)\.h$"), {"verify"}),
    ("toml++ (core/toml.h sets it up)", re.compile(r"^toml\+\+/|^toml\.hpp$"), {"core"}),
]

INCLUDE = re.compile(r'^\s*#\s*include(?:_next)?\s*(?:<([^>]+)>|"([^"]+)")')
GENERATED = {"deepsearch_version.h"}


def includes_of(text):
    """(line number, header, written in quotes) of each include line."""
    for number, line in enumerate(without_comments(text).splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found[1] or found[2], found[2] is not None


def complaint(folder, header, quoted):
    """What is wrong with `header` in a file of `folder`, or None."""
    first = header.split("/")[0]
    if first in ORDER and "/" in header:
        if ORDER.index(first) > ORDER.index(folder):
            return f"{folder} may not include {header}: {first} lies below it"
        return "write the path without .." if ".." in header.split("/") else None
    if quoted and header not in GENERATED:
        return f'write "{header}" as "folder/file", or in <> when it is not ours'
    for name, pattern, folders in OWNERS:
        if pattern.search(header) and folder not in folders:
            return f"{folder} may not include {header}: only {', '.join(sorted(folders, key=ORDER.index))} use {name}"
    return None


def violations(src):
    """One line a violation over all files below `src`."""
    files = files_of(src)
    for path in files:
        parts = path.relative_to(src).parts
        if len(parts) < 2 or parts[0] not in ORDER:
            yield f"{path}:1: lies in no folder of the order ({', '.join(ORDER)})"
            continue
        for number, header, quoted in includes_of(path.read_text(encoding="utf-8")):
            problem = complaint(parts[0], header, quoted)
            if problem:
                yield f"{path}:{number}: {problem}"
    if not files:
        yield f"{src}: no source files"


def main(arguments):
    return told(violations(root_of(arguments, "src")), "layering: every include keeps the order")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
