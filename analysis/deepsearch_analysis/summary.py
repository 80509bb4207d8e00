"""The main numbers of a run as text."""

from __future__ import annotations

import numpy as np

from deepsearch_analysis import stats
from deepsearch_analysis.evaluation import has_evaluation, scores
from deepsearch_analysis.figures import percent
from deepsearch_analysis.reader import Run
from deepsearch_analysis.report import collect, duration, headline, hosts


def summary(run: Run) -> str:
    data = collect(run)
    lines = [f"run {run.name}"]

    def add(name: str, value: str) -> None:
        if value:
            lines.append(f"  {name:<22} {value}")

    for name in ("state", "rank_layout", "seed", "revision", "job_id"):
        add(name.replace("_", " "), run.attribute(name))
    add("hosts", ", ".join(sorted(set(hosts(run)))))
    add("wall time", duration(run))
    for k, curve in data.curves.items():
        change = f"{percent(curve.first)} → " if len(curve.steps) > 1 else ""
        add(f"held-out Pass@{k}", f"{change}{percent(curve.last)} at step {int(curve.steps[-1])}")
    if has_evaluation(run):
        for row in scores(run).itertuples():
            if row.measure == "pass" and row.k == 1:
                add(f"Pass@1 of {row.name}", f"{percent(row.value)} ({percent(row.low)} to {percent(row.high)})")
    for value, what in headline(data):
        if "Pass@" not in what and what != "wall time":
            add(what, value)
    shapes = data.shapes
    if len(shapes) and shapes.is_tree.any():
        for name, values in (("nodes per tree", shapes.nodes), ("depth of a tree", shapes.depth)):
            own = values[shapes.is_tree]
            add(name, f"median {np.median(own):g}, largest {own.max():g}")
    table = run.table("metrics/learner")
    for name, column in (("loss", "loss"), ("policy entropy", "policy_entropy")):
        curve = stats.metric(table, column)
        if curve is not None:
            add(name, f"{curve.first:.4g} → {curve.last:.4g}")
    for rank in data.ranks:
        total = sum(rank.seconds.values())
        add(f"time of {rank.who}", ", ".join(f"{p} {100 * s / total:.0f} %" for p, s in rank.seconds.items() if s > 0))
    lines += [f"  note: {note}" for note in run.notes]
    lines += [f"  warning: {w}" for w in shapes.warnings]
    return "\n".join(lines)
