"""The command line: report, tree, compare, sweep, cost, best, watch, export, summary."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from deepsearch_analysis.codes import RunError
from deepsearch_analysis.reader import Run


def _say(paths: Iterable[Path]) -> None:
    for path in paths:
        print(path)


def _report(options: argparse.Namespace) -> None:
    from deepsearch_analysis.report import write_report

    with Run(options.run) as run:
        _say(write_report(run, options.out or options.run))


def _tree(options: argparse.Namespace) -> None:
    from deepsearch_analysis.tree_page import write_tree_pages

    with Run(options.run) as run:
        _say(write_tree_pages(run, options.key, options.out or options.run, options.others))


def _compare(options: argparse.Namespace) -> None:
    from deepsearch_analysis.compare import write_comparison
    from deepsearch_analysis.groups import final_table, find_runs, markdown, missing_points, read_runs, search_table
    from deepsearch_analysis.html import number

    sweep = options.command == "sweep"
    folders = find_runs(options.folder) if sweep else options.run
    runs = read_runs(folders, options.by)
    if not sweep and runs.warnings and len(runs.table) < len(folders):
        raise RunError(runs.warnings[0])
    if sweep and (missing := missing_points(options.folder)):
        shown = ", ".join(missing[:4]) + (", …" if len(missing) > 4 else "")
        runs.warnings.append(f"{len(missing)} points of the sweep have no run.h5 yet: {shown}")
    for line in runs.warnings:
        print(f"warning: {line}", file=sys.stderr)
    print(markdown(final_table(runs), number), markdown(search_table(runs), number), sep="\n\n", end="\n\n")
    out = options.out or (options.folder if sweep else Path())
    _say(write_comparison(runs, out, metric=options.metric, sweep=sweep))


def _cost(options: argparse.Namespace) -> None:
    from deepsearch_analysis.cost import Learning, read_curves, read_learning, with_more
    from deepsearch_analysis.cost_page import write_cost
    from deepsearch_analysis.groups import find_runs

    runs: list[Learning] = []
    for source in options.source:
        own = read_curves(source) if source.is_file() else [read_learning(folder) for folder in find_runs(source)]
        runs = with_more(runs, own)
    first = options.source[0]
    out = options.out or (first.parent if first.is_file() else first)
    _say(write_cost(runs, options.ours, options.targets, out))


def _best(options: argparse.Namespace) -> None:
    from deepsearch_analysis.cost import best_of, read_learning

    folders = sorted(folder for folder in options.folder.glob(options.runs) if (folder / "run.h5").exists())
    if not folders:
        raise RunError(f"{options.folder}: no run named {options.runs}")
    best = folders[best_of([read_learning(folder) for folder in folders], options.targets)]
    with Run(best) as run:
        value = run.config
        for part in options.key.split("."):
            if not isinstance(value, dict) or part not in value:
                raise RunError(f"{best}: its config has no {options.key}")
            value = value[part]
    print(value)


def _watch(options: argparse.Namespace) -> None:
    from deepsearch_analysis.watch import watch

    watch(options.run, options.seconds, once=options.once)


def _export(options: argparse.Namespace) -> None:
    from deepsearch_analysis.export import export

    with Run(options.run) as run:
        _say(export(run, options.to, options.out or options.run / f"export-{options.to}"))


def _summary(options: argparse.Namespace) -> None:
    from deepsearch_analysis.summary import summary

    with Run(options.run) as run:
        print(summary(run))


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text}: more than 0 is wanted")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text}: 0 or more is wanted")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepsearch-analysis", description="Reads and draws runs of DeepSearch for HPC."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(
        name: str, work: Callable[[argparse.Namespace], None], about: str, *, run: bool = True
    ) -> argparse.ArgumentParser:
        own = commands.add_parser(name, help=about, description=about)
        own.set_defaults(work=work)
        if run:
            own.add_argument("run", type=Path, help="the run's folder (holds run.h5); it may still be growing")
        return own

    def out(own: argparse.ArgumentParser, default: str) -> None:
        own.add_argument("--out", type=Path, default=None, help=f"where to write (default: {default})")

    out(command("report", _report, "write report.html and its pictures"), "the run's folder")
    tree = command("tree", _tree, "write one interactive page a key: the tree to zoom, fold, search and replay")
    tree.add_argument("key", nargs="+", help="a tree's name (s0000-a01-0001:12), a problem's id or key, or: rescue "
                      "(solved where all direct rollouts failed), solved, largest")  # fmt: skip
    tree.add_argument("--others", type=_count, default=8, help="further trees on the page: of the problem, of its step")
    out(tree, "the run's folder")
    compare = command("compare", _compare, "runs beside each other: curves, final table, search table", run=False)
    compare.add_argument(
        "run", nargs="+", type=Path, help="run folders; those that differ in the seed only are one group"
    )
    sweep = command(
        "sweep", _compare, "all runs below a folder: also main effects, best point, parallel coordinates", run=False
    )
    sweep.add_argument("folder", type=Path, help="holds run folders at any depth")
    for own, where in ((compare, "here"), (sweep, "the folder")):
        own.add_argument("--by", type=lambda t: t.split(","), default=[], help="config keys that make a group, as "
                         "search.width,search.order (default: all that differ, except seeds and machines)")  # fmt: skip
        own.add_argument("--metric", choices=("pass_at_1", "pass_at_k"), default="pass_at_1")
        out(own, where)
    cost = command(
        "cost", _cost, "cost to the same held-out accuracy, method against method, over base policies", run=False
    )
    cost.add_argument("source", type=Path, nargs="+", metavar="FOLDER|CURVES.csv",
                      help="holds run folders named METHOD-…, at any depth; or the cost-curves.csv of earlier ones. "
                           "A run that two have is taken from the first")  # fmt: skip
    cost.add_argument("--ours", required=True, help="the method that the others are divided by")
    cost.add_argument("--targets", type=lambda t: [float(x) for x in t.split(",")], default=[0.05, 0.1, 0.2, 0.3, 0.5],
                      help="accuracies, as 0.05,0.1 (default: 0.05,0.1,0.2,0.3,0.5)")  # fmt: skip
    out(cost, "the first folder")
    best = command("best", _best, "the value of a key in the best of some runs, as tuning wants it", run=False)
    best.add_argument("folder", type=Path, help="holds the run folders")
    best.add_argument("--runs", default="*", help="their names, as a pattern (default: *)")
    best.add_argument("--key", required=True, help="as learn.optimizer.lr")
    best.add_argument("--targets", type=lambda t: [float(x) for x in t.split(",")], default=[0.05, 0.1, 0.2, 0.3, 0.5],
                      help="best: the highest of these accuracies, for the least cost")  # fmt: skip
    watch = command("watch", _watch, "a running job in the terminal, until it ends")
    watch.add_argument("--seconds", type=_positive, default=2.0, help="between two looks")
    watch.add_argument("--once", action="store_true", help="print once and leave")
    export = command("export", _export, "its tables for other tools")
    export.add_argument("--to", required=True, choices=("parquet", "jsonl", "tensorboard"))
    out(export, "export-FORMAT in the run's folder")
    command("summary", _summary, "print the main numbers")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        options.work(options)
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # as a place that cannot be written
        print(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
