"""report.png and report.html of a run: what it reached, how its trees look, where its time went."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepsearch_analysis import figures, figures_more, html, report_tables, stats
from deepsearch_analysis.files import write_whole
from deepsearch_analysis.reader import Run, Table
from deepsearch_analysis.style import DARK, LIGHT, Theme, drawing

Draw = Callable[[Figure, Theme], None]


@dataclass
class Data:
    """Everything the panels need, read once."""

    run: Run
    curves: dict[int, stats.Curve]
    shapes: stats.Shapes
    solved: list[stats.Curve]
    ranks: list[stats.RankTime]
    speed: stats.Curve | None
    pick: stats.Pick | None
    search_table: pd.DataFrame  # one row a tree: depth, entropy, reward, iterations, seconds


def collect(run: Run) -> Data:
    shapes = stats.tree_shapes(run)
    solved = []
    if len(shapes):
        solved = [
            shapes.solved_curve(shapes.is_tree, "trees"),
            shapes.solved_curve(~shapes.is_tree, "direct\nrollouts"),
        ]
    return Data(
        run=run,
        curves=stats.pass_curves(run),
        shapes=shapes,
        solved=[c for c in solved if c is not None],
        ranks=stats.rank_times(run),
        speed=stats.tokens_per_second(run),
        pick=stats.pick_tree(run, shapes),
        search_table=report_tables.per_tree(run),
    )


def _tree_heading(data: Data) -> tuple[str, str]:
    pick = data.pick
    if pick is None:
        return "A search tree", ""
    tree = pick.tree
    size = f"step {tree.step}, {len(tree)} nodes, {tree.tokens_generated:,} tokens"
    return pick.heading, f"{pick.detail};  {size}" if pick.detail else size


def _answer(data: Data) -> str:
    """The correct answer of the drawn tree in words, as far as the vocabulary is known."""
    tree = data.pick.tree if data.pick else None
    if tree is None or not len(tree.correct_leaves) or not data.run.vocabulary:
        return ""
    return " ".join(data.run.words(tree.step_tokens(n)).replace(" ", "\u00a0") for n in tree.path_to(tree.best_leaf))


def draw_tree(figure: Figure, theme: Theme, data: Data, box: tuple[float, float, float, float]) -> None:
    """The tree in `box` (left, bottom, width, height of the figure), its colour key and the solution's text."""
    left, bottom, width, height = box
    axes = figure.add_axes((left, bottom, width, height))
    heading, detail = _tree_heading(data)
    if data.pick is None:
        figures.title(axes, theme, heading)
        figures.nothing(axes, theme, "no trees in this run")
        return
    figures.tree(axes, theme, data.pick.tree, heading, detail)
    inch = figure.get_size_inches()
    right, above = left + width, bottom + height
    figures.q_key(
        figure.add_axes((right - 0.9 / inch[0], above + 0.25 / inch[1], 0.9 / inch[0], 0.08 / inch[1])), theme
    )
    letters = int(width * inch[0] * 72 / 4.3)
    shorten = partial(textwrap.shorten, width=letters, placeholder=" …")
    lines = [(shorten(data.pick.tree.prompt), theme.quiet)]
    answer = textwrap.wrap(_answer(data), letters, max_lines=2, placeholder=" …", break_on_hyphens=False)
    lines += [(line.replace(" ", "\u2002").replace("\u00a0", " "), theme.green) for line in answer]
    for place, (text, colour) in enumerate(line for line in lines if line[0]):
        line = axes.annotate(text, (0, 0), (0, -7 - 12 * place), xycoords="axes fraction", textcoords="offset points",
                      va="top", fontsize=8.2, color=colour, annotation_clip=False)  # fmt: skip
        figures.fit(line, width * inch[0] * 72)


def _subtitle(data: Data) -> str:
    run = data.run
    config = run.config
    task = config.get("task", {}).get("name", "")
    parts = [
        f"task {task}" if task else "",
        run.attribute("rank_layout"),
        _hosts(run),
        f"seed {run.attribute('seed')}" if run.attribute("seed") else "",
        f"revision {run.attribute('revision')}" if run.attribute("revision") else "",
        duration(run),
    ]
    return "   ·   ".join(p for p in parts if p)


def _hosts(run: Run) -> str:
    names = set(hosts(run))
    return f"{len(names)} hosts" if len(names) > 1 else next(iter(names), "")


def hosts(run: Run) -> list[str]:
    values = run.table("ranks").get("host")
    return [str(v) for v in values] if values is not None else []


def duration(run: Run) -> str:
    try:
        seconds = float(run.attribute("wall_seconds"))
    except ValueError:
        return ""
    if not np.isfinite(seconds) or seconds <= 0:
        return ""
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s" if seconds >= 60 else f"{seconds:.1f} s"


def draw_overview(data: Data, theme: Theme) -> Figure:
    """The one picture: 1600 × 1000 pixels at 125 dots an inch."""
    figure = plt.figure(figsize=(12.8, 8.0), dpi=125)
    figure.text(0.045, 0.957, f"DeepSearch run  {data.run.name}", fontsize=17, fontweight="bold", va="center")
    figure.text(0.045, 0.922, _subtitle(data), fontsize=9.2, color=theme.quiet, va="center")
    figures.accuracy(figure.add_axes((0.045, 0.505, 0.29, 0.325)), theme, data.curves)
    draw_tree(figure, theme, data, (0.462, 0.5, 0.51, 0.33))
    bottom, height = 0.072, 0.262
    figures.solved_share(figure.add_axes((0.045, bottom, 0.165, height)), theme, data.solved)
    _histograms(figure, theme, data, (0.35, bottom, 0.165, height))
    figures.rank_times(figure.add_axes((0.585, bottom, 0.14, height)), theme, data.ranks)
    figures.throughput(figure.add_axes((0.867, bottom, 0.105, height)), theme, data.speed)
    return figure


def _histograms(figure: Figure, theme: Theme, data: Data, box: tuple[float, float, float, float]) -> None:
    left, bottom, width, height = box
    row, gap = 0.72 * height / 3, 0.14 * height
    axes = [figure.add_axes((left, bottom + (row + gap) * (2 - i), width, row)) for i in range(3)]
    figures.shape_histograms(axes, theme, data.shapes)


def _svg(draw: Draw, theme: Theme, size: tuple[float, float]) -> bytes:
    with drawing(theme):
        figure = plt.figure(figsize=size)
        figure.patch.set_alpha(0)
        draw(figure, theme)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    return out.getvalue()


def _panel(draw: Draw, size: tuple[float, float], alt: str, *, wide: bool = False) -> str:
    return html.figure(_svg(draw, LIGHT, size), _svg(draw, DARK, size), alt, wide=wide)


def headline(data: Data) -> list[tuple[str, str]]:
    """(value, what it is): the numbers to read first."""
    items = []
    for k in (1, 16):
        curve = data.curves.get(k)
        if curve is not None:
            gain = f"{figures.percent(curve.first)} → " if len(curve.steps) > 1 else ""
            items.append((gain + figures.percent(curve.last), f"held-out Pass@{k}"))
    trees = data.shapes.is_tree if len(data.shapes) else np.zeros(0, dtype=bool)
    if trees.any():
        items.append((f"{int(trees.sum()):,}", "search trees"))
        items.append((f"{100 * data.shapes.solved[trees].mean():.0f} %", "of trees hold a correct answer"))
    if len(data.shapes):
        items.append((figures.short(float(data.shapes.tokens.sum())), "tokens generated in trees and rollouts"))
    if data.speed is not None:
        items.append((f"{figures.short(float(np.median(data.speed.values)))}/s", "tokens generated, median of steps"))
    if duration(data.run):
        items.append((duration(data.run), "wall time"))
    return items


# Columns that are shown first; all others follow by name.
FIRST_COLUMNS = (
    "step", "rank", "loss", "policy_entropy", "grad_norm", "clip_fraction", "lr", "reward_mean", "solved_fraction",
    "pass_at_1", "pass_at_k", "k", "samples", "trees", "tree_depth_mean", "tree_entropy_mean", "tree_reward_mean",
    "tree_iterations_mean", "tree_seconds_mean", "tokens_per_second", "tokens_generated", "cost",
)  # fmt: skip


def _metrics(table: Table) -> str:
    names = [c for c in FIRST_COLUMNS if c in table] + [c for c in table.columns if c not in FIRST_COLUMNS]
    columns = [
        (name.replace("_", " "), f"{table.description(name)} {table.units(name)}".strip(), table[name].astype(float))
        for name in names
    ]
    return html.table(columns)


LEARNER_PANELS = (
    ("loss", "loss"), ("reward, mean", "reward_mean"), ("policy entropy, nats", "policy_entropy"),
    ("gradient norm", "grad_norm"), ("advantage, deviation", "advantage_std"), ("clipped share", "clip_fraction"),
    ("mismatch KL, nats", "mismatch_kl"), ("problems solved", "solved_fraction"),
)  # fmt: skip


def _learner_curves(data: Data) -> list[tuple[str, stats.Curve]]:
    table = data.run.table("metrics/learner")
    return [(name, c) for name, column in LEARNER_PANELS if (c := stats.metric(table, column)) is not None]


def draw_learner(figure: Figure, theme: Theme, data: Data) -> None:
    curves = _learner_curves(data)
    rows = max((len(curves) + 3) // 4, 1)
    for place, (name, curve) in enumerate(curves):
        down, across = divmod(place, 4)
        height = 0.58 / rows
        axes = figure.add_axes((0.05 + 0.245 * across, 1 - (down + 0.8) / rows, 0.19, height))
        axes.plot(curve.steps, curve.values, color=theme.blue, linewidth=1.6,
                  marker="o" if len(curve.steps) <= 12 else "", markersize=3.5)  # fmt: skip
        axes.set_xlabel("optimisation step" if down == rows - 1 else "")
        axes.margins(x=0.02)
        figures.title(axes, theme, name, f"last {curve.last:.4g}")


def _learner_panel(data: Data) -> str:
    curves = _learner_curves(data)
    if not curves:
        return ""
    return _panel(lambda f, t: draw_learner(f, t, data), (12.4, 2.6 * ((len(curves) + 3) // 4)),
                  "Learner over steps: " + ", ".join(name for name, _ in curves), wide=True)  # fmt: skip


def _pictures(data: Data) -> list[tuple[str, Draw, tuple[float, float], str]]:
    """(name, drawing, size, description) of the wide pictures that stand alone: in the page, and as report-NAME.png."""
    run = data.run
    pictures: list[tuple[str, Draw, tuple[float, float], str]] = []
    if len(run.table("metrics/eval")) > 1:
        pictures.append(("accuracy", lambda f, t: figures_more.accuracy_against(f, t, run), (12.4, 3.6),
                         "Held-out accuracy over steps, generated tokens and hours"))  # fmt: skip
    if len(data.search_table):
        pictures.append(("search", lambda f, t: figures_more.search_distributions(f, t, data.search_table), (12.4, 2.7),
                         "Distributions of depth, entropy, reward, iterations and seconds of the trees"))  # fmt: skip
    if data.ranks:
        ranks = min(len(data.ranks), figures_more.MOST_RANKS)
        pictures.append(("timeline", lambda f, t: figures_more.timeline(f, t, run), (12.4, 1.6 + 0.3 * ranks),
                         "Timeline of every rank's phases"))  # fmt: skip
    return pictures


def _more(data: Data) -> list[tuple[str, str]]:
    """(heading, content) of the sections about search and time."""
    run, drawn = data.run, {n: _panel(d, size, alt, wide=True) for n, d, size, alt in _pictures(data)}
    return [
        ("Accuracy over steps, tokens and hours", drawn.get("accuracy", "")),
        ("The search", drawn.get("search", "") + html.text_table(report_tables.summary_of_trees(data.search_table))),
        ("Timeline", drawn.get("timeline", "")),
        ("Utilisation of the ranks", html.text_table(report_tables.utilisation(run))),
        ("Rounds", html.text_table(report_tables.rounds(run))),
        ("Worst stragglers", html.text_table(report_tables.stragglers(run))),
        ("Problems never solved", html.text_table(report_tables.never_solved(run))),
    ]


def page(data: Data) -> str:
    run = data.run
    box = (0.11, 0.14, 0.66, 0.68)
    panels = [
        _panel(lambda f, t: figures.accuracy(f.add_axes(box), t, data.curves), (6.2, 3.9),
               "Held-out accuracy over training: " + "; ".join(f"{v} {w}" for v, w in headline(data)[:2])),
        _panel(lambda f, t: figures.solved_share(f.add_axes(box), t, data.solved), (6.2, 3.9),
               "Share of problems solved while training, by step"),
        _panel(lambda f, t: _histograms(f, t, data, (0.2, 0.1, 0.74, 0.72)), (6.2, 3.9),
               "Distribution of nodes, depth and branching of the search trees"),
        _panel(lambda f, t: figures.throughput(f.add_axes((0.1, 0.14, 0.84, 0.68)), t, data.speed), (6.2, 3.9),
               "Tokens generated per second over the run"),
        _panel(lambda f, t: figures.rank_times(f.add_axes((0.08, 0.17, 0.77, 0.62)), t, data.ranks, most=24),
               (12.4, 1.7 + 0.3 * min(max(len(data.ranks), 3), 24)), "Where the time went on each rank", wide=True),
    ]  # fmt: skip
    parts = [f"<h1>{html.escape(run.name)}</h1><p class='sub'>{html.escape(_subtitle(data))}</p>"]
    parts += [f"<p class='warning'>{html.escape(w)}</p>" for w in [*run.notes, *data.shapes.warnings]]
    parts += [
        html.cards(headline(data)),
        "<h2>What it reached, and how</h2>",
        f'<div class="grid">{"".join(panels)}</div>',
    ]
    if data.pick is not None:
        heading, detail = _tree_heading(data)
        caption = (
            f"{detail}. Colour: Q from −1 (red) to +1 (blue); green: the recorded solution. Point at a node to read it."
        )
        parts.append(
            f"<h2>One search tree</h2><figure>{html.tree_svg(run, data.pick.tree)}<figcaption><strong>"
            f"{html.escape(heading)}</strong>{html.escape(caption)}</figcaption></figure>"
        )
    learner = _learner_panel(data)
    for name, content in (
        *_more(data),
        ("Learner", learner + _metrics(run.table("metrics/learner"))),
        ("Search", _metrics(run.table("metrics/search"))),
        ("Held-out evaluation", _metrics(run.table("metrics/eval"))),
        ("The run", html.facts(_run_facts(data)) + _config(run)),
    ):
        if content:
            parts.append(f"<h2>{name}</h2>{content}")
    css = (Path(__file__).parent / "pages" / "report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>DeepSearch run {html.escape(run.name)}</title><style>{css}</style></head>"
        f"<body><main>{''.join(parts)}<footer>Read from run.h5 and {len(run.parts)} parts.</footer></main></body>"
        "</html>\n"
    )


def _config(run: Run) -> str:
    if not run.config_text:
        return ""
    text = html.escape(run.config_text.strip())
    return f'<details><summary>Resolved configuration</summary><div class="box"><pre>{text}</pre></div></details>'


def _run_facts(data: Data) -> list[tuple[str, str]]:
    run = data.run
    names = ("state", "stop_reason", "rank_layout", "seed", "revision", "program_version", "start_time",
             "first_start_time", "attempt", "mended", "command_line", "job_id", "libraries")  # fmt: skip
    rows = [(n.replace("_", " "), run.attribute(n)) for n in names]
    return [*rows, ("hosts", ", ".join(sorted(set(hosts(run))))), ("wall time", duration(run))]


def write_report(run: Run, out: Path) -> list[Path]:
    """Writes report.png and report.html into `out` and returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    data = collect(run)
    with drawing(LIGHT) as theme:
        figure = draw_overview(data, theme)
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=125, metadata={"Software": None})
        plt.close(figure)
    paths = [out / "report.png", out / "report.html"]
    write_whole(paths[0], png.getvalue())
    write_whole(paths[1], page(data).encode())
    for name, draw, size, _ in _pictures(data):
        paths.append(out / f"report-{name}.png")
        write_whole(paths[-1], _png(draw, size))
    return paths


def _png(draw: Draw, size: tuple[float, float]) -> bytes:
    with drawing(LIGHT) as theme:
        figure = plt.figure(figsize=size, dpi=110)
        draw(figure, theme)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
        plt.close(figure)
    return out.getvalue()
