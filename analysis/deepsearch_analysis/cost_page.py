"""cost.html: learning curves over cost, and the ratio of costs over the base policy's pass rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepsearch_analysis import cost, html
from deepsearch_analysis.compare import page_of, picture, write_tables
from deepsearch_analysis.cost import Learning
from deepsearch_analysis.files import write_whole
from deepsearch_analysis.style import DARK, LIGHT, Theme, nothing, title

AXES = {"cost": "cost, M (generated + 3 × trained tokens)", "generated": "generated tokens, M",
        "trained": "trained tokens, M", "seconds": "seconds"}  # fmt: skip


def _x(run: Learning, axis: str) -> np.ndarray:
    values = {"cost": run.costs, "generated": run.generated, "trained": run.trained, "seconds": run.seconds}[axis]
    return values if axis == "seconds" else values / 1e6


def _colours(theme: Theme, methods: Sequence[str]) -> dict[str, str]:
    palette = [theme.blue, theme.orange, theme.green, theme.purple, theme.amber, theme.sky, theme.grey]
    return {method: palette[i % len(palette)] for i, method in enumerate(methods)}


def draw_curves(figure: Figure, theme: Theme, runs: Sequence[Learning], axis: str) -> None:
    """A column for each kind of problems; Pass@1 above, Pass@k below; a line a method, a band over its seeds."""
    kinds = sorted(
        {run.problems for run in runs}, key=lambda p: -cost.base_pass_rate([r for r in runs if r.problems == p])
    )
    methods = sorted({run.method for run in runs})
    colours = _colours(theme, methods)
    lines = {}  # of the legend: not every method ran on all problems
    for column, kind in enumerate(kinds):
        for row, name in enumerate(("pass_at_1", "pass_at_k")):
            left, width = 0.06 + 0.94 / len(kinds) * column, 0.94 / len(kinds) - 0.06
            axes = figure.add_axes((left, 0.6 - 0.42 * row, width, 0.3))
            for method in methods:
                own = [run for run in runs if run.problems == kind and run.method == method]
                if not own:
                    continue
                end = min(_x(run, axis)[-1] for run in own)
                grid = np.linspace(0, end, 200)
                values = np.array([np.interp(grid, _x(run, axis), getattr(run, name)) for run in own])
                axes.fill_between(grid, values.min(axis=0), values.max(axis=0), color=colours[method], alpha=0.15, lw=0)
                lines[method] = axes.plot(grid, values.mean(axis=0), color=colours[method], label=method)[0]
                for run in own:  # beyond the shortest run each goes on alone
                    beyond = _x(run, axis) >= end
                    axes.plot(
                        _x(run, axis)[beyond], getattr(run, name)[beyond], color=colours[method], lw=0.8, alpha=0.5
                    )
            axes.set_ylim(bottom=0)
            base = cost.base_pass_rate([r for r in runs if r.problems == kind])
            label = "Pass@1" if row == 0 else f"Pass@{next(r.k for r in runs if r.problems == kind)}"
            title(axes, theme, f"{kind}: {label}", f"base Pass@1 {base:.2g}" if row == 0 else "")
            if row == 1:
                axes.set_xlabel(AXES[axis])
    figure.legend(
        handles=[lines[method] for method in methods],
        loc="lower left",
        bbox_to_anchor=(0.04, 0.0),
        frameon=False,
        ncols=7,
    )


def draw_ratio(figure: Figure, theme: Theme, table: pd.DataFrame, ours: str) -> None:
    """Ratio over the base policy's pass rate, a panel a method, a line an accuracy; arrows: it is that much or more."""
    methods = list(dict.fromkeys(table["method"])) if len(table) else []
    if not methods:
        nothing(figure.add_axes((0.05, 0.1, 0.9, 0.8)), theme, "no accuracy above the base policy's")
        return
    targets = sorted(set(table["accuracy"]))
    ramp = mpl.colormaps["viridis"]
    lines = {}  # of the legend, beside the panels: inside it would lie on curves
    width = 0.86 / len(methods)
    for place, method in enumerate(methods):
        axes = figure.add_axes((0.05 + width * place, 0.2, width - 0.06, 0.58))
        for number, target in enumerate(targets):
            own = table[(table["method"] == method) & (table["accuracy"] == target)].sort_values("base Pass@1")
            own = own[[r.kind != "open" for r in own["ratio"]]]
            if not len(own):
                continue
            x = own["base Pass@1"].clip(lower=1e-5)
            y = np.array([r.value for r in own["ratio"]])
            colour = ramp(0.05 + 0.8 * number / max(len(targets) - 1, 1))
            lines[target] = axes.plot(x, y, "-o", color=colour, label=f"to {target:g}", markersize=4)[0]
            for at, value, single in zip(x, y, own["ratio"], strict=True):
                axes.plot([at, at], [single.low, single.high], color=colour, lw=1)
                if single.kind == "at least":
                    axes.annotate("", (at, value * 1.5), (at, value), arrowprops={"arrowstyle": "->", "color": colour})
        axes.axhline(1, color=theme.quiet, lw=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):  # the page's SVG has no mathematical text
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_formatter(lambda _value, _: "")
        axes.set_xlabel("Pass@1 of the base policy")
        title(axes, theme, f"cost of {method} over {ours}", "to the same held-out Pass@1; bars: seeds, arrows: or more")
    figure.legend(
        handles=[lines[target] for target in sorted(lines)],
        loc="center left",
        bbox_to_anchor=(0.89, 0.5),
        frameon=False,
    )


def write_cost(runs: Sequence[Learning], ours: str, targets: Sequence[float], out: Path) -> list[Path]:
    """cost.html, its pictures as PNG, its tables as CSV and Parquet; cost-curves.csv, which all can be redrawn from."""
    out.mkdir(parents=True, exist_ok=True)
    tables = {"cost-ratio": cost.ratio_table(runs, ours, targets), "cost-final": cost.final_points(runs)}
    n_kinds = len({run.problems for run in runs})
    body = [f"<h1>Cost to the same accuracy: {len(runs)} runs</h1>"]
    paths = []
    pictures = [("ratio", lambda f, t: draw_ratio(f, t, tables["cost-ratio"], ours), (12.4, 3.9))]
    pictures += [
        (f"over-{axis}", lambda f, t, axis=axis: draw_curves(f, t, runs, axis), (max(5.0, 3.4 * n_kinds), 5.4))
        for axis in AXES
    ]
    for name, draw, size in pictures:
        light, dark = (picture(draw, size, theme, "svg") for theme in (LIGHT, DARK))
        body.append(html.figure(light, dark, name, wide=True))
        paths.append(out / f"cost-{name}.png")
        write_whole(paths[-1], picture(draw, size, LIGHT, "png"))
    shown = {name: table.apply(lambda c: c.astype(str) if c.dtype == object else c) for name, table in tables.items()}
    body.append(f"<h2>Ratio</h2>{html.text_table(shown['cost-ratio'])}")
    body.append(f"<h2>Where each ended (lowest … highest seed)</h2>{html.text_table(shown['cost-final'])}")
    write_whole(out / "cost.html", page_of("cost to the same accuracy", body).encode())
    curves = out / "cost-curves.csv"  # numbers that read back as the same ones
    write_whole(curves, cost.curves_table(runs).to_csv(index=False).encode())
    return [out / "cost.html", *paths, *write_tables(shown, out), curves]
