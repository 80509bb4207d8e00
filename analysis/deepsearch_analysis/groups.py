"""Many runs as one table: what differs in their configs, what they reached, and how sure that is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepsearch_analysis import stats
from deepsearch_analysis.codes import RunError
from deepsearch_analysis.reader import Run
from deepsearch_analysis.report_tables import SEARCH_COLUMNS, search_row

# Keys that say where and how a run was made, not what was tried. Runs that differ in nothing else are seeds of one.
NOT_AN_AXIS = ("run.", "ranks.", "store.", "engine.", "model.path", "sft.", "eval.")
RESAMPLES = 10_000


def flat(config: dict[str, Any], before: str = "") -> dict[str, Any]:
    """[a.b] c = 1 as {"a.b.c": 1}; lists as text."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            out |= flat(value, f"{before}{key}.")
        else:
            out[before + key] = value if isinstance(value, int | float | str | bool) else str(value)
    return out


def interval(values: Sequence[float], resamples: int = RESAMPLES) -> tuple[float, float]:
    """95 % percentile bootstrap of the mean (Efron 1979); NaN for fewer than two values. The same each time."""
    own = np.asarray([v for v in values if np.isfinite(v)], dtype=float)
    if len(own) < 2:
        return np.nan, np.nan
    picks = np.random.default_rng(0).integers(0, len(own), (resamples, len(own)))
    low, high = np.quantile(own[picks].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


@dataclass
class Runs:
    """`table` has one row a run: name, group, seed, the axes, what it reached and its row of the search table."""

    table: pd.DataFrame
    axes: list[str]
    curves: list[dict[str, stats.Curve]]  # by metric name, one entry a row of `table`
    warnings: list[str]

    @property
    def groups(self) -> list[str]:
        return list(dict.fromkeys(self.table["group"]))


METRICS = {"pass_at_1": "Pass@1", "pass_at_k": "Pass@k", "reward": "reward", "policy_entropy": "policy entropy"}


def _curves(run: Run) -> dict[str, stats.Curve]:
    passes = stats.pass_curves(run)
    table = run.table("metrics/learner")
    found = {
        "pass_at_1": passes.get(1),
        "pass_at_k": next((c for k, c in passes.items() if k > 1), None),
        "reward": stats.metric(table, "reward_mean"),
        "policy_entropy": stats.metric(table, "policy_entropy"),
    }
    return {name: curve for name, curve in found.items() if curve is not None}


def _row(run: Run, curves: dict[str, stats.Curve]) -> dict[str, Any]:
    learner = run.metrics("learner")

    def last(column: str) -> float:
        return float(learner[column].iloc[-1]) if column in learner and len(learner) else np.nan

    row: dict[str, Any] = {
        "run": run.name,
        "folder": str(run.folder),
        "seed": run.attribute("seed"),
        "state": run.attribute("state"),
    }
    for name in ("pass_at_1", "pass_at_k"):
        row[name] = curves[name].last if name in curves else np.nan
        row[f"{name}_base"] = curves[name].first if name in curves else np.nan
        row[f"{name}_best"] = float(curves[name].values.max()) if name in curves else np.nan
    row |= {
        "steps": last("step"),
        "tokens_generated": last("tokens_generated"),
        "cost": last("cost"),
        "hours": last("elapsed") / 3600,
    }
    return row | {f"tree_{k}" if k != "trees" else k: v for k, v in search_row(run).items()}


def _by_numbers(path: Path) -> list[tuple[int, int | str]]:
    """Orders 2-x before 10-x: a sweep's own order."""
    return [(0, int(w)) if w.isdigit() else (1, w) for w in re.split(r"(\d+)", str(path))]


def find_runs(folder: Path) -> list[Path]:
    """Every folder with a run.h5, at any depth."""
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder")
    found = sorted((path.parent for path in folder.rglob("run.h5")), key=_by_numbers)
    if not found:
        raise RunError(f"{folder}: no run.h5 in it or below")
    return found


def missing_points(folder: Path) -> list[str]:
    """Of a sweep's folder (points/NAME.toml beside the runs): points that have written nothing yet."""
    names = sorted(path.stem for path in (folder / "points").glob("*.toml"))
    return [name for name in names if not (folder / name / "run.h5").is_file()]


def _labels(configs: list[dict[str, Any]], axes: Sequence[str]) -> list[str]:
    short = {a: a.rsplit(".", 1)[-1] for a in axes}
    twice = {v for v in short.values() if list(short.values()).count(v) > 1}
    names = {a: a if s in twice else s for a, s in short.items()}
    return [", ".join(f"{names[a]} {c.get(a, '–')}" for a in axes) or "all runs" for c in configs]


def read_runs(folders: Sequence[Path], by: Sequence[str] = ()) -> Runs:
    """Reads them one after another; in a crowd one that cannot be read is left out with a warning."""
    rows, configs, curves, warnings = [], [], [], []
    for folder in folders:
        try:
            with Run(folder) as run:
                own = _curves(run)
                rows.append(_row(run, own))
                curves.append(own)
                configs.append(flat(run.config))
                warnings += run.warnings
        except RunError as error:
            warnings.append(str(error))
    if not rows:
        raise RunError(warnings[0] if warnings else "no runs")
    keys = sorted({k for c in configs for k in c})
    for key in by:
        if key not in keys:
            raise RunError(f"no run's config has a key {key!r}: name it with its table, as search.width")
    axes = list(by) or [
        k for k in keys if not k.startswith(NOT_AN_AXIS) and len({repr(c.get(k)) for c in configs}) > 1
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    table.insert(1, "group", _labels(configs, axes))
    for axis in axes:
        table[axis] = [c.get(axis) for c in configs]
    return Runs(table, axes, curves, warnings)


def final_table(runs: Runs) -> pd.DataFrame:
    """One row a group: means over its runs with 95 % bootstrap intervals."""
    rows = []
    for group in runs.groups:
        own = runs.table[runs.table["group"] == group]
        row: dict[str, Any] = {"group": group, "runs": len(own)}
        for name in ("pass_at_1", "pass_at_k"):
            low, high = interval(own[name].tolist())
            row |= {
                name: own[name].mean(),
                f"{name}_low": low,
                f"{name}_high": high,
                f"{name}_gain": (own[name] - own[f"{name}_base"]).mean(),
            }
        for name in ("steps", "tokens_generated", "cost", "hours"):
            row[name] = own[name].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def search_table(runs: Runs) -> pd.DataFrame:
    """The paper's table of the search, one row a group: depth, entropy, reward, iterations, seconds a tree."""
    columns = [f"tree_{name}" for name in SEARCH_COLUMNS]
    table = runs.table.groupby("group", sort=False)[["trees", *columns]].mean().reset_index()
    return table.rename(columns={f"tree_{n}": f"{n}, {u}" if u else n for n, u in SEARCH_COLUMNS.items()})


def mean_curve(curves: Sequence[stats.Curve]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(steps, mean, lowest, highest) over the steps that all of them have."""
    steps = curves[0].steps
    for curve in curves[1:]:
        steps = np.intersect1d(steps, curve.steps)
    values = np.array([c.values[np.searchsorted(c.steps, steps)] for c in curves])
    return steps, values.mean(axis=0), values.min(axis=0), values.max(axis=0)


def main_effects(runs: Runs, metric: str) -> pd.DataFrame:
    """Mean of the metric at every value of every axis, over all runs that have it."""
    rows = []
    for axis in runs.axes:
        for value, own in runs.table.groupby(axis, dropna=False):
            low, high = interval(own[metric].tolist())
            rows.append(
                {
                    "axis": axis,
                    "value": str(value),
                    "runs": len(own),
                    metric: own[metric].mean(),
                    "low": low,
                    "high": high,
                }
            )
    return pd.DataFrame(rows)


def best_point(runs: Runs, metric: str) -> pd.Series:
    """The group with the highest mean."""
    table = final_table(runs)
    if not np.isfinite(table[metric]).any():
        raise RunError(f"no run has {metric}: none of them was evaluated")
    return table.loc[table[metric].idxmax()]


def markdown(table: pd.DataFrame, number: Callable[[float], str]) -> str:
    """A table for a terminal and for a paper's draft."""
    cells = [[str(c) for c in table.columns]]
    for row in table.itertuples(index=False):
        cells.append([number(float(v)) if isinstance(v, int | float | np.number) else str(v) for v in row])
    widths = [max(len(r[i]) for r in cells) for i in range(len(cells[0]))]
    lines = ["| " + " | ".join(t.ljust(w) for t, w in zip(r, widths, strict=True)) + " |" for r in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)
