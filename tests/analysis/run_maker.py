"""Writes small run folders in the layout of docs/hdf5.md, with a made-up but lifelike run inside."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

WORDS = ["<pad>", *[str(i) for i in range(21)], "+", "-", "*", "/", ";", ".", ">"]
OUTCOMES = h5py.enum_dtype({"correct": 0, "wrong": 1, "incomplete": 2, "none": 255}, basetype="u1")
KINDS = h5py.enum_dtype({"tree": 0, "rollouts": 1}, basetype="u1")
STOPS = h5py.enum_dtype(
    {"running": 0, "enough": 1, "exhausted": 2, "budget": 3, "solved": 4, "cancelled": 5}, basetype="u1"
)
CONFIG = '[run]\nseed = 7\n\n[task]\nname = "bag"\nsizes = [12]\n\n[search]\nwidth = 4\n'


@dataclass
class PartTables:
    """Columns of one part, grown tree by tree."""

    trees: list[dict] = field(default_factory=list)
    nodes: list[dict] = field(default_factory=list)
    tokens: list[dict] = field(default_factory=list)
    recorded: list[dict] = field(default_factory=list)


def _value(outcome: int, depth: int, deepest: int) -> float:
    return (1.0 if outcome == 0 else -1.0) * max((depth + 1) / (deepest + 1), 0.1)


def _steps_of(rng: np.random.Generator, last: bool) -> list[int]:
    words = [*rng.integers(1, 10, 1), 22 + rng.integers(0, 4), *rng.integers(1, 10, 1), rng.integers(2, 21)]
    return [int(w) if w > 21 else int(w) + 1 for w in words] + [27 if last else 26]


def grow(rng: np.random.Generator, kind: int, depth: int, width: int, solved: bool) -> list[dict]:
    """Nodes of one tree: deepest alive first, or for rollouts chains that meet at the root only."""
    nodes = [{"parent": -1, "depth": 0, "outcome": 255, "terminal": False, "visits": 1, "value": 0.0}]

    def add(parent: int, terminal: bool, outcome: int) -> int:
        at = nodes[parent]["depth"] + 1
        nodes.append({"parent": parent, "depth": at, "outcome": outcome, "terminal": terminal,
                      "visits": 0 if terminal else 1, "value": 0.0})  # fmt: skip
        return len(nodes) - 1

    if kind == 1:
        for i in range(width):
            node, length = 0, int(rng.integers(2, depth + 1))
            for j in range(length):
                last = j == length - 1
                right = last and solved and i == 0
                node = add(node, last, (0 if right else 1) if last else 255)
    else:
        stack = [0]
        while stack and len(nodes) < 400:
            node = stack.pop()
            alive = []
            for _ in range(width):
                last = nodes[node]["depth"] + 1 == depth
                dead = rng.random() < 0.62
                if last:
                    right = solved and rng.random() < 0.5
                    add(node, True, 0 if right else 1)
                elif dead:
                    add(node, True, 1)
                else:
                    alive.append(add(node, False, 255))
            stack += alive[::-1]
            if any(n["outcome"] == 0 for n in nodes):
                break
    terminals = sorted((n for n in nodes if n["terminal"]), key=lambda n: n["outcome"])
    for n in terminals[:8] if kind == 0 else terminals:
        deepest, here, place = n["depth"], n, n["depth"]
        while True:
            step = _value(n["outcome"], place, deepest)
            here["visits"] += 1
            if step > 0 or here["value"] <= 0:
                here["value"] = step if here["value"] < 0 < step else here["value"] + step
            if here["parent"] < 0:
                break
            here, place = nodes[here["parent"]], place - 1
    return nodes


def add_tree(part: PartTables, rng: np.random.Generator, *, kind: int, step: int, problem: int, solved: bool) -> None:
    nodes = grow(rng, kind, depth=int(rng.integers(9, 13)), width=4, solved=solved)
    row, first_node, first_recorded = len(part.trees), len(part.nodes), len(part.recorded)
    first_token = len(part.tokens)
    for node, n in enumerate(nodes):
        ids = _steps_of(rng, n["outcome"] == 0) if node else []
        part.nodes.append({**n, "tree": row, "first_token": len(part.tokens), "n_tokens": len(ids),
                           "entropy": rng.uniform(0.3, 1.6), "logprob": -3.0, "created": 0, "expanded": -1,
                           "made_by_rank": 0})  # fmt: skip
        part.tokens += [{"id": i, "logprob": -0.6, "entropy": 0.9} for i in ids]
        if n["terminal"] and n["visits"] and len(part.recorded) - first_recorded < 8:
            part.recorded.append({"tree": row, "leaf": node, "reward": 1.0 if n["outcome"] == 0 else -1.0,
                                  "entropy": 0.9, "outcome": n["outcome"], "leftover": False})  # fmt: skip
    part.trees.append({
        "kind": kind, "round": 0, "step": step, "problem_index": problem % 16, "attempt": 0,
        "problem_key": 1000 + problem,
        "problem": 0, "policy_version": step - 1, "stop_reason": 4, "iterations": 30, "first_node": first_node,
        "tokens_generated": 5 * len(nodes), "tokens_prefilled": 30, "seconds": 0.4, "seconds_generating": 0.37,
        "made_by_rank": 0, "max_depth": max(n["depth"] for n in nodes), "n_correct": int(solved), "mean_reward": 0.0,
        "n_nodes": len(nodes), "first_token": first_token, "n_tokens": len(part.tokens) - first_token,
        "first_recorded": first_recorded, "n_recorded": len(part.recorded) - first_recorded, "first_event": 0,
        "n_events": 0,
    })  # fmt: skip


def write_table(file: h5py.File, path: str, columns: dict[str, np.ndarray]) -> None:
    group = file.create_group(path)
    for name, values in columns.items():
        data = group.create_dataset(name, data=values, maxshape=(None,), chunks=(max(len(values), 16),))
        data.attrs["units"] = "s" if name.startswith("seconds") else ""
        data.attrs["description"] = f"the {name}"


def header(file: h5py.File, schema: str, version: tuple[int, int] = (1, 0)) -> None:
    file.attrs["schema"] = np.bytes_(schema)
    file.attrs["schema_version"] = np.array(version, dtype=np.int64)
    for name, text in (("revision", "f367816a1b2c"), ("config", CONFIG), ("rank_layout", "3 search, 1 learner"),
                       ("command_line", "deepsearch train"), ("state", "finished")):  # fmt: skip
        file.attrs[name] = np.bytes_(text)
    file.attrs["seed"] = np.uint64(7)


def _typed(rows: list[dict], name: str) -> np.ndarray:
    kinds = {"outcome": OUTCOMES, "kind": KINDS, "stop_reason": STOPS, "terminal": bool, "leftover": bool,
             "problem_key": np.uint64}  # fmt: skip
    values = [row[name] for row in rows]
    return np.array(values, dtype=kinds.get(name, float if isinstance(values[0], float) else np.int64))


def write_part(path: Path, part: PartTables) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        header(file, "deepsearch-part")
        for name in ("nodes", "tokens", "recorded", "trees"):
            rows = getattr(part, name)
            write_table(file, name, {c: _typed(rows, c) for c in rows[0]})
        prompt = np.array([b"7 3 9 1 4 8 2 6 5 3 2 8 9 + + - * + + - + - * + + >"], dtype="S256")
        write_table(file, "problems", {"key": np.array([1000], dtype=np.uint64), "prompt": prompt})


def _search_metrics(rng: np.random.Generator, steps: int, ranks: int) -> dict[str, np.ndarray]:
    step = np.repeat(np.arange(1, steps + 1), ranks).astype(float)
    total = np.repeat(rng.uniform(2.6, 3.2, steps), ranks)
    share = {"generating": 0.86, "verifying": 0.015, "bookkeeping": 0.02, "logging": 0.008}
    columns = {"step": step, "rank": np.tile(np.arange(ranks), steps).astype(float)}
    columns |= {f"seconds_{k}": total * v * rng.uniform(0.9, 1.05, len(step)) for k, v in share.items()}
    busy = sum(v for k, v in columns.items() if k.startswith("seconds"))
    columns["seconds_waiting"] = total - busy
    columns["seconds_total"] = total
    columns["trees"] = np.full(len(step), 5.0)
    columns["tokens_generated"] = rng.normal(21000, 1500, len(step)) * (1 + 0.25 * step / steps)
    for name, mean in (("depth", 10.2), ("entropy", 1.1), ("reward", -0.4), ("iterations", 31.0), ("seconds", 0.4)):
        columns[f"tree_{name}_mean"] = rng.normal(mean, 0.1 * abs(mean), len(step))
    return columns


def make_run(folder: Path, *, steps: int = 80, ranks: int = 3, trees_every: int = 1, vocabulary: bool = True) -> Path:
    """A whole run; steps = 0 leaves every table empty."""
    rng = np.random.default_rng(5)
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG)
    with h5py.File(folder / "run.h5", "w", libver=("v110", "v110")) as file:
        header(file, "deepsearch-run")
        file.attrs["wall_seconds"] = 3.4 * steps
        file.attrs["start_time"] = np.bytes_("2025-03-01T12:30:01Z")
        t = np.arange(1, steps + 1).astype(float)
        write_table(file, "metrics/search", _search_metrics(rng, steps, ranks))
        write_table(file, "metrics/learner", {
            "step": t, "loss": rng.normal(0, 0.02, steps), "policy_entropy": 0.9 - 0.004 * t,
            "grad_norm": rng.uniform(0.2, 0.6, steps), "clip_fraction": rng.uniform(0, 0.02, steps),
            "seconds_wait": rng.uniform(1.8, 2.0, steps), "seconds_learn": rng.uniform(0.8, 1.0, steps),
            "seconds_weights": np.full(steps, 0.03), "seconds_logging": np.full(steps, 0.02),
            "seconds_checkpoint": np.full(steps, 0.01), "seconds_total": np.full(steps, 3.05),
        })  # fmt: skip
        at = np.arange(0, steps + 1, max(steps // 8, 1)).astype(float) if steps else np.zeros(0)
        rise = 1 - np.exp(-at / 35)
        write_table(file, "metrics/eval", {
            "step": at, "pass_at_1": 0.052 + 0.31 * rise, "pass_at_k": 0.38 + 0.33 * rise, "k": np.full(len(at), 16.0),
            "problems": np.full(len(at), 256.0), "split_test": np.ones(len(at)),
        })  # fmt: skip
        names = [f"search{i}" for i in range(ranks)] + ["learner0"]
        write_table(file, "ranks", {
            "rank": np.arange(len(names)), "role": np.array(names, dtype="S16"),
            "host": np.array(["node1", "node2"] * len(names), dtype="S128")[: len(names)],
        })  # fmt: skip
    if trees_every and steps:
        for rank in range(ranks):
            part = PartTables()
            for step in range(1, steps + 1, trees_every):
                problem = step * 10 + rank
                chance = 0.25 + 0.5 * (1 - np.exp(-step / 35))
                lucky = bool(rng.random() < chance)
                add_tree(part, rng, kind=1, step=step, problem=problem, solved=lucky)
                if not lucky:
                    add_tree(part, rng, kind=0, step=step, problem=problem, solved=bool(rng.random() < 0.8))
                add_tree(part, rng, kind=0, step=step, problem=problem + 5, solved=bool(rng.random() < 0.85))
            write_part(folder / "parts" / f"s{rank:04}-a01-0001.h5", part)
    if vocabulary:
        checkpoint = folder / "checkpoints" / f"step-{steps:06}"
        checkpoint.mkdir(parents=True)
        vocab = {word: i for i, word in enumerate(WORDS)}
        (checkpoint / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordLevel", "vocab": vocab}}))
    return folder
