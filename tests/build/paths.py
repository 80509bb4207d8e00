"""Checks that no tracked text file names a folder of one person's machine. `python3 tests/build/paths.py [ROOT]`."""

import re
import subprocess
import sys

from sources import root_of, told

# An absolute path, not the tail of a relative one ("a/home/") nor of an address; it may follow -I, -L or a colon.
MACHINE_PATH = re.compile(r"(?:(?<![\w.~$})/-])|(?<=-I)|(?<=-L))/(?:home|root|work|Users)/[\w.~$-]")


def tracked_files(root):
    listing = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=True).stdout
    return [root / name for name in listing.decode("utf-8").split("\0") if name]


def violations(files):
    for path in files:
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        if b"\0" in data[:8192]:
            continue
        for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), 1):
            found = MACHINE_PATH.search(line)
            if found:
                yield f"{path}:{number}: an absolute path of one machine: {line[found.start() : found.start() + 40]}"


def main(arguments):
    root = root_of(arguments)
    try:
        files = tracked_files(root)
    except (OSError, subprocess.CalledProcessError):
        print("paths: not a git checkout, nothing to check")
        return 77
    return told(violations(files), f"paths: {len(files)} files name no machine's folders")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
