"""python -m deepsearch_analysis report RUN [--out DIR] | summary RUN"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deepsearch_analysis.codes import RunError
from deepsearch_analysis.reader import Run


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="deepsearch_analysis", description="Reads and draws runs of DeepSearch for HPC."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser("report", help="write report.png and report.html")
    report.add_argument("run", type=Path, help="the run's folder (holds run.h5); it may still be growing")
    report.add_argument("--out", type=Path, default=None, help="where to write (default: the run's folder)")
    summary = commands.add_parser("summary", help="print the main numbers")
    summary.add_argument("run", type=Path)
    options = parser.parse_args(arguments)
    try:
        with Run(options.run) as run:
            if options.command == "report":
                from deepsearch_analysis.report import write_report

                for path in write_report(run, options.out or options.run):
                    print(path)
            else:
                from deepsearch_analysis.summary import summary as text

                print(text(run))
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
