"""compare.html and sweep.html: several runs beside each other, with their tables as CSV and Parquet."""

from __future__ import annotations

import html as escaping
import io
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deepsearch_analysis import html
from deepsearch_analysis.files import write_whole
from deepsearch_analysis.groups import METRICS, Runs, best_point, final_table, main_effects, mean_curve, search_table
from deepsearch_analysis.style import DARK, LIGHT, Theme, drawing, nothing, title

PAGES = Path(__file__).parent / "pages"


def _colours(theme: Theme) -> list[str]:
    return [theme.blue, theme.orange, theme.green, theme.purple, theme.amber, theme.sky, theme.grey, theme.negative]


def draw_curves(figure: Figure, theme: Theme, runs: Runs) -> None:
    """Mean of each group's runs over steps; the band is from the lowest to the highest run."""
    wanted = [m for m in METRICS if any(m in c for c in runs.curves)]
    groups, colours = runs.groups, _colours(theme)
    for place, metric in enumerate(wanted):
        axes = figure.add_axes((0.04 + 0.96 / len(wanted) * place, 0.3, 0.96 / len(wanted) - 0.06, 0.55))
        for number, group in enumerate(groups):
            own = [
                c[metric] for c, g in zip(runs.curves, runs.table["group"], strict=True) if g == group and metric in c
            ]
            if not own:
                continue
            steps, mean, low, high = mean_curve(own)
            colour, dash = colours[number % len(colours)], ("-", "--", ":")[number // len(colours) % 3]
            axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(steps, mean, dash, color=colour, label=group)
        axes.set_xlabel("optimisation step")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        title(axes, theme, METRICS[metric], "mean; band: lowest to highest run")
        if place == 0:
            handles, labels = axes.get_legend_handles_labels()
            figure.legend(handles, labels, loc="lower left", bbox_to_anchor=(0.03, 0.0), frameon=False, fontsize=8.2,
                          ncols=4)  # fmt: skip
    if not wanted:
        nothing(figure.add_axes((0.05, 0.1, 0.9, 0.8)), theme, "no metrics in these runs")


def draw_effects(figure: Figure, theme: Theme, runs: Runs, metric: str) -> None:
    """One panel an axis: the mean at each of its values, with its interval."""
    effects = main_effects(runs, metric)
    axes_names = list(dict.fromkeys(effects["axis"])) if len(effects) else []
    for place, name in enumerate(axes_names):
        own = effects[effects["axis"] == name]
        axes = figure.add_axes((0.05 + 0.95 / len(axes_names) * place, 0.16, 0.95 / len(axes_names) - 0.06, 0.62))
        x = np.arange(len(own))
        y = own[metric].to_numpy(dtype=float)
        error = np.nan_to_num(np.array([y - own["low"], own["high"] - y], dtype=float)).clip(min=0)
        axes.errorbar(x, y, yerr=error, color=theme.blue, marker="o", capsize=3, elinewidth=1.2)
        axes.set_xticks(x, own["value"])
        axes.margins(x=0.25)
        title(axes, theme, name, f"mean {METRICS.get(metric, metric)}; bars: 95 % of the mean")


def draw_parallel(figure: Figure, theme: Theme, runs: Runs, metric: str) -> None:
    """Parallel coordinates: a line a run through its values on every axis, coloured by what it reached."""
    names = [*runs.axes, metric]
    axes = figure.add_axes((0.06, 0.14, 0.86, 0.68))
    table = runs.table[runs.table[metric].notna()]
    if not len(table):
        nothing(axes, theme, f"no run has {metric}")
        return
    places = np.zeros((len(table), len(names)))
    for at, name in enumerate(names):
        places[:, at], ticks = _scaled(table[name], numeric=name == metric)
        if name != metric:  # runs with the same value beside each other, not on each other
            places[:, at] += (np.arange(len(table)) - (len(table) - 1) / 2) * min(0.012, 0.2 / len(table))
        axes.axvline(at, color=theme.grid, linewidth=1.2, zorder=1)
        for y, text in ticks:
            axes.annotate(text, (at, y), (5, 0), textcoords="offset points", fontsize=8, color=theme.quiet, va="center",
                          zorder=4, annotation_clip=False,
                          bbox={"facecolor": theme.page, "edgecolor": "none", "pad": 1})  # fmt: skip
    ramp = theme.q_map()
    for row in np.argsort(places[:, -1]):
        axes.plot(range(len(names)), places[row], color=ramp(places[row, -1]), linewidth=1.6, alpha=0.9, zorder=2)
    axes.set_xticks(range(len(names)), [METRICS.get(n, n) for n in names])
    axes.set_yticks([])
    axes.set_ylim(-0.05, 1.05)
    axes.grid(False)
    title(axes, theme, "Every run", "a line a run; red: low, blue: high")


def _scaled(values: pd.Series, *, numeric: bool) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """0 … 1 and labels: metrics by size, an axis' values evenly in their order."""
    if numeric:
        low, high = float(values.min()), float(values.max())
        room = high - low or 1.0
        return ((values - low) / room).to_numpy(dtype=float), [(0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")]
    different = sorted(set(values.tolist()), key=lambda v: (isinstance(v, str), str(v) if isinstance(v, str) else v))
    place = {v: i / max(len(different) - 1, 1) for i, v in enumerate(different)}
    return np.array([place[v] for v in values]), [(place[v], str(v)) for v in different]


def picture(draw: object, size: tuple[float, float], theme: Theme, kind: str) -> bytes:
    """What `draw(figure, theme)` draws, as svg or png; the same bytes each time."""
    with drawing(theme):
        figure = plt.figure(figsize=size, dpi=110)
        if kind == "svg":
            figure.patch.set_alpha(0)
        draw(figure, theme)  # type: ignore[operator]
        out = io.BytesIO()
        figure.savefig(
            out, format=kind, metadata={"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        )
        plt.close(figure)
    return out.getvalue()


def page_of(heading: str, body: list[str]) -> str:
    """A self-contained page."""
    css = (PAGES / "report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escaping.escape(heading)}</title><style>{css}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def write_tables(tables: dict[str, pd.DataFrame], out: Path) -> list[Path]:
    """NAME.csv and NAME.parquet of each."""
    paths = []
    for name, table in tables.items():
        paths += [out / f"{name}.csv", out / f"{name}.parquet"]
        write_whole(paths[-2], table.to_csv(index=False).encode())
        packed = io.BytesIO()
        plain = table.apply(lambda c: c.astype(str) if c.dtype == object else c) if len(table) else table
        plain.to_parquet(packed, index=False)
        write_whole(paths[-1], packed.getvalue())
    return paths


def write_comparison(runs: Runs, out: Path, *, metric: str = "pass_at_1", sweep: bool = False) -> list[Path]:
    """compare.html or sweep.html, its pictures as PNG, and its tables."""
    out.mkdir(parents=True, exist_ok=True)
    name = "sweep" if sweep else "compare"
    tables = {f"{name}-final": final_table(runs), f"{name}-search": search_table(runs), f"{name}-runs": runs.table}
    pictures = [("curves", lambda f, t: draw_curves(f, t, runs), (12.4, 3.9))]
    if sweep and runs.axes:
        tables[f"{name}-effects"] = main_effects(runs, metric)
        pictures += [("effects", lambda f, t: draw_effects(f, t, runs, metric), (12.4, 3.0)),
                     ("parallel", lambda f, t: draw_parallel(f, t, runs, metric), (12.4, 3.6))]  # fmt: skip
    body = [f"<h1>{len(runs.table)} runs, {len(runs.groups)} settings</h1>"]
    body.append(f"<p class='sub'>differing in {escaping.escape(', '.join(runs.axes) or 'nothing but the seed')}</p>")
    body += [f"<p class='warning'>{escaping.escape(w)}</p>" for w in runs.warnings]
    if sweep:
        best = best_point(runs, metric)
        body.append(
            html.cards(
                [
                    (
                        str(best["group"]),
                        f"best: {METRICS.get(metric, metric)} {best[metric]:.4g}, mean of {best['runs']}",
                    )
                ]
            )
        )
    paths = []
    for label, draw, size in pictures:
        body.append(html.figure(picture(draw, size, LIGHT, "svg"), picture(draw, size, DARK, "svg"), label, wide=True))
        paths.append(out / f"{name}-{label}.png")
        write_whole(paths[-1], picture(draw, size, LIGHT, "png"))
    headings = {"final": "At the end (mean, 95 % bootstrap interval over runs)", "search": "The search",
                "effects": "Main effects", "runs": "Every run"}  # fmt: skip
    for key, table in tables.items():
        body.append(f"<h2>{headings[key.split('-', 1)[1]]}</h2>{html.text_table(table)}")
    write_whole(out / f"{name}.html", page_of(f"{name} of {len(runs.table)} runs", body).encode())
    return [out / f"{name}.html", *paths, *write_tables(tables, out)]
