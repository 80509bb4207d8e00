"""Runs the fuzz program of the verifier, built with AddressSanitizer and UndefinedBehaviorSanitizer, over case files.

Exit code 77: the case files are not here. A finding, or a case that takes longer than libFuzzer's time limit, fails.
"""

import argparse
import base64
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def text_of(case, key):
    if key in case:
        return case[key].encode()
    if f"{key}_b64" in case:
        return base64.b64decode(case[f"{key}_b64"])
    return "".join(piece * count for piece, count in case[f"{key}_parts"]).encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    files = [arguments.data / name for name in ("cases.jsonl", "hostile.jsonl")]
    if not all(path.exists() for path in files):
        print(f"{arguments.data}: the case files are not here")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        inputs = []
        for path in files:
            for number, line in enumerate(path.read_text().splitlines()):
                case = json.loads(line)
                # The first line of an input is the reference.
                gold = text_of(case, "gold").replace(b"\n", b" ")
                inputs.append(Path(folder) / f"{path.stem}-{number}")
                inputs[-1].write_bytes(gold + b"\n" + text_of(case, "pred"))
        report = subprocess.run(
            [arguments.binary, "-timeout=5", "-rss_limit_mb=2048", *inputs], capture_output=True, text=True, check=False
        )
    print(report.stderr[-4000:] if report.returncode else f"{len(inputs)} cases, no finding")
    return 1 if report.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
