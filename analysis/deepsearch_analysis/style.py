"""Colours and typography: one palette, a light and a dark variant, safe for the common kinds of colour blindness."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
from cycler import cycler
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

# Preferred families that are often installed; the last one comes with matplotlib.
FAMILIES = ("Inter", "Source Sans 3", "Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "DejaVu Sans")


@dataclass(frozen=True)
class Theme:
    """One variant of the look. Hues follow Okabe and Ito; the dark variant is lighter for the same contrast."""

    name: str
    page: str
    panel: str
    ink: str
    quiet: str  # secondary text
    grid: str
    blue: str
    orange: str
    green: str
    amber: str
    purple: str
    sky: str
    grey: str
    negative: str  # Q = -1
    neutral: str  # Q = 0
    positive: str  # Q = +1

    def q_map(self) -> LinearSegmentedColormap:
        return LinearSegmentedColormap.from_list(f"q-{self.name}", [self.negative, self.neutral, self.positive])

    def phase_colour(self, phase: str) -> str:
        return {
            "generating": self.blue,
            "verifying": self.amber,
            "bookkeeping": self.purple,
            "logging": self.sky,
            "learning": self.green,
            "weights": self.orange,
            "checkpoints": self.ink,
            "waiting": self.grid,
        }.get(phase, self.grey)


LIGHT = Theme(
    name="light", page="#ffffff", panel="#ffffff", ink="#1f2733", quiet="#667080", grid="#e4e8ee",
    blue="#0b6fb4", orange="#d55e00", green="#0a8f68", amber="#e6a011", purple="#b5659b", sky="#6cb9e8",
    grey="#9aa4b2", negative="#c4372a", neutral="#f3f1ec", positive="#1f63b0",
)  # fmt: skip
DARK = Theme(
    name="dark", page="#12161c", panel="#191f27", ink="#e8ecf1", quiet="#98a3b3", grid="#2c3540",
    blue="#58aef0", orange="#f58b3f", green="#35c493", amber="#f2bd4a", purple="#d991c3", sky="#8fd0f5",
    grey="#7d8896", negative="#e8675a", neutral="#39414c", positive="#5aa5f2",
)  # fmt: skip


def _family() -> list[str]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [family for family in FAMILIES if family in installed] or ["sans-serif"]


@contextmanager
def drawing(theme: Theme) -> Iterator[Theme]:
    """Draws inside this block have the theme's look."""
    settings = {
        "font.family": _family(),
        "font.size": 9.0,
        "figure.facecolor": theme.page,
        "savefig.facecolor": theme.page,
        "axes.facecolor": "none",
        "axes.edgecolor": theme.grid,
        "axes.linewidth": 0.8,
        "axes.labelcolor": theme.quiet,
        "axes.labelsize": 8.5,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.prop_cycle": cycler(color=[theme.blue, theme.orange, theme.green, theme.purple, theme.amber, theme.sky]),
        "grid.color": theme.grid,
        "grid.linewidth": 0.7,
        "text.color": theme.ink,
        "xtick.color": theme.grid,
        "ytick.color": theme.grid,
        "xtick.labelcolor": theme.quiet,
        "ytick.labelcolor": theme.quiet,
        "xtick.labelsize": 8.0,
        "ytick.labelsize": 8.0,
        "xtick.major.size": 3.0,
        "ytick.major.size": 0.0,
        "lines.linewidth": 2.0,
        "lines.solid_capstyle": "round",
        "text.parse_math": False,  # a prompt may hold dollar signs
        "svg.fonttype": "path",
        "svg.hashsalt": "deepsearch",  # the same data give the same bytes
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        # A prompt in a script that the font lacks is drawn as boxes; that is no reason to write to the terminal.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield theme


def title(axes: Axes, theme: Theme, text: str, detail: str = "") -> None:
    """A panel's title, left aligned over the axes, with one quiet line of explanation below it."""
    gap = 6 + 11.5 * (detail.count("\n") + 1) if detail else 6
    axes.annotate(text, (0, 1), (0, gap), xycoords="axes fraction", textcoords="offset points",
                  fontsize=10.5, fontweight="bold", color=theme.ink, ha="left", va="bottom",
                  annotation_clip=False)  # fmt: skip
    if detail:
        axes.annotate(detail, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points",
                      fontsize=8.2, color=theme.quiet, ha="left", va="bottom", annotation_clip=False)  # fmt: skip


def nothing(axes: Axes, theme: Theme, text: str) -> None:
    """What a panel shows when the run has no data for it."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines["bottom"].set_visible(False)
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=theme.quiet, fontsize=9)


def spread_labels(values: list[float], gap: float) -> list[float]:
    """Moves values apart so that neighbours differ by at least `gap`, as little as needed: label positions."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    placed = [0.0] * len(values)
    blocks: list[tuple[float, list[int]]] = []  # (centre, members in order)
    for i in order:
        block = (values[i], [i])
        while blocks and block[0] - gap * (len(block[1]) - 1) / 2 < blocks[-1][0] + gap * (len(blocks[-1][1]) + 1) / 2:
            centre, members = blocks.pop()
            joined = members + block[1]
            block = ((centre * len(members) + block[0] * len(block[1])) / len(joined), joined)
        blocks.append(block)
    for centre, members in blocks:
        for place, i in enumerate(members):
            placed[i] = centre + gap * (place - (len(members) - 1) / 2)
    return placed
