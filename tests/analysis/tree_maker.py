"""Large synthetic parts, column by column: a tree of any size with its tokens and events, many trees in one file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from run_maker import KINDS, OUTCOMES, STOPS, header, write_table


def _tree(n: int, width: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """(parent, depth) of a tree whose nodes are expanded breadth-first at random."""
    rng = np.random.default_rng(n)
    parent, depth = np.full(n, -1), np.zeros(n, dtype=np.int64)
    open_nodes, made = [0], 1
    while made < n:
        above = open_nodes.pop(int(rng.integers(max(len(open_nodes) - 24, 0), len(open_nodes))))
        for _ in range(min(width, n - made)):
            parent[made], depth[made] = above, depth[above] + 1
            open_nodes.append(made)
            made += 1
    return parent, depth


def write_large_part(
    path: Path, *, trees: int, nodes: int, tokens_per_node: int = 3, events: bool = False, first_key: int = 0
) -> None:
    """A part of `trees` trees of `nodes` nodes each, all of one shape, per docs/hdf5.md."""
    rng = np.random.default_rng(1)
    parent, depth = _tree(nodes)
    total, per_tree = trees * nodes, (nodes - 1) * tokens_per_node
    leaf = ~np.isin(np.arange(nodes), parent)
    outcome = np.where(leaf, np.where(rng.random(nodes) < 0.1, 0, 1), 255).astype(np.uint8)
    created = np.maximum((np.arange(nodes) - 1) // 4, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        header(file, "deepsearch-part")
        count = np.full(nodes, tokens_per_node)
        count[0] = 0
        inside = np.concatenate([[0], np.cumsum(count)[:-1]])
        write_table(file, "nodes", {
            "tree": np.repeat(np.arange(trees), nodes), "parent": np.tile(parent, trees).astype(np.int32),
            "depth": np.tile(depth, trees).astype(np.int32),
            "first_token": np.tile(inside, trees) + np.repeat(np.arange(trees) * per_tree, nodes),
            "n_tokens": np.tile(count, trees).astype(np.int32), "visits": rng.integers(1, 30, total).astype(np.int32),
            "value": rng.normal(0, 1, total), "entropy": rng.uniform(0, 2, total), "logprob": rng.normal(-3, 1, total),
            "terminal": np.tile(leaf, trees), "outcome": np.tile(outcome, trees).astype(OUTCOMES),
            "created": np.tile(created, trees).astype(np.int32), "expanded": np.full(total, -1, dtype=np.int32),
            "made_by_rank": np.zeros(total, dtype=np.int32),
        })  # fmt: skip
        write_table(file, "tokens", {
            "id": rng.integers(1, 28, trees * per_tree).astype(np.int32),
            "logprob": rng.normal(-0.6, 0.2, trees * per_tree).astype(np.float32),
            "entropy": rng.uniform(0, 2, trees * per_tree).astype(np.float32),
            "policy_version": np.zeros(trees * per_tree, dtype=np.int32),
        })  # fmt: skip
        leaves = np.flatnonzero(leaf)[:8]
        write_table(file, "recorded", {
            "tree": np.repeat(np.arange(trees), len(leaves)), "leaf": np.tile(leaves, trees).astype(np.int32),
            "reward": np.tile(np.where(outcome[leaves] == 0, 1.0, -1.0), trees),
            "entropy": np.ones(trees * len(leaves)), "outcome": np.tile(outcome[leaves], trees).astype(OUTCOMES),
            "leftover": np.zeros(trees * len(leaves), dtype=bool),
        })  # fmt: skip
        inner = np.unique(parent[1:])
        n_events = 2 * len(inner) if events else 0
        write_table(file, "events", {
            "tree": np.repeat(np.arange(trees), n_events),
            "iteration": np.tile(np.repeat(np.arange(len(inner)), 2), trees)[: trees * n_events].astype(np.int32),
            "kind": np.tile(np.array([4, 0], dtype=np.uint8), trees * n_events // 2),
            "node": np.tile(np.repeat(inner, 2), trees)[: trees * n_events].astype(np.int32),
            "score": np.ones(trees * n_events),
        })  # fmt: skip
        columns = _tree_columns(trees, nodes, per_tree, len(leaves), n_events, int(depth.max()))
        columns["problem_key"] += np.uint64(first_key)
        write_table(file, "trees", columns)
        write_table(file, "problems", {
            "key": (first_key + np.arange(trees)).astype(np.uint64),
            "id": np.array([f"p{i}" for i in range(trees)], dtype="S64"),
            "prompt": np.full(trees, b"7 3 9 + - >", dtype="S256"),
        })  # fmt: skip


def _tree_columns(
    trees: int, nodes: int, tokens: int, recorded: int, events: int, deepest: int
) -> dict[str, np.ndarray]:
    at, ones = np.arange(trees), np.ones(trees, dtype=np.int64)
    return {
        "kind": np.zeros(trees, dtype=np.uint8).astype(KINDS), "round": 0 * ones, "step": 1 + at // 64,
        "problem_index": at % 64, "attempt": 0 * ones, "problem_key": at.astype(np.uint64), "problem": at,
        "policy_version": 0 * ones, "stop_reason": np.full(trees, 1, dtype=np.uint8).astype(STOPS),
        "iterations": (nodes // 4) * ones, "tokens_generated": tokens * ones, "tokens_prefilled": 0 * ones,
        "seconds": ones * 0.5, "seconds_generating": ones * 0.4, "made_by_rank": 0 * ones, "max_depth": deepest * ones,
        "n_correct": ones, "mean_reward": ones * 0.0, "first_node": at * nodes, "n_nodes": nodes * ones,
        "first_token": at * tokens, "n_tokens": tokens * ones, "first_recorded": at * recorded,
        "n_recorded": recorded * ones, "first_event": at * events, "n_events": events * ones,
    }  # fmt: skip


def make_large_run(folder: Path, *, parts: int, trees: int, nodes: int, **kinds: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "run.h5", "w", libver=("v110", "v110")) as file:
        header(file, "deepsearch-run")
    for part in range(parts):
        write_large_part(
            folder / "parts" / f"s{part:04}-a01-0001.h5", trees=trees, nodes=nodes, first_key=part * trees, **kinds
        )
    return folder
