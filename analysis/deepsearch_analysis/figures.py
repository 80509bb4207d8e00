"""The panels of the report. Each takes axes and draws one thing, with its own title and direct labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.path import Path as Shape
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deepsearch_analysis.codes import CORRECT, NOT_JUDGED
from deepsearch_analysis.stats import PHASES, Curve, RankTime, Shapes
from deepsearch_analysis.style import Theme, nothing, spread_labels, title
from deepsearch_analysis.tree_layout import tidy_layout
from deepsearch_analysis.trees import Tree

CHECK = Shape([(-0.55, 0.0), (-0.15, -0.45), (0.6, 0.5)], [Shape.MOVETO, Shape.LINETO, Shape.LINETO])
CROSS = Shape([(-0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (0.5, -0.5)],
              [Shape.MOVETO, Shape.LINETO, Shape.MOVETO, Shape.LINETO])  # fmt: skip

PERCENT = FuncFormatter(lambda v, _: f"{100 * v:.0f} %")


def percent(value: float) -> str:
    """12.3 %, with more digits where there is little."""
    return f"{100 * value:.1f} %" if value >= 0.001 or value == 0 else f"{100 * value:.3f} %"


def short(value: float) -> str:
    """12, 3.4k, 5.6M."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def fit(text: Annotation, room: float) -> None:
    """Cuts a line of text until it is at most `room` points wide."""
    renderer = text.figure.canvas.get_renderer()
    while len(text.get_text()) > 2 and text.get_window_extent(renderer).width * 72 / text.figure.dpi > room:
        text.set_text(text.get_text()[: -max(len(text.get_text()) // 12, 2)] + "…")


def _label_ends(axes: Axes, theme: Theme, labels: Sequence[tuple[float, str, str]], x: float) -> None:
    """Texts to the right of curves' ends: (y, text, colour) each, moved apart so that they do not overlap."""
    low, high = axes.get_ylim()
    height = axes.get_window_extent().height * 72 / axes.figure.dpi
    gap = (high - low) * 11.5 / max(height, 1)
    placed = spread_labels([y for y, _, _ in labels], gap)
    for (_, text, colour), y in zip(labels, placed, strict=True):
        axes.annotate(text, (x, y), (7, 0), textcoords="offset points", color=colour, fontsize=8.6,
                      fontweight="bold", va="center", ha="left", annotation_clip=False)  # fmt: skip


def _step_axis(axes: Axes, last: float) -> None:
    axes.set_xlim(0, max(last, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, steps=[1, 2, 5, 10]))
    axes.set_xlabel("optimisation step")


def accuracy(axes: Axes, theme: Theme, curves: dict[int, Curve]) -> None:
    """Held-out Pass@k over steps; the base policy's value is the dashed line."""
    wanted = [k for k in (1, 16) if k in curves] or list(curves)[:2]
    if not wanted:
        title(axes, theme, "Accuracy on held-out problems")
        nothing(axes, theme, "no evaluation in this run")
        return
    colours = (theme.blue, theme.orange, theme.green)
    last = max(float(curves[k].steps[-1]) for k in wanted)
    top = max(float(curves[k].values.max()) for k in wanted)
    axes.set_ylim(0, min(1.02, top * 1.18 + 0.01))
    _step_axis(axes, last)
    labels, gains = [], []
    for k, colour in zip(wanted, colours, strict=False):
        curve = curves[k]
        axes.axhline(curve.first, color=colour, linewidth=1.0, linestyle=(0, (4, 3)), alpha=0.75, zorder=1.5)
        marker = "o" if len(curve.steps) <= 30 else ""
        axes.plot(curve.steps, curve.values, color=colour, marker=marker, markersize=3.6, markeredgewidth=0,
                  clip_on=False, zorder=3)  # fmt: skip
        axes.plot(curve.steps[-1], curve.last, "o", color=colour, markersize=6, clip_on=False, zorder=4)
        labels.append((curve.last, f"Pass@{k}  {percent(curve.last)}", colour))
        if len(curve.steps) > 1:
            labels.append((curve.first, f"base  {percent(curve.first)}", colour))
            gains.append(f"Pass@{k} {percent(curve.first)} → {percent(curve.last)}")
    axes.yaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    _label_ends(axes, theme, labels, axes.get_xlim()[1])
    title(axes, theme, "Accuracy on held-out problems", ",  ".join(gains) or "one evaluation; dashed: base policy")


def solved_share(axes: Axes, theme: Theme, curves: Sequence[Curve]) -> None:
    """Share of trees, and of direct rollout groups, that hold a correct answer."""
    if not curves:
        title(axes, theme, "Problems solved while training")
        nothing(axes, theme, "no trees in this run")
        return
    axes.set_ylim(0, 1.02)
    _step_axis(axes, max(float(c.steps[-1]) for c in curves))
    labels = []
    for curve, colour in zip(curves, (theme.blue, theme.orange, theme.green), strict=False):
        mean = _smooth(curve.values)
        marker = "o" if len(curve.steps) <= 12 else ""
        axes.plot(curve.steps, mean, color=colour, marker=marker, markersize=3.6, clip_on=False)
        labels.append((float(mean[-1]), f"{curve.label}\n{100 * mean[-1]:.0f} %", colour))
    axes.yaxis.set_major_formatter(PERCENT)
    low, high = axes.get_ylim()
    gap = (high - low) * 0.17
    placed = spread_labels([min(y, high - gap / 2) for y, _, _ in labels], gap)
    placed = [y - max(max(placed) - (high - gap / 2), 0.0) for y in placed]
    for (_, text, colour), y in zip(labels, placed, strict=True):
        axes.annotate(text, (axes.get_xlim()[1], y), (7, 0), textcoords="offset points", color=colour, fontsize=8.4,
                      fontweight="bold", va="center", annotation_clip=False, linespacing=1.15)  # fmt: skip
    title(
        axes,
        theme,
        "Problems solved while training",
        "share with a correct answer" + ("; moving mean" if len(curves[0].steps) > 12 else ""),
    )


def _smooth(values: np.ndarray) -> np.ndarray:
    """Centred mean over about a sixth of the curve, one-sided at its ends; short curves as they are."""
    if len(values) <= 12:
        return values
    half = max(2, len(values) // 12)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def shape_histograms(axes: Sequence[Axes], theme: Theme, shapes: Shapes) -> None:
    """Three small histograms one above the other: nodes, depth and branching of the run's trees."""
    mask = shapes.is_tree if len(shapes) else np.zeros(0, dtype=bool)
    count = int(mask.sum())
    title(axes[0], theme, "Shape of the trees",
          f"{count:,} search trees, median marked" if count else "")  # fmt: skip
    if not count:
        for one in axes[1:]:
            one.set_visible(False)
        nothing(axes[0], theme, "no search trees in this run")
        return
    rows = (("nodes", shapes.nodes[mask], theme.blue), ("depth", shapes.depth[mask], theme.green),
            ("children per\nexpanded node", shapes.branching[mask], theme.purple))  # fmt: skip
    for one, (name, values, colour) in zip(axes, rows, strict=True):
        _histogram(one, theme, name, np.asarray(values, dtype=float), colour)


def _histogram(axes: Axes, theme: Theme, name: str, values: np.ndarray, colour: str) -> None:
    axes.set_yticks([])
    axes.grid(False)
    axes.annotate(name, (0, 0.5), (-8, 0), xycoords="axes fraction", textcoords="offset points", ha="right",
                  va="center", fontsize=8.2, color=theme.quiet, linespacing=1.1)  # fmt: skip
    low, high = float(values.min()), float(np.quantile(values, 0.995))
    if values.max() == low:
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.text(0, 0.5, f" {short(low)} in every tree", transform=axes.transAxes, va="center", fontweight="bold",
                  color=colour)  # fmt: skip
        return
    whole = bool(np.all(values == np.round(values)))
    if whole and high - low <= 40:
        edges = np.arange(np.floor(low) - 0.5, np.ceil(high) + 1.5)
    else:
        edges = np.linspace(low, high if high > low else low + 1, 31)
    counts, edges = np.histogram(np.minimum(values, edges[-1] - 1e-9), bins=edges)
    axes.bar(edges[:-1], counts, width=np.diff(edges) * 0.86, align="edge", color=colour, linewidth=0, alpha=0.85)
    median = float(np.median(values))
    axes.axvline(median, color=theme.ink, linewidth=1.0)
    axes.set_ylim(0, counts.max() * 1.3)
    left = median < (edges[0] + edges[-1]) / 2
    axes.annotate(short(median), (median, 1.0), (4 if left else -4, -1), xycoords=("data", "axes fraction"),
                  textcoords="offset points", ha="left" if left else "right", va="top", fontsize=8.2,
                  fontweight="bold")  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=whole, steps=[1, 2, 5, 10]))


def rank_times(axes: Axes, theme: Theme, ranks: Sequence[RankTime], most: int = 12) -> None:
    """Stacked horizontal bars, one a rank: where its wall time went."""
    if not ranks:
        title(axes, theme, "Where the time went")
        nothing(axes, theme, "no timing in this run")
        return
    shown = list(ranks)
    note = ""
    if len(shown) > most:  # the slowest and the fastest say more than all
        order = sorted(shown, key=lambda r: r.seconds.get("waiting", 0.0))
        shown = order[: most // 2] + order[-most // 2 :]
        note = f"; {most} of {len(ranks)} ranks, by waiting"
    total = max(sum(r.seconds.values()) for r in shown) or 1.0
    shown = [_without_slivers(r, 0.004 * total) for r in shown]
    used = [p for p in PHASES if any(r.seconds.get(p, 0.0) > 0 for r in shown)]
    unit, name = (60.0, "minutes") if total > 300 else (1.0, "seconds")
    y = np.arange(len(shown))[::-1]
    left = np.zeros(len(shown))
    for phase in used:
        width = np.array([r.seconds.get(phase, 0.0) for r in shown]) / unit
        axes.barh(y, width, left=left, height=0.66, color=theme.phase_colour(phase), linewidth=0, zorder=2)
        left += width
    axes.set_yticks(y, [r.who for r in shown])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlim(0, total / unit)
    axes.set_xlabel(f"{name} of wall time")
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    _phase_key(axes, theme, used, shown)
    title(axes, theme, "Where the time went", f"share of all ranks' time at the right{note}")


def _without_slivers(rank: RankTime, least: float) -> RankTime:
    """Phases too short to be seen join "other"."""
    kept = {phase: s for phase, s in rank.seconds.items() if s >= least and phase != "other"}
    return RankTime(rank.who, {**kept, "other": sum(rank.seconds.values()) - sum(kept.values())})


def _phase_key(axes: Axes, theme: Theme, used: Sequence[str], ranks: Sequence[RankTime]) -> None:
    """A column of words to the right of the bars, each with its colour and its share of all time."""
    total = sum(sum(r.seconds.values()) for r in ranks) or 1.0
    for place, phase in enumerate(used):
        share = sum(r.seconds.get(phase, 0.0) for r in ranks) / total
        words = f"{phase}  {100 * share:.0f} %" if share >= 0.005 else f"{phase}  <1 %"
        for offset, text, colour in ((10, "■", theme.phase_colour(phase)), (21, words, theme.ink)):
            axes.annotate(text, (1, 1), (offset, -14.5 * place), xycoords="axes fraction", textcoords="offset points",
                          fontsize=8.2, color=colour, va="top", annotation_clip=False)  # fmt: skip


def throughput(axes: Axes, theme: Theme, curve: Curve | None) -> None:
    """Tokens generated per second, all search ranks together."""
    if curve is None or not len(curve.steps):
        title(axes, theme, "Tokens per second")
        nothing(axes, theme, "no timing in this run")
        return
    axes.set_ylim(0, max(float(curve.values.max()) * 1.15, 1e-9))
    if len(curve.steps) > 12:
        axes.plot(curve.steps, curve.values, color=theme.blue, linewidth=0.8, alpha=0.35)
    mean = _smooth(curve.values)
    axes.plot(curve.steps, mean, color=theme.blue, marker="o" if len(mean) <= 12 else "", markersize=3.6, clip_on=False)
    axes.fill_between(curve.steps, 0, mean, color=theme.blue, alpha=0.10, linewidth=0)
    axes.set_xlim(min(0.0, float(curve.steps[0])), max(float(curve.steps[-1]), 1e-9))
    axes.set_xlabel("optimisation step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: short(v)))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    title(axes, theme, "Tokens per second",
          f"all ranks, median {short(float(np.median(curve.values)))}")  # fmt: skip


def tree(axes: Axes, theme: Theme, drawn: Tree, heading: str, detail: str) -> None:
    """One search tree, root at the left: colour is Q, the correct path is heavy, terminals carry ✓ or ✗."""
    y = tidy_layout(drawn.parent)
    x = drawn.depth.astype(float)
    on_path = np.zeros(len(drawn), dtype=bool)
    if drawn.best_leaf >= 0:
        on_path[[0, *drawn.path_to(drawn.best_leaf)]] = True
    axes.set_axis_off()
    spread = max(float(y.max()), 1.0)
    axes.set_xlim(-0.35, max(float(x.max()), 1.0) + 0.35)
    axes.set_ylim(spread + 0.8, -0.8)
    box = axes.get_window_extent()
    room = min(box.height * 72 / axes.figure.dpi / (spread + 1.6), box.width * 72 / axes.figure.dpi / (x.max() + 0.7))
    size = float(np.clip(room * 0.72, 2.2, 15.0))  # circle's diameter in points
    _edges(axes, theme, drawn, x, y, on_path, size)
    colours = theme.q_map()((np.clip(drawn.q, -1, 1) + 1) / 2)
    rim = [theme.green if p else theme.grey for p in on_path]
    axes.scatter(x, y, s=size**2, c=colours, edgecolors=rim,
                 linewidths=np.where(on_path, max(1.0, size / 7), 0.5), zorder=3, clip_on=False)  # fmt: skip
    _terminals(axes, theme, drawn, x, y, size)
    title(axes, theme, heading, detail)


def _edges(axes: Axes, theme: Theme, drawn: Tree, x: np.ndarray, y: np.ndarray, path: np.ndarray, size: float) -> None:
    t = np.linspace(0, 1, 12)
    bend = 3 * t**2 - 2 * t**3
    plain, heavy = [], []
    for node in range(1, len(drawn)):
        above = int(drawn.parent[node])
        line = np.column_stack([x[above] + (x[node] - x[above]) * t, y[above] + (y[node] - y[above]) * bend])
        (heavy if path[node] and path[above] else plain).append(line)
    axes.add_collection(LineCollection(plain, colors=theme.grey, linewidths=0.7, alpha=0.55, zorder=1))
    axes.add_collection(LineCollection(heavy, colors=theme.green, linewidths=max(2.0, size / 3.2), zorder=2,
                                       capstyle="round"))  # fmt: skip


def _terminals(axes: Axes, theme: Theme, drawn: Tree, x: np.ndarray, y: np.ndarray, size: float) -> None:
    judged = drawn.terminal & (drawn.outcome != NOT_JUDGED)
    for right, shape in ((True, CHECK), (False, CROSS)):
        mask = judged & ((drawn.outcome == CORRECT) == right)
        q = np.clip(drawn.q[mask], -1, 1)
        on_colour = np.abs(q) > 0.45
        for flag, colour in ((True, theme.page), (False, theme.green if right else theme.negative)):
            at = np.flatnonzero(mask)[on_colour == flag]
            axes.scatter(x[at], y[at], s=(size * 0.62) ** 2, marker=shape, facecolors="none", edgecolors=colour,
                         linewidths=max(0.8, size / 7.5), zorder=4, clip_on=False)  # fmt: skip


def q_key(axes: Axes, theme: Theme) -> None:
    """A small bar that says what the colours of a tree mean."""
    ramp = np.linspace(-1, 1, 128)[None, :]
    axes.imshow(ramp, cmap=theme.q_map(), aspect="auto", extent=(-1, 1, 0, 1))
    axes.set_yticks([])
    axes.set_xticks([-1, 0, 1], ["−1", "0", "+1"])
    axes.tick_params(axis="x", length=0, pad=2, labelsize=7.5)
    axes.grid(False)
    axes.spines["bottom"].set_visible(False)
    axes.annotate("Q", (0, 0.5), (-5, 0), xycoords="axes fraction", textcoords="offset points", ha="right",
                  va="center", fontsize=8.4, color=theme.quiet, fontstyle="italic")  # fmt: skip
