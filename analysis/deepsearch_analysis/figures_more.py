"""Wide figures of the report: accuracy against cost, distributions of the search table, the ranks' timeline."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deepsearch_analysis.figures import PERCENT, short
from deepsearch_analysis.reader import Run
from deepsearch_analysis.report_tables import SEARCH_COLUMNS
from deepsearch_analysis.stats import PHASE_COLUMNS
from deepsearch_analysis.style import Theme, title

MOST_RANKS = 24


def accuracy_against(figure: Figure, theme: Theme, run: Run) -> None:
    """Pass@1 and Pass@k of held-out problems over steps, generated tokens and hours."""
    table = run.metrics("eval")
    if "split_test" in table:
        table = table[table["split_test"] != 0]
    table = table.sort_values("step")
    longest = float(table["elapsed"].max()) if "elapsed" in table else 0.0
    clock = ("hours", 3600.0) if longest > 3600 else ("minutes", 60.0)
    known = (("step", "optimisation steps", 1.0), ("tokens_generated", "tokens generated", 1.0), ("elapsed", *clock))
    axis = [one for one in known if one[0] in table]
    for place, (column, name, by) in enumerate(axis):
        axes = figure.add_axes((0.05 + 0.325 * place, 0.16, 0.25, 0.66))
        for own, colour, label in (("pass_at_1", theme.blue, "Pass@1"), ("pass_at_k", theme.orange, "Pass@k")):
            if own in table:
                x = table[column] / by
                axes.plot(x, table[own], color=colour, marker="o" if len(x) <= 30 else "", markersize=3.4)
                axes.annotate(label, (x.iloc[-1], table[own].iloc[-1]), (6, 0), textcoords="offset points",
                              color=colour, fontsize=8.4, fontweight="bold", va="center",
                              annotation_clip=False)  # fmt: skip
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: short(v) if v else "0"))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        title(axes, theme, f"over {name}")


def search_distributions(figure: Figure, theme: Theme, table: pd.DataFrame) -> None:
    """One histogram a column of the search table; the line is the mean."""
    for place, (name, unit) in enumerate(SEARCH_COLUMNS.items()):
        axes = figure.add_axes((0.03 + 0.197 * place, 0.16, 0.165, 0.58))
        values = table[name].dropna().to_numpy(dtype=float)
        values = values[np.isfinite(values)]
        if len(values):
            low, high = values.min(), values.max()
            room = (low - 0.5, high + 0.5) if high - low < 1e-9 * max(abs(high), 1.0) else (low, high)
            axes.hist(values, bins=min(30, max(5, len(np.unique(values)))), range=room, color=theme.blue, alpha=0.85)
            axes.axvline(values.mean(), color=theme.ink, linewidth=1.2)
            title(axes, theme, name, f"mean {values.mean():.4g} {unit}".strip())
        else:
            title(axes, theme, name, "not in this run")
        axes.set_yticks([])


def timeline(figure: Figure, theme: Theme, run: Run) -> None:
    """A row a rank, a piece a step; inside a step the phases stand in a fixed order, not the one they happened in."""
    rows: list[tuple[str, pd.DataFrame]] = []
    search, learner = run.metrics("search"), run.metrics("learner")
    if "rank" in search:
        rows += [(f"search {int(rank)}", own) for rank, own in search.groupby("rank")]
    rows = rows[: MOST_RANKS - 1]
    if len(learner):
        rows.append(("learner", learner))
    height = figure.get_figheight()
    axes = figure.add_axes((0.07, 0.5 / height, 0.8, 1 - 1.1 / height))
    used: list[str] = []
    for place, (_, own) in enumerate(rows):
        _row(axes, theme, len(rows) - 1 - place, own, used)
    axes.set_yticks(range(len(rows)), [who for who, _ in rows][::-1])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("seconds of the steps, one after another")
    axes.grid(False)
    axes.margins(x=0)
    for place, phase in enumerate(dict.fromkeys(used)):
        for offset, text, colour in ((10, "■", theme.phase_colour(phase)), (21, phase, theme.ink)):
            axes.annotate(text, (1, 1), (offset, -13 * place), xycoords="axes fraction", textcoords="offset points",
                          fontsize=8.2, color=colour, va="top", annotation_clip=False)  # fmt: skip
    shown = (
        f"; the first {MOST_RANKS - 1} search ranks"
        if len(search.get("rank", pd.Series()).unique()) >= MOST_RANKS
        else ""
    )
    title(axes, theme, "Timeline of the ranks", f"phases within a step in fixed order{shown}")


def _row(axes: Axes, theme: Theme, y: int, own: pd.DataFrame, used: list[str]) -> None:
    total = own["seconds_total"].fillna(0).to_numpy(dtype=float)
    start = np.concatenate([[0.0], np.cumsum(total)[:-1]]) if len(total) else np.zeros(0)
    for phase, column in PHASE_COLUMNS:
        if column not in own:
            continue
        width = np.minimum(own[column].fillna(0).to_numpy(dtype=float), total)
        if width.sum() > 0.002 * max(total.sum(), 1e-9):
            used.append(phase)
            axes.barh(
                np.full(len(width), y), width, left=start, height=0.7, color=theme.phase_colour(phase), linewidth=0
            )
        start = start + width
