"""tree-….html: search trees to zoom, fold, search and replay, in one file without a network."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepsearch_analysis.codes import CORRECT, KINDS, STOP_REASONS, RunError
from deepsearch_analysis.files import write_whole
from deepsearch_analysis.reader import MISSING_AT_RECORDED, Run
from deepsearch_analysis.trees import Tree, find_trees, load_tree

PAGES = Path(__file__).parent / "pages"
SCRIPTS = ("tree_model.js", "tree_view.js", "tree_page.js")
MOST_OTHER_NODES = 20_000  # of the trees that are on a page besides those that were asked for


def _list(values: np.ndarray, digits: int = 0) -> list[Any]:
    """For JSON: whole numbers as they are, others with so many decimals, what is not finite as null."""
    if values.dtype.kind != "f":
        return values.astype(np.int64).tolist()
    rounded = np.round(values.astype(float), digits).astype(object)
    rounded[~np.isfinite(values)] = None
    return rounded.tolist()


def _tree_data(run: Run, tree: Tree, problem: int) -> dict[str, Any]:
    def node(name: str) -> np.ndarray:
        return tree.nodes.get(name, np.zeros(len(tree)))

    parent = tree.parent
    if (parent[1:] >= np.arange(1, len(tree))).any() or (parent[1:] < 0).any() or (len(tree) and parent[0] >= 0):
        raise RunError(f"{run.folder}: {tree.name}: /nodes/parent: a node's parent is not a node made before it")
    advantages = tree.advantages(run.config)
    zeros = np.zeros(len(tree.tokens))
    events = {n: tree.events.get(n, np.zeros(0, dtype=np.int64)) for n in ("iteration", "kind", "node")}
    return {
        "name": tree.name,
        "problem": problem,
        "kind": KINDS.get(tree.kind, "tree"),
        "step": tree.step,
        "stop": STOP_REASONS.get(tree.stop_reason, str(tree.stop_reason)),
        "iterations": max(tree.iterations - 1, 0),
        "prompt": tree.prompt,
        "missing": MISSING_AT_RECORDED if tree.level == "recorded" else "",
        "correct": int((tree.outcome[tree.recorded] == CORRECT).sum()) if len(tree.recorded) else 0,
        "parent": _list(parent),
        "depth": _list(tree.depth),
        "visits": _list(tree.visits),
        "value": _list(tree.value, 6),
        "entropy": _list(tree.entropy, 4),
        "logprob": _list(node("logprob").astype(float), 4),
        "terminal": _list(tree.terminal.astype(np.int8)),
        "outcome": _list(tree.outcome),
        "created": _list(node("created")),
        "expanded": _list(node("expanded")),
        "rank": _list(node("made_by_rank")),
        "first": _list(tree.first_token),
        "count": _list(tree.n_tokens),
        "recorded": _list(tree.recorded),
        "leftover": _list(tree.recorded_columns.get("leftover", np.zeros(len(tree.recorded))).astype(np.int8)),
        "advantage": None if advantages is None else _list(advantages, 5),
        "tokens": {
            "id": _list(tree.tokens),
            "logprob": _list(tree.token_columns.get("logprob", zeros).astype(float), 3),
            "entropy": _list(tree.token_columns.get("entropy", zeros).astype(float), 3),
        },
        "events": {
            **{n: _list(v) for n, v in events.items()},
            "score": _list(tree.events.get("score", np.zeros(0)).astype(float), 6),
        },
    }


def chosen_trees(run: Run, keys: Sequence[str], others: int) -> list[int]:
    """The wanted trees, then up to `others` more of the same step, small ones first: the links of the page."""
    wanted = list(dict.fromkeys(n for key in keys for n in find_trees(run, key)))
    trees = run.trees
    rest = trees[(trees["step"] == trees.loc[wanted[0], "step"]) & ~trees.index.isin(wanted)]
    same = trees[trees["problem_key"].isin(trees.loc[wanted, "problem_key"]) & ~trees.index.isin(wanted)]
    room = MOST_OTHER_NODES
    for number in [*same.index, *rest.sort_values("n_nodes", ascending=False).index]:
        if others <= 0:
            break
        size = int(trees.loc[number, "n_nodes"])
        if number not in wanted and size <= room:
            wanted.append(int(number))
            room -= size
            others -= 1
    return wanted


def page_data(run: Run, numbers: Sequence[int], pages: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    problems: dict[int, dict[str, str]] = {}
    trees = []
    for number in numbers:
        tree = load_tree(run, number)
        problems.setdefault(tree.problem_key, {"key": str(tree.problem_key), **tree.problem})
        trees.append(_tree_data(run, tree, list(problems).index(tree.problem_key)))
    used = np.unique(np.concatenate([np.asarray(t["tokens"]["id"], dtype=np.int64) for t in trees]))
    search = run.config.get("search", {})
    return {
        "run": run.name,
        "problems": list(problems.values()),
        "trees": trees,
        "pages": [{"name": name, "file": file} for name, file in pages],
        "vocabulary": {int(t): run.tokenizer.piece(t) for t in used if int(t) in run.vocabulary},
        "joint": " " if run.tokenizer.kind == "words" else "",
        "rules": {"backup": search.get("backup", "constrained"), "gamma_min": search.get("gamma_min", 0.1)},
    }


def tree_page(data: dict[str, Any]) -> str:
    def text(name: str) -> str:
        return (PAGES / name).read_text(encoding="utf-8")

    # A closing tag inside the JSON would end its element.
    packed = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    parts = {
        "TITLE": html.escape(f"trees of {data['run']}"),
        "CSS": text("tree.css"),
        "DATA": packed,
        "SCRIPT": "\n".join(text(name) for name in SCRIPTS),
    }
    return re.sub(r"@(TITLE|CSS|DATA|SCRIPT)@", lambda found: parts[found.group(1)], text("tree.html"))


def file_name(key: str) -> str:
    return f"tree-{re.sub(r'[^A-Za-z0-9._-]+', '_', key)[:80]}.html"


def write_tree_pages(run: Run, keys: Sequence[str], out: Path, others: int = 8) -> list[Path]:
    """One page a key; pages of one call link to each other."""
    numbers = {key: chosen_trees(run, [key], others) for key in keys}
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for key in keys:
        pages = [(other, file_name(other)) for other in keys if other != key]
        path = out / file_name(key)
        write_whole(path, tree_page(page_data(run, numbers[key], pages)).encode())
        paths.append(path)
    return paths
