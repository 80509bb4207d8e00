"""A run's tables for other tools: Parquet, JSON lines, TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from deepsearch_analysis.codes import RunError
from deepsearch_analysis.evaluation import TABLES, has_evaluation, responses
from deepsearch_analysis.reader import Run

FORMATS = ("parquet", "jsonl", "tensorboard")


def tables(run: Run) -> Iterator[tuple[str, pd.DataFrame]]:
    """Every table under the name of its file, read one at a time."""
    for name in ("learner", "search", "eval"):
        yield f"metrics-{name}", run.metrics(name)
    if has_evaluation(run):
        for name in TABLES:
            yield f"evaluation-{name}", run.evaluation(name)
        yield "responses", responses(run)
    yield "problems", run.problems.reset_index()
    yield "trees", run.trees.reset_index()
    yield "nodes", run.nodes()
    yield "tokens", run.tokens()
    yield "recorded", run.recorded()
    yield "events", run.events()


def _write(frame: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True, force_ascii=False, double_precision=15)


def export_tables(run: Run, out: Path, suffix: str) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, frame in tables(run):
        path = out / f"{name}.{suffix}"
        _write(frame, path)
        paths.append(path)
    return paths


def _start(run: Run) -> float:
    """Seconds since 1970; 0 where a file does not say."""
    for name in ("first_start_time", "start_time"):
        try:
            return datetime.fromisoformat(run.attribute(name)).timestamp()
        except ValueError:
            continue
    return 0.0


def export_tensorboard(run: Run, out: Path) -> list[Path]:
    """Scalars of the metrics tables by step, at the wall time of their rows."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise RunError("export --to tensorboard needs the package tensorboardX: pip install tensorboardX") from None
    out.mkdir(parents=True, exist_ok=True)
    start = _start(run)
    learner = run.metrics("learner")
    has_time = {"step", "elapsed"} <= set(learner.columns)
    elapsed = learner.groupby("step")["elapsed"].last() if has_time else pd.Series(dtype=float)
    before = set(out.glob("events.out.tfevents.*"))
    with SummaryWriter(str(out)) as writer:
        for name in ("learner", "search", "eval"):
            table = run.metrics(name)
            if "step" not in table:
                continue
            for row in table.to_dict("records"):
                step, rank = int(row["step"]), f"/rank{int(row['rank'])}" if "rank" in row else ""
                at = start + float(row.get("elapsed", elapsed.get(step, 0.0)))
                for column, value in row.items():
                    if column not in ("step", "rank") and np.isfinite(value):
                        writer.add_scalar(f"{name}{rank}/{column}", value, step, walltime=at)
    return sorted(set(out.glob("events.out.tfevents.*")) - before)


def export(run: Run, form: str, out: Path) -> list[Path]:
    return export_tensorboard(run, out) if form == "tensorboard" else export_tables(run, out, form)
