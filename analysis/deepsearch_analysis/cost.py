"""What it costs to reach an accuracy, method against method: cost to the same held-out Pass@1, and its ratio.

Cost is generated + 3 x trained tokens, as `/metrics/eval` counts it (evaluations not included). The cost of an accuracy
is where a run's curve first crosses it, on a straight line between two evaluations. A run that never gets there has
spent what it has spent, and its cost is more than that: it bounds a ratio, and is never taken for a crossing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from deepsearch_analysis.reader import Run, RunError


@dataclass(frozen=True)
class Reach:
    """What a run spent until it was there; `reached` false: all that it spent without getting there."""

    cost: float
    reached: bool


@dataclass(frozen=True)
class Ratio:
    """Their cost over ours, the geometric mean over seeds; lowest and highest seed against seed.

    `kind`: "exact"; "at least", where they did not get there; "at most", where we did not; "open", where neither did.
    """

    value: float
    low: float
    high: float
    kind: str

    def __str__(self) -> str:
        if self.kind == "open":
            return "–"
        sign = {"exact": "", "at least": "≥ ", "at most": "≤ "}[self.kind]
        spread = f" ({self.low:.2g} … {self.high:.2g})" if self.low < self.high else ""
        return f"{sign}{self.value:.2f}{spread}"


def cost_to(costs: np.ndarray, accuracies: np.ndarray, target: float) -> Reach:
    """Where the curve first reaches `target`; costs rise."""
    if len(costs) == 0 or len(costs) != len(accuracies):
        raise ValueError("a cost for every accuracy, and one at least")
    there = np.flatnonzero(accuracies >= target)
    if not len(there):
        return Reach(float(costs[-1]), reached=False)
    at = int(there[0])
    if at == 0:
        return Reach(float(costs[0]), reached=True)
    share = (target - accuracies[at - 1]) / (accuracies[at] - accuracies[at - 1])
    return Reach(float(costs[at - 1] + share * (costs[at] - costs[at - 1])), reached=True)


def ratio(theirs: Sequence[Reach], ours: Sequence[Reach]) -> Ratio:
    """Of runs with the same seeds in the same order, or of any numbers of runs: then without a spread."""
    if not theirs or not ours:
        raise ValueError("a ratio wants runs on both sides")
    values = [np.log([max(r.cost, 1.0) for r in side]) for side in (theirs, ours)]
    value = float(np.exp(values[0].mean() - values[1].mean()))
    low = high = value
    if len(theirs) == len(ours):
        single = np.exp(values[0] - values[1])
        low, high = float(single.min()), float(single.max())
    they_do, we_do = (all(r.reached for r in side) for side in (theirs, ours))
    kind = ("exact" if we_do else "at most") if they_do else ("at least" if we_do else "open")
    return Ratio(value, low, high, kind)


@dataclass(frozen=True)
class Learning:
    """One run: its method, its problem sizes, its seed and what it reached at what cost."""

    method: str
    problems: str
    seed: int
    costs: np.ndarray
    pass_at_1: np.ndarray
    pass_at_k: np.ndarray
    k: int
    generated: np.ndarray
    trained: np.ndarray
    seconds: np.ndarray
    finished: bool


def read_learning(folder: Path) -> Learning:
    """Of a run folder; its method is the folder's name up to the first "-"."""
    with Run(folder) as run:
        table = run.metrics("eval")
        wanted = ("cost", "pass_at_1", "pass_at_k", "k", "tokens_generated", "tokens_trained", "elapsed")
        missing = [name for name in wanted if name not in table]
        if missing or not len(table):
            raise RunError(f"{folder}: /metrics/eval has no {missing[0] if missing else 'rows'}")
        columns = {name: table[name].to_numpy(dtype=float) for name in wanted}
        task = run.config["task"]
        return Learning(
            method=folder.name.split("-")[0],
            problems=f"{task['name']} {','.join(str(k) for k in task['sizes'])}",
            seed=int(run.attribute("seed")),
            costs=columns["cost"],
            pass_at_1=columns["pass_at_1"],
            pass_at_k=columns["pass_at_k"],
            k=int(columns["k"][-1]),
            generated=columns["tokens_generated"],
            trained=columns["tokens_trained"],
            seconds=columns["elapsed"],
            finished=run.attribute("state") == "finished",
        )


# Columns of curves_table(), and the field that each is.
_OF_RUN = ("method", "problems", "seed", "k", "finished")
_OF_POINT = {"cost": "costs", "pass_at_1": "pass_at_1", "pass_at_k": "pass_at_k", "generated": "generated",
             "trained": "trained", "seconds": "seconds"}  # fmt: skip


def curves_table(runs: Sequence[Learning]) -> pd.DataFrame:
    """A row for run × evaluation: all that the figures are made of, small enough to keep beside them."""
    parts = []
    for run in sorted(runs, key=lambda r: (r.problems, r.method, r.seed)):
        part = pd.DataFrame({column: getattr(run, name) for column, name in _OF_POINT.items()})
        for place, name in enumerate(_OF_RUN):
            part.insert(place, name, getattr(run, name))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def read_curves(path: Path) -> list[Learning]:
    """The runs of a file that curves_table() filled."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)  # its own parser of numbers is not always exact
    except (OSError, ValueError) as problem:
        raise RunError(f"{path}: no table of curves: {problem}") from None
    missing = [name for name in (*_OF_RUN, *_OF_POINT) if name not in table]
    if missing or not len(table):
        raise RunError(f"{path}: has no {f'column {missing[0]!r}' if missing else 'rows'}")
    for name in ("seed", "k", *_OF_POINT):
        try:
            table[name] = table[name].astype(int if name in _OF_RUN else float)
        except ValueError:
            raise RunError(f"{path}: column {name!r} holds something that is not a number") from None
    return [
        Learning(
            **dict(zip(_OF_RUN, key, strict=True)) | {"finished": key[-1] == "True"},
            **{name: part[column].to_numpy() for column, name in _OF_POINT.items()},
        )
        for key, part in table.groupby(list(_OF_RUN), sort=False)
    ]


def with_more(runs: Sequence[Learning], more: Sequence[Learning]) -> list[Learning]:
    """`runs`, and those of `more` that are not among them: a run is known by its method, problems and seed."""
    known = {(run.method, run.problems, run.seed) for run in runs}
    return [*runs, *(run for run in more if (run.method, run.problems, run.seed) not in known)]


def best_of(runs: Sequence[Learning], targets: Sequence[float]) -> int:
    """Which run tuning takes: it reaches the highest target; of those that do for the least cost; else ends highest."""
    if not runs:
        raise ValueError("the best of no runs")

    def rank(run: Learning) -> tuple[float, float, float]:
        reached = [t for t in targets if cost_to(run.costs, run.pass_at_1, t).reached]
        highest = max(reached, default=0.0)
        spent = cost_to(run.costs, run.pass_at_1, highest).cost if reached else 0.0
        return highest, -spent, float(run.pass_at_1[-1])

    return max(range(len(runs)), key=lambda i: rank(runs[i]))


def base_pass_rate(runs: Sequence[Learning]) -> float:
    """Of the base policy: every run evaluates it before its first step."""
    return float(np.mean([run.pass_at_1[0] for run in runs]))


def ratio_table(runs: Sequence[Learning], ours: str, targets: Sequence[float]) -> pd.DataFrame:
    """A row for problems × target × other method: costs, and their ratio to ours."""
    rows = []
    for problems in sorted({run.problems for run in runs}, key=lambda p: -base_pass_rate(_of(runs, p))):
        own = _of(runs, problems)
        mine = _of(own, problems, ours)
        if not mine:
            raise RunError(f"{problems}: no run of method {ours!r}; there are {sorted({r.method for r in own})}")
        for target in targets:
            if target <= max(run.pass_at_1[0] for run in own):  # a run that begins there has reached nothing
                continue
            here = [cost_to(run.costs, run.pass_at_1, target) for run in mine]
            for method in sorted({run.method for run in own} - {ours}):
                other = _of(own, problems, method)
                there = [cost_to(run.costs, run.pass_at_1, target) for run in other]
                rows.append(
                    {
                        "problems": problems,
                        "base Pass@1": base_pass_rate(own),
                        "accuracy": target,
                        "method": method,
                        f"cost of {ours}, M": _mean_cost(here),
                        "its cost, M": _mean_cost(there),
                        "ratio": ratio(there, here),
                        "seeds": f"{len(other)} : {len(mine)}",
                    }
                )
    return pd.DataFrame(rows)


def final_points(runs: Sequence[Learning]) -> pd.DataFrame:
    """A row for problems × method: where its runs ended, mean and lowest to highest."""
    rows = []
    for problems in sorted({run.problems for run in runs}, key=lambda p: -base_pass_rate(_of(runs, p))):
        for method in sorted({run.method for run in _of(runs, problems)}):
            own = _of(runs, problems, method)
            rows.append({"problems": problems, "method": method, "runs": len(own)})
            for name in ("pass_at_1", "pass_at_k"):
                ends = [float(getattr(run, name)[-1]) for run in own]
                label = "Pass@1" if name == "pass_at_1" else f"Pass@{own[0].k}"
                rows[-1][f"{label} base"] = float(np.mean([getattr(run, name)[0] for run in own]))
                rows[-1][label] = f"{np.mean(ends):.3f} ({min(ends):.3f} … {max(ends):.3f})"
            rows[-1]["cost, M"] = float(np.mean([run.costs[-1] for run in own])) / 1e6
            rows[-1]["seconds"] = float(np.mean([run.seconds[-1] for run in own]))
    return pd.DataFrame(rows)


def _of(runs: Sequence[Learning], problems: str, method: str | None = None) -> list[Learning]:
    """By seed, so that runs of two methods stand in one order."""
    return sorted(
        (run for run in runs if run.problems == problems and method in (None, run.method)), key=lambda run: run.seed
    )


def _mean_cost(reaches: Sequence[Reach]) -> str:
    mean = float(np.exp(np.mean(np.log([max(r.cost, 1.0) for r in reaches])))) / 1e6
    return f"{'' if all(r.reached for r in reaches) else '> '}{mean:.2f}"
