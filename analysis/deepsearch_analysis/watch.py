"""A running job in the terminal, from its SWMR files: nothing to install on its side, no server."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deepsearch_analysis import report_tables
from deepsearch_analysis.codes import CORRECT, RunError
from deepsearch_analysis.figures import percent, short
from deepsearch_analysis.reader import Run
from deepsearch_analysis.stats import PHASE_COLUMNS
from deepsearch_analysis.trees import load_part_tree

SPARKS = "▁▂▃▄▅▆▇█"
PHASE_STYLES = {"generating": "blue", "verifying": "yellow", "bookkeeping": "magenta", "learning": "green",
                "weights": "red", "checkpoints": "white", "logging": "cyan", "waiting": "bright_black"}  # fmt: skip


def spark(values: np.ndarray, room: int = 32) -> str:
    """A curve in one line of text."""
    own = np.asarray(values, dtype=float)[-room:]
    if not np.isfinite(own).any():
        return ""
    low, high = np.nanmin(own), np.nanmax(own)
    scaled = np.zeros(len(own)) if high == low else (np.nan_to_num(own, nan=low) - low) / (high - low)
    return "".join(SPARKS[round(v * (len(SPARKS) - 1))] for v in scaled)


def _progress(run: Run, learner: pd.DataFrame) -> RenderableType:
    goal = float(run.config.get("learn", {}).get("steps", 0) or 0)
    done = float(learner["step"].iloc[-1]) if len(learner) and "step" in learner else 0.0
    grid = Table.grid(padding=(0, 2))
    grid.add_row(
        f"[b]{run.name}[/b]  {run.attribute('state')}",
        ProgressBar(total=max(goal, 1), completed=min(done, max(goal, 1)), width=40),
        f"step {done:.0f} of {goal:.0f}" if goal else f"step {done:.0f}",
    )
    if len(learner) and "elapsed" in learner and done:
        elapsed = float(learner["elapsed"].iloc[-1])
        left = f", about {elapsed / done * (goal - done) / 60:.1f} min left" if goal > done else ""
        grid.add_row(run.attribute("rank_layout"), "", f"{elapsed / 60:.1f} min{left}")
    return grid


def _curves(run: Run, learner: pd.DataFrame) -> RenderableType:
    table = Table(expand=True, box=None)
    for heading in ("", "last", "curve"):
        table.add_column(heading, no_wrap=True)
    evaluation = run.metrics("eval")
    if "split_test" in evaluation:
        evaluation = evaluation[evaluation["split_test"] != 0]
    rows = [
        (evaluation, "pass_at_1", "held-out Pass@1", percent),
        (evaluation, "pass_at_k", "held-out Pass@k", percent),
    ]
    known = {"reward_mean": "reward", "policy_entropy": "policy entropy", "grad_norm": "gradient norm",
             "clip_fraction": "clipped", "loss": "loss"}  # fmt: skip
    rows += [(learner, column, name, lambda v: f"{v:.4g}") for column, name in known.items()]
    for frame, column, name, form in rows:
        if column in frame and len(frame):
            values = frame[column].to_numpy(dtype=float)
            table.add_row(name, form(values[-1]), spark(values))
    return Panel(table, title="learning")


def _bar(row: pd.Series, width: int = 40) -> Text:
    text, total = Text(), max(float(row.get("seconds_total", 0.0) or 0.0), 1e-9)
    for phase, column in PHASE_COLUMNS:
        if column in row and np.isfinite(row[column]):
            text.append("█" * round(width * float(row[column]) / total), style=PHASE_STYLES.get(phase, "white"))
    return text


def _ranks(run: Run, learner: pd.DataFrame, most: int = 16) -> RenderableType:
    table = Table(expand=True, box=None)
    for heading in ("rank", "step", "tokens/s", "busy", "last step"):
        table.add_column(heading, no_wrap=True)
    search = run.metrics("search")
    busy = (
        report_tables.utilisation(run).set_index("rank")["busy, % of the time"] if len(search) or len(learner) else {}
    )
    last = search.groupby("rank").tail(1).sort_values("rank") if "rank" in search else search
    for _, row in last.head(most).iterrows():
        who = f"search {int(row['rank'])}"
        table.add_row(who, f"{row['step']:.0f}", short(float(row.get("tokens_per_second", np.nan))),
                      f"{busy.get(who, np.nan):.0f} %", _bar(row))  # fmt: skip
    if len(learner):
        row = learner.iloc[-1]
        table.add_row("learner", f"{row['step']:.0f}", short(float(row.get("learn_tokens_per_second", np.nan))),
                      f"{busy.get('learner', np.nan):.0f} %", _bar(row))  # fmt: skip
    key = Text("  ".join(f"█ {p}" for p in PHASE_STYLES))
    for phase, style in PHASE_STYLES.items():
        key.highlight_words([f"█ {phase}"], style=style)
    return Panel(Group(table, key), title="ranks")


def _latest_tree(run: Run) -> RenderableType:
    part = max((p for p in run.parts if p.n_trees), key=lambda p: int(p.column("step")[-1]), default=None)
    if part is None:
        return Panel("none yet", title="latest tree")
    tree = load_part_tree(part, part.n_trees - 1)
    leaf = tree.best_leaf if tree.best_leaf >= 0 else int(tree.recorded[0]) if len(tree.recorded) else 0
    text = Text(f"{tree.name}, step {tree.step}, {len(tree)} nodes, depth {tree.depth.max()}, {tree.seconds:.3g} s\n")
    text.append(tree.prompt[:200] + "\n", style="dim")
    good = len(tree.recorded) and tree.outcome[leaf] == CORRECT
    for node in tree.path_to(leaf)[:12]:
        text.append(run.words(tree.step_tokens(node))[:120] + "\n", style="green" if good else "red")
    return Panel(text, title="latest tree" + (", solved" if good else ""))


def screen(run: Run) -> RenderableType:
    """Everything at this moment."""
    learner = run.metrics("learner")
    return Group(_progress(run, learner), _curves(run, learner), _ranks(run, learner), _latest_tree(run))


def watch(folder: Path, seconds: float, *, once: bool = False, console: Console | None = None) -> None:
    """Redraws every `seconds` until the run has ended or Ctrl-C. Files are opened anew each time: parts come and go."""
    console = console or Console()
    if once:
        with Run(folder) as run:
            console.print(screen(run))
        return
    with Live(console=console, auto_refresh=False, screen=False) as live:
        while True:
            try:
                with Run(folder) as run:
                    live.update(screen(run), refresh=True)
                    if run.attribute("state") not in ("", "running or killed"):
                        return
            except RunError as error:  # a file that is replaced or created this very moment
                if not (folder / "run.h5").is_file():
                    raise
                live.update(Text(f"{error}; trying again", style="yellow"), refresh=True)
            time.sleep(seconds)
