"""The pieces of the self-contained HTML page: tables, figures inlined as data, the tree as SVG with tooltips."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from deepsearch_analysis.codes import CORRECT, NOT_JUDGED, OUTCOMES
from deepsearch_analysis.reader import Run
from deepsearch_analysis.tree_layout import tidy_layout
from deepsearch_analysis.trees import Tree


def escape(text: object) -> str:
    return html.escape(str(text), quote=True)


def number(value: float) -> str:
    """A number for a table: whole ones whole, others with four significant digits, nothing for a missing one."""
    if not np.isfinite(value):
        return "–"
    if value == round(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e5 else f"{value:,.0f}"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in rows if v)
    return f'<div class="box"><table class="facts">{cells}</table></div>' if cells else ""


def table(columns: Sequence[tuple[str, str, np.ndarray]], most: int = 200) -> str:
    """Columns as (heading, explanation, values); long tables keep evenly spaced rows, the first and last included."""
    if not columns or not len(columns[0][2]):
        return ""
    n = len(columns[0][2])
    rows = np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))
    head = "".join(f'<th title="{escape(why)}">{escape(name)}</th>' for name, why, _ in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{number(float(values[row]))}</td>" for _, _, values in columns) + "</tr>" for row in rows
    )
    note = f'<p class="sub">{len(rows)} of {n:,} rows</p>' if len(rows) < n else ""
    return f'<div class="box"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}'


def text_table(frame: pd.DataFrame) -> str:
    """A frame as it is: texts as texts, numbers as in table(); nothing for an empty one."""
    if not len(frame):
        return ""

    def cell(value: object) -> str:
        return number(float(value)) if isinstance(value, int | float | np.number) else escape(value)

    head = "".join(f"<th>{escape(c)}</th>" for c in frame.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell(v)}</td>" for v in row) + "</tr>" for row in frame.itertuples(index=False)
    )
    return f'<div class="box"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _data(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")


def figure(light: bytes, dark: bytes, alt: str, *, wide: bool = False) -> str:
    """Both variants of a figure; the browser shows the one that fits its colour scheme."""
    return (
        f"<figure{' class=wide' if wide else ''}><picture>"
        f'<source srcset="{_data(dark)}" media="(prefers-color-scheme: dark)">'
        f'<img src="{_data(light)}" alt="{escape(alt)}"></picture></figure>'
    )


def cards(items: Iterable[tuple[str, str]]) -> str:
    return (
        '<div class="cards">'
        + "".join(f'<div class="card"><b>{escape(value)}</b><span>{escape(what)}</span></div>' for value, what in items)
        + "</div>"
    )


def tree_svg(run: Run, tree: Tree) -> str:
    """The tree with a tooltip on every node: its step's text, Q, visits, entropy and verdict."""
    y = tidy_layout(tree.parent)
    depth = max(int(tree.depth.max()), 1)
    width = 1160.0
    gap_x = (width - 40) / depth
    gap_y = float(np.clip(620 / max(float(y.max()), 1), 9, 30))
    radius = float(np.clip(gap_y * 0.36, 3.0, 9.0))
    xs, ys = 20 + tree.depth * gap_x, 16 + y * gap_y
    height = float(ys.max()) + 16
    path = {0, *tree.path_to(tree.best_leaf)} if tree.best_leaf >= 0 else set()
    edges: list[str] = []
    heavy: list[str] = []
    nodes: list[str] = []
    for node in range(len(tree)):
        x1, y1 = xs[node], ys[node]
        if node:
            x0, y0 = xs[tree.parent[node]], ys[tree.parent[node]]
            mid = (x0 + x1) / 2
            curve = f"M{x0:.1f} {y0:.1f}C{mid:.1f} {y0:.1f} {mid:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
            (heavy if node in path else edges).append(curve)
        nodes.append(_node(run, tree, node, x1, y1, radius, node in path))
    return (
        f'<div class="tree"><svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="search tree">'
        f'<path class="edge" d="{"".join(edges)}"/><path class="path" d="{"".join(heavy)}"/>'
        f"{''.join(nodes)}</svg></div>"
    )


def _node(run: Run, tree: Tree, node: int, x: float, y: float, radius: float, on_path: bool) -> str:
    q = float(np.clip(tree.q[node], -1, 1))
    kind = "q-pos" if q > 0 else "q-neg" if q < 0 else "q-zero"
    text = run.words(tree.step_tokens(node)) if node else (tree.prompt or "the prompt")
    verdict = OUTCOMES.get(int(tree.outcome[node]), "") if tree.terminal[node] else ""
    about = f"Q {q:+.2f} · visits {int(tree.visits[node])} · entropy {tree.entropy[node]:.2f}"
    tip = escape("\n".join(t for t in (text[:300], about, verdict) if t))
    opacity = 1.0 if q == 0 else 0.25 + 0.75 * abs(q)
    out = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" style="fill:var(--panel)"/>'
        f'<circle class="{kind}{" on" if on_path else ""}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" '
        f'fill-opacity="{opacity:.2f}"><title>{tip}</title></circle>'
    )
    if tree.terminal[node] and tree.outcome[node] != NOT_JUDGED:
        s = radius * 0.5
        colour = "var(--panel)" if abs(q) > 0.45 else ("var(--good)" if tree.outcome[node] == CORRECT else "var(--bad)")
        if tree.outcome[node] == CORRECT:
            mark = f"M{x - s:.1f} {y:.1f}L{x - s * 0.2:.1f} {y + s * 0.8:.1f}L{x + s:.1f} {y - s * 0.8:.1f}"
        else:
            mark = f"M{x - s:.1f} {y - s:.1f}L{x + s:.1f} {y + s:.1f}M{x - s:.1f} {y + s:.1f}L{x + s:.1f} {y - s:.1f}"
        out += f'<path class="mark" style="stroke:{colour}" d="{mark}"/>'
    return out
