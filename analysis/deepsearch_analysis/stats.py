"""The numbers behind the report, as plain arrays: curves of the metrics tables, shapes of trees, where time went."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deepsearch_analysis.codes import CORRECT, KIND_TREE, RunError
from deepsearch_analysis.reader import Part, Run, Table
from deepsearch_analysis.trees import Tree, load_part_tree

# Phases of a rank in the order they are drawn, and their columns in /metrics/search or /metrics/learner.
PHASE_COLUMNS = (
    ("generating", "seconds_generating"),
    ("verifying", "seconds_verifying"),
    ("bookkeeping", "seconds_bookkeeping"),
    ("learning", "seconds_learn"),
    ("weights", "seconds_weights"),
    ("checkpoints", "seconds_checkpoint"),
    ("logging", "seconds_logging"),
    ("waiting", "seconds_waiting"),
    ("waiting", "seconds_wait"),
)
PHASES = (*dict(PHASE_COLUMNS), "other")


@dataclass(frozen=True)
class Curve:
    """One value over optimisation steps."""

    label: str
    steps: np.ndarray
    values: np.ndarray

    @property
    def first(self) -> float:
        return float(self.values[0])

    @property
    def last(self) -> float:
        return float(self.values[-1])


def _by_step(label: str, steps: np.ndarray, values: np.ndarray) -> Curve:
    """Mean of the values of each step; steps whose values are all missing are left out."""
    good = np.isfinite(values)
    steps, values = steps[good], values[good]
    unique, index = np.unique(steps, return_inverse=True)
    sums = np.bincount(index, weights=values, minlength=len(unique))
    counts = np.bincount(index, minlength=len(unique))
    return Curve(label, unique, sums / np.maximum(counts, 1))


def pass_curves(run: Run) -> dict[int, Curve]:
    """Held-out Pass@k by k, in 0 … 1."""
    table = run.table("metrics/eval")
    curves: dict[int, Curve] = {}
    if not table or "step" not in table:
        return curves
    held_out = table["split_test"] != 0 if "split_test" in table else np.ones(len(table), dtype=bool)
    steps = table["step"][held_out]
    found = []
    if "pass_at_1" in table:
        found.append((1, steps, table["pass_at_1"][held_out]))
    if "pass_at_k" in table and "k" in table:
        ks, values = table["k"][held_out], table["pass_at_k"][held_out]
        found += [(int(k), steps[ks == k], values[ks == k]) for k in np.unique(ks[ks > 1])]
    for k, own_steps, values in found:
        curve = _by_step(f"Pass@{k}", own_steps, values)
        if len(curve.steps):
            curves[k] = curve
    return curves


def metric(table: Table, column: str) -> Curve | None:
    """A column of a metrics table over steps, or nothing when the table lacks it."""
    values, steps = table.get(column), table.get("step")
    if values is None or steps is None:
        return None
    curve = _by_step(column, steps, values.astype(float))
    return curve if len(curve.steps) else None


@dataclass
class Shapes:
    """Every search tree of the run, one element a tree; rollout groups are kept apart."""

    step: np.ndarray
    nodes: np.ndarray
    depth: np.ndarray
    branching: np.ndarray  # children per expanded node
    solved: np.ndarray  # bool: has a correct leaf
    kind: np.ndarray
    problem: np.ndarray
    tokens: np.ndarray
    seconds: np.ndarray
    part: np.ndarray  # index into run.parts
    row: np.ndarray
    warnings: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.step)

    @property
    def is_tree(self) -> np.ndarray:
        return self.kind == KIND_TREE

    def solved_curve(self, mask: np.ndarray, label: str) -> Curve | None:
        if not mask.any():
            return None
        return _by_step(label, self.step[mask], self.solved[mask].astype(float))


def _part_shapes(part: Part) -> dict[str, np.ndarray]:
    n = part.n_trees
    first = part.column("first_node").astype(np.int64)
    count = part.column("n_nodes").astype(np.int64)
    if (first < 0).any() or (count < 1).any():
        raise ValueError("first_node or n_nodes of a tree is out of range")
    end = int((first + count).max())
    parent = part.nodes.rows("parent", 0, end)
    depth = part.nodes.rows("depth", 0, end)
    correct = part.nodes.rows("outcome", 0, end) == CORRECT
    tree_of = np.repeat(np.arange(n), count)
    at = np.repeat(first, count) + np.arange(len(tree_of)) - np.repeat(np.cumsum(count) - count, count)
    max_depth = np.zeros(n, dtype=np.int64)
    np.maximum.at(max_depth, tree_of, depth[at])
    solved = np.bincount(tree_of, weights=correct[at], minlength=n) > 0
    parent_here = parent[at].astype(np.int64)
    place = at - np.repeat(first, count)
    if ((parent_here >= place) | ((parent_here < 0) != (place == 0))).any():
        raise ValueError("a node's parent is not a node made before it")
    inner = parent_here >= 0
    has_children = np.zeros(end, dtype=bool)
    has_children[np.repeat(first, count)[inner] + parent_here[inner]] = True
    expanded = np.bincount(tree_of, weights=has_children[at], minlength=n)
    return {
        "step": part.column("step").astype(np.int64),
        "nodes": count,
        "depth": max_depth,
        "branching": np.divide(count - 1, expanded, out=np.zeros(n), where=expanded > 0),
        "solved": solved,
        "kind": part.column("kind").astype(np.int64),
        "problem": part.column("problem_key"),
        "tokens": part.column("tokens_generated").astype(np.int64),
        "seconds": part.column("seconds").astype(float),
        "row": np.arange(n),
    }


def tree_shapes(run: Run) -> Shapes:
    """Reads /trees and three columns of /nodes of every part; one that does not add up is left out with a warning."""
    pieces: list[dict[str, np.ndarray]] = []
    warnings: list[str] = []
    for index, part in enumerate(run.parts):
        if not part.n_trees:
            continue
        try:
            piece = _part_shapes(part)
        except (IndexError, ValueError, OSError, RunError) as error:
            warnings.append(f"{part.path.name}: left out: {error}")
            continue
        piece["part"] = np.full(part.n_trees, index)
        pieces.append(piece)
    names = ("step", "nodes", "depth", "branching", "solved", "kind", "problem", "tokens", "seconds", "part", "row")
    columns = {n: np.concatenate([p[n] for p in pieces]) if pieces else np.zeros(0) for n in names}
    if not pieces:
        columns["solved"] = columns["solved"].astype(bool)
    return Shapes(**columns, warnings=run.warnings + warnings)


@dataclass(frozen=True)
class Pick:
    """The tree worth drawing, and why."""

    tree: Tree
    heading: str
    detail: str


def pick_tree(run: Run, shapes: Shapes, largest: int = 300) -> Pick | None:
    """A solved tree whose problem's rollouts all failed, if there is one; else the largest solved; else the largest.

    Trees of more than `largest` nodes are taken only when there is no smaller one: they cannot be drawn legibly.
    """
    if not len(shapes):
        return None
    mask = shapes.is_tree if shapes.is_tree.any() else np.ones(len(shapes), dtype=bool)
    rollouts = ~shapes.is_tree
    failed = np.setdiff1d(shapes.problem[rollouts], shapes.problem[rollouts & shapes.solved])
    small = mask & (shapes.nodes <= largest)
    solved = small & shapes.solved
    ranked = (
        (
            solved & np.isin(shapes.problem, failed),
            "A problem that only search solved",
            "every direct rollout had failed",
        ),
        (solved, "One search tree", "the largest that was solved"),
        (small, "One search tree", "the largest; none was solved"),
        (mask, "One search tree", "the smallest"),
    )
    for candidates, heading, detail in ranked:
        if candidates.any():
            size = -shapes.nodes if detail == "the smallest" else shapes.nodes
            best = int(np.flatnonzero(candidates)[np.argmax(size[candidates])])
            tree = load_part_tree(run.parts[int(shapes.part[best])], int(shapes.row[best]))
            return Pick(tree, heading if shapes.is_tree[best] else "One group of rollouts", detail)
    return None


@dataclass(frozen=True)
class RankTime:
    """Where one rank's wall time went, in seconds by phase."""

    who: str
    seconds: dict[str, float]


def _phases(table: Table, rows: np.ndarray) -> dict[str, float]:
    """Seconds by phase, summed over some rows; what no phase accounts for is "other"."""

    def total(column: str) -> float:
        return float(np.nansum(table[column][rows])) if column in table else 0.0

    seconds = {phase: total(column) for phase, column in PHASE_COLUMNS if column in table}
    rest = total("seconds_total") - sum(seconds.values())
    return {**seconds, "other": max(rest, 0.0)}


def rank_times(run: Run) -> list[RankTime]:
    """Search ranks by world rank, from /metrics/search; then the learner, from /metrics/learner."""
    times: list[RankTime] = []
    search, learner = run.table("metrics/search"), run.table("metrics/learner")
    if search and "rank" in search:
        rank = search["rank"].astype(int)
        times += [RankTime(f"search {i}", _phases(search, rank == one)) for i, one in enumerate(np.unique(rank))]
    if learner:
        times.append(RankTime("learner", _phases(learner, np.ones(len(learner), dtype=bool))))
    return [t for t in times if sum(t.seconds.values()) > 0]


def tokens_per_second(run: Run) -> Curve | None:
    """All search ranks together, by step: tokens generated over the step's wall time."""
    table = run.table("metrics/search")
    tokens, steps, wall = table.get("tokens_generated"), table.get("step"), table.get("seconds_total")
    if tokens is None or steps is None or wall is None:
        return None
    unique, index = np.unique(steps, return_inverse=True)
    total = np.bincount(index, weights=np.nan_to_num(tokens), minlength=len(unique))
    slowest = np.zeros(len(unique))
    np.maximum.at(slowest, index, np.nan_to_num(wall))
    good = slowest > 0
    return Curve("tokens/s", unique[good], total[good] / slowest[good]) if good.any() else None
