"""The tables of a run as pandas frames, many parts as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from deepsearch_analysis.codes import RunError

if TYPE_CHECKING:
    from deepsearch_analysis.reader import Part, Run, Table

# What names a tree's place in training: two attempts of a resumed run may both have grown it.
PLACE = ["kind", "round", "step", "problem_index", "problem_key", "attempt"]
_TEXT_COLUMNS = ("id", "source", "prompt", "answer")


def _column(table: Table, name: str, last: int) -> np.ndarray | pd.Categorical:
    """Enums come with their names."""
    values = table.rows(name, 0, last)
    names = table.names(name)
    if not names or set(names.values()) == {"FALSE", "TRUE"}:
        return values
    order = sorted(names)
    code_of = np.full(256, -1, dtype=np.int8)
    code_of[order] = np.arange(len(order))
    return pd.Categorical.from_codes(code_of[values], [names[i] for i in order])


def run_table(run: Run, path: str) -> pd.DataFrame:
    table = run.table(path)
    return pd.DataFrame({name: _column(table, name, len(table)) for name in table.columns})


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    if not frames:
        return pd.DataFrame()
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def trees(run: Run) -> pd.DataFrame:
    """Rows of /trees with `part` (place in run.parts), `row` there and `name`, indexed by their number `tree`."""
    pieces = []
    for place, part in enumerate(run.parts):
        if part.n_trees or (not pieces and part is run.parts[-1]):  # no tree yet: the columns all the same
            own = pd.DataFrame({name: _column(part.trees, name, part.n_trees) for name in part.trees.columns})
            own["part"], own["row"], own["run_attempt"] = place, np.arange(part.n_trees), part.attempt
            own["name"] = [f"{part.name}:{row}" for row in range(part.n_trees)]
            pieces.append(own)
    whole = _joined(pieces)
    whole.index.name = "tree"
    if not len(whole) or not set(PLACE) <= set(whole.columns):
        return whole
    order = whole.sort_values("run_attempt", kind="stable") if whole["run_attempt"].nunique() > 1 else whole
    return order.drop_duplicates(PLACE, keep="last").sort_index()


def _first_of(part: Part, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(first row, rows) of every whole tree in a table of the part."""
    columns = {"nodes": ("first_node", "n_nodes"), "tokens": ("first_token", "n_tokens"),
               "recorded": ("first_recorded", "n_recorded"), "events": ("first_event", "n_events")}[name]  # fmt: skip
    first, count = (part.column(c).astype(np.int64) for c in columns)
    return first, count


def rows_of_trees(run: Run, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Rows of a table of all parts that belong to the trees of run.trees; `tree` is the tree's number there."""
    kept = run.trees.index.to_numpy()
    pieces: list[dict[str, np.ndarray | pd.Categorical]] = []
    base = 0
    for part in run.parts:
        if not part.n_trees and (pieces or part is not run.parts[-1]):
            continue
        first, count = _first_of(part, name)
        table: Table = getattr(part, name)
        end = int((first + count).max(initial=0))
        if end > len(table) or (first < 0).any() or (count < 0).any() or (np.diff(first) < 0).any():
            raise RunError(f"{table.name}: does not hold the rows that /trees refers to")
        own = {"tree": np.repeat(np.arange(base, base + len(count)), count)[:end]}
        own |= {c: _column(table, c, end) for c in (columns or table.columns) if c != "tree"}
        here = kept[(kept >= base) & (kept < base + len(count))]
        if len(here) < len(count):
            good = np.isin(own["tree"], here)
            own = {c: values[good] for c, values in own.items()}
        pieces.append(own)
        base += len(count)
    if not pieces:
        return pd.DataFrame()
    if any(set(p) != set(pieces[0]) for p in pieces):  # parts of different minor versions
        return pd.concat([pd.DataFrame(p) for p in pieces], ignore_index=True)
    return pd.DataFrame({c: _concatenated([p[c] for p in pieces]) for c in pieces[0]}, copy=False)


def _concatenated(values: list[np.ndarray | pd.Categorical]) -> np.ndarray | pd.Categorical:
    if len(values) == 1:
        return values[0]
    return union_categoricals(values) if isinstance(values[0], pd.Categorical) else np.concatenate(values)


def problems(run: Run) -> pd.DataFrame:
    tables = [run.table("problems")]
    if not len(tables[0]):
        tables = [part.problems for part in run.parts]
    pieces = [pd.DataFrame({n: _column(t, n, len(t)) for n in t.columns}) for t in tables if len(t) and "key" in t]
    whole = _joined(pieces)
    return whole.drop_duplicates("key").set_index("key") if len(whole) else whole
