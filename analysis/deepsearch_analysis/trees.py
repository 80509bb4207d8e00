"""One tree: its columns, why its nodes were picked, what learning made of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from deepsearch_analysis.codes import CORRECT, KIND_REPLAY, KIND_TREE, RunError

if TYPE_CHECKING:
    from deepsearch_analysis.reader import Part, Run, Table


@dataclass(frozen=True)
class Tree:
    """One tree of a part; node numbers count from 0 (the root) inside the tree."""

    name: str
    row: int
    kind: int
    step: int
    problem_key: int
    prompt: str
    stop_reason: int
    iterations: int
    tokens_generated: int
    seconds: float
    policy_version: int
    nodes: dict[str, np.ndarray]  # the columns of /nodes; first_token counts from the tree's own
    token_columns: dict[str, np.ndarray]  # of /tokens
    recorded_columns: dict[str, np.ndarray]  # of /recorded, in order of recording
    events: dict[str, np.ndarray]  # of /events
    problem: dict[str, str]  # id, source, prompt, answer as far as the part has them
    level: str = "all"  # recorded: the root and the paths to recorded trajectories, nothing else

    def __len__(self) -> int:
        return len(self.parent)

    def _node_column(self, name: str, default: float = 0) -> np.ndarray:
        return self.nodes.get(name, np.full(len(self.nodes["parent"]), default))

    @cached_property
    def parent(self) -> np.ndarray:
        return self.nodes["parent"].astype(np.int64)

    @cached_property
    def depth(self) -> np.ndarray:
        return self.nodes["depth"].astype(np.int64)

    @cached_property
    def visits(self) -> np.ndarray:
        """N(s)"""
        return self.nodes["visits"].astype(np.int64)

    @cached_property
    def value(self) -> np.ndarray:
        """q(s), accumulated."""
        return self.nodes["value"].astype(float)

    @cached_property
    def entropy(self) -> np.ndarray:
        return self.nodes["entropy"].astype(float)

    @cached_property
    def terminal(self) -> np.ndarray:
        return self.nodes["terminal"].astype(bool)

    @cached_property
    def outcome(self) -> np.ndarray:
        return self.nodes["outcome"].astype(int)

    @cached_property
    def first_token(self) -> np.ndarray:
        return self.nodes["first_token"].astype(np.int64)

    @cached_property
    def n_tokens(self) -> np.ndarray:
        return self.nodes["n_tokens"].astype(np.int64)

    @property
    def tokens(self) -> np.ndarray:
        return self.token_columns.get("id", np.zeros(0, dtype=np.int32))

    @cached_property
    def recorded(self) -> np.ndarray:
        """Leaves, in the order of recording."""
        return self.recorded_columns.get("leaf", np.zeros(0)).astype(np.int64)

    @cached_property
    def q(self) -> np.ndarray:
        """Q(s) = q(s)/N(s), 0 where N(s) = 0 or q(s) is not a number."""
        mean = np.divide(self.value, self.visits, out=np.zeros(len(self)), where=self.visits > 0)
        return np.nan_to_num(mean)

    @property
    def correct_leaves(self) -> np.ndarray:
        return np.flatnonzero(self.terminal & (self.outcome == CORRECT))

    @cached_property
    def best_leaf(self) -> int:
        """The correct leaf that was recorded first, else any correct one, else −1."""
        correct = set(self.correct_leaves.tolist())
        return next((int(leaf) for leaf in self.recorded if int(leaf) in correct), min(correct, default=-1))

    def path_to(self, node: int) -> list[int]:
        """Nodes from the root's child down to `node`."""
        path: list[int] = []
        while node > 0 and len(path) <= len(self):
            path.append(int(node))
            node = int(self.parent[node])
        return path[::-1]

    def step_tokens(self, node: int) -> np.ndarray:
        first = max(int(self.first_token[node]), 0)
        return self.tokens[first : first + int(self.n_tokens[node])]

    def advantages(self, config: dict[str, Any]) -> np.ndarray | None:
        """Of every node that training used, NaN elsewhere, by section 3 of the algorithm as the run's [learn] sets it.

        Nothing where it depends on more than the tree: credit by values, or an overlong penalty.
        """
        learn = config.get("learn", {})
        credit, norm = learn.get("credit", "node"), learn.get("advantage_norm", "mean")
        penalised = learn.get("overlong", "penalty") == "penalty" and learn.get("overlong_penalty", 1.0)
        by_values = credit not in ("node", "outcome") or learn.get("terminals", "recorded") != "recorded"
        if self.kind == KIND_REPLAY:  # always the group's, the mean only
            credit, norm, by_values = "node", "mean", False
        if by_values or penalised or not len(self.recorded) or "reward" not in self.recorded_columns:
            return None
        kept = np.asarray(self.recorded_columns.get("dropped", np.zeros(len(self.recorded)))) == 0  # by the safeguard
        recorded, rewards = self.recorded[kept], self.recorded_columns["reward"][kept].astype(float)
        if not len(recorded):
            return None
        if credit == "outcome":
            rewards = np.where(self.outcome[recorded] == CORRECT, 1.0, -1.0)
        mean, scale = _baseline(rewards, norm, sample=credit == "outcome")
        epsilon, most = learn.get("epsilon_q", 1.0), learn.get("q_max", 1.0)
        own = self.value if epsilon == 0 else most * np.tanh(self.value / epsilon)
        out = np.full(len(self), np.nan)
        for leaf, reward in zip(recorded, rewards, strict=True):
            path = self.path_to(int(leaf))
            out[path] = own[path] if credit == "node" and self.kind == KIND_TREE else reward
            out[leaf] = reward
        return (out - mean) * scale


def _baseline(scores: np.ndarray, norm: str, *, sample: bool) -> tuple[float, float]:
    """baseline_of() of src/search/credit.h: what is subtracted, and the factor."""
    if norm == "none":
        return 0.0, 1.0
    if len(scores) == 1:
        return 0.0, 1.0 if norm == "mean" else 1.0 / (1.0 + 1e-6)
    if norm == "mean":
        return float(scores.mean()), 1.0
    spread = float(scores.std(ddof=1 if sample else 0))
    return float(scores.mean()), 0.0 if scores.min() == scores.max() else 1.0 / (spread + 1e-6)


def _slice(table: Table, first: int, count: int) -> dict[str, np.ndarray]:
    if count < 0 or first < 0 or first + count > len(table):
        raise RunError(f"{table.name}: a tree refers to rows {first} to {first + count}, it has {len(table)}")
    return {name: table.rows(name, first, first + count) for name in table.columns}


def load_part_tree(part: Part, row: int) -> Tree:
    """Reads one whole tree. Throws RunError where /trees refers to rows that are not there."""
    tables = part.trees

    def value(name: str, default: float = 0) -> Any:  # noqa: ANN401 (whatever the column holds)
        return tables.rows(name, row, row + 1)[0] if name in tables else default

    nodes = _slice(part.nodes, int(value("first_node")), int(value("n_nodes")))
    first_token = int(value("first_token"))
    tokens = _slice(part.tokens, first_token, int(value("n_tokens"))) if "id" in part.tokens else {}
    nodes["first_token"] = nodes["first_token"].astype(np.int64) - first_token
    at, problems = int(value("problem", -1)), part.problems
    problem = (
        {n: str(problems.rows(n, at, at + 1)[0]) for n in ("id", "source", "prompt", "answer") if n in problems}
        if 0 <= at < len(problems)
        else {}
    )
    return Tree(
        name=f"{part.name}:{row}",
        row=row,
        kind=int(value("kind")),
        step=int(value("step")),
        problem_key=int(value("problem_key")),
        prompt=problem.get("prompt", ""),
        stop_reason=int(value("stop_reason")),
        iterations=int(value("iterations")),
        tokens_generated=int(value("tokens_generated")),
        seconds=float(value("seconds")),
        policy_version=int(value("policy_version")),
        nodes=nodes,
        token_columns=tokens,
        recorded_columns=_slice(part.recorded, int(value("first_recorded")), int(value("n_recorded"))),
        events=_slice(part.events, int(value("first_event")), int(value("n_events"))),
        problem=problem,
        level=part.level,
    )


def load_tree(run: Run, number: int) -> Tree:
    """By its number in run.trees."""
    row = run.trees.loc[number]
    return load_part_tree(run.parts[int(row["part"])], int(row["row"]))


def find_trees(run: Run, wanted: int | str) -> list[int]:
    """Numbers in run.trees; of a problem all its trees and groups of rollouts, trees first and the latest before."""
    trees = run.trees
    if not len(trees) and run.level == "metrics":
        raise RunError(f'{run.folder}: no trees were stored ([store].level = "metrics")')
    if not len(trees):
        raise RunError(f"{run.folder}: no whole tree in its parts (yet)")
    text = str(wanted)
    if text in ("rescue", "solved", "largest"):
        return [_by_word(run, text)]
    if (trees["name"] == text).any():
        return [int(trees.index[trees["name"] == text][0])]
    if isinstance(wanted, int) and wanted in trees.index:
        return [wanted]
    keys = _keys(run, text)
    own = trees[trees["problem_key"].isin(keys)]
    if not len(own):
        raise RunError(
            f"{run.folder}: no tree {text!r}: give a tree's name (s0000-a01-0001:12), a problem's id or key, or one of "
            "rescue, solved, largest"
        )
    own = own.assign(group=own["kind"].astype(str) != "tree")
    return [int(i) for i in own.sort_values(["group", "step"], ascending=[True, False], kind="stable").index]


def _keys(run: Run, text: str) -> list[int]:
    problems = run.problems
    if len(problems) and "id" in problems and (problems["id"] == text).any():
        return [int(k) for k in problems.index[problems["id"] == text]]
    try:
        return [int(text, 0)]
    except ValueError:
        return []


def _by_word(run: Run, word: str) -> int:
    trees = run.trees
    searched = trees[trees["kind"].astype(str) == "tree"]
    solved = searched[searched["n_correct"] > 0]
    if word == "rescue":
        groups = trees[(trees["kind"].astype(str) == "rollouts") & (trees["n_correct"] == 0)]
        place = ["step", "problem_index", "problem_key"]
        solved = solved[solved.set_index(place).index.isin(groups.set_index(place).index)]
    chosen = searched if word == "largest" else solved
    if not len(chosen):
        raise RunError(f"{run.folder}: no tree is {word!r} (largest takes any)")
    return int(chosen["n_nodes"].idxmax())
