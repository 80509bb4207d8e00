"""The one reader of a run's folder: run.h5 and parts/*.h5, as docs/hdf5.md describes them.

Everything is lazy: opening a run reads attributes only, a column is read when it is asked for. Files that are still
being written are opened in SWMR mode. A writer appends to the columns of a table one after another, so in a live file
some columns may be a few rows ahead; the rows of a table are those that all its columns have (the common prefix), and
the trees of a part are those whose nodes and tokens are all there.
"""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

MAJOR_VERSION = 1  # kSchemaMajor of src/store/schema.h
RUN_SCHEMA, PART_SCHEMA = "deepsearch-run", "deepsearch-part"

# The enums of src/data/verdict.h and src/data/tree_record.h.
CORRECT, WRONG, INCOMPLETE, NOT_JUDGED = 0, 1, 2, 255
KIND_TREE, KIND_ROLLOUTS = 0, 1
STOP_REASONS = {0: "running", 1: "enough", 2: "exhausted", 3: "budget", 4: "solved", 5: "cancelled"}


class RunError(Exception):
    """The folder or file is not what it should be. The text is one line for people."""


def _text(value: Any) -> str:  # noqa: ANN401 (whatever h5py hands out)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.generic) and value.dtype.kind == "S":
        return bytes(value).decode("utf-8", "replace")
    return str(value)


def _open(path: Path, schema: str) -> h5py.File:
    """Opens a finished, growing or abandoned file for reading, and refuses what this reader does not understand."""
    # A reader needs no lock: SWMR orders the writer's flushes, and many shared file systems have no locks at all.
    os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
    errors: list[str] = []
    file: h5py.File | None = None
    for swmr in (True, False):
        try:
            file = h5py.File(path, "r", swmr=swmr)
            break
        except OSError as error:
            errors.append(str(error))
    if file is None:
        raise RunError(f"{path}: cannot be opened as HDF5: {errors[0]}")
    found = _text(file.attrs.get("schema", ""))
    if found != schema:
        file.close()
        raise RunError(f"{path}: its schema is {found or 'not named'!r}, expected {schema!r}")
    version = np.atleast_1d(file.attrs.get("schema_version", -1))
    if int(version[0]) != MAJOR_VERSION:
        file.close()
        raise RunError(
            f"{path}: version {'.'.join(str(int(v)) for v in version)} of {schema}; this reader knows version "
            f"{MAJOR_VERSION}: use the analysis package that belongs to the program that wrote it"
        )
    return file


class Table:
    """A group of equal-length 1-D columns. len() is the common prefix; table["x"] reads a column."""

    def __init__(self, group: h5py.Group | None, name: str) -> None:
        self.name = name
        self._group = group
        self.columns: tuple[str, ...] = (
            tuple(k for k, v in group.items() if isinstance(v, h5py.Dataset) and v.ndim == 1) if group else ()
        )
        self._length: int | None = None

    def __len__(self) -> int:
        if self._length is None:
            self._length = min((len(self._group[c]) for c in self.columns), default=0) if self._group else 0
        return self._length

    def __bool__(self) -> bool:
        return len(self) > 0

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    def __getitem__(self, column: str) -> np.ndarray:
        return self.rows(column, 0, len(self))

    def rows(self, column: str, first: int, last: int) -> np.ndarray:
        """Rows first … last−1 of a column, cut to what is there."""
        if self._group is None or column not in self.columns:
            raise RunError(f"table {self.name} has no column {column!r}; it has {', '.join(self.columns) or 'none'}")
        data = self._group[column]
        last = min(last, len(self))
        if h5py.check_string_dtype(data.dtype) is not None:
            return np.array([_text(v) for v in data[first:last]], dtype=object)
        return data[first:last]

    def get(self, column: str) -> np.ndarray | None:
        return self[column] if column in self.columns and len(self) else None

    def units(self, column: str) -> str:
        return _text(self._group[column].attrs.get("units", "")) if self._group and column in self.columns else ""

    def description(self, column: str) -> str:
        return _text(self._group[column].attrs.get("description", "")) if self._group and column in self.columns else ""


@dataclass(frozen=True)
class Tree:
    """One tree of a part; node numbers count from 0 (the root) inside the tree."""

    row: int
    kind: int
    step: int
    problem_key: int
    prompt: str
    stop_reason: int
    tokens_generated: int
    seconds: float
    parent: np.ndarray
    depth: np.ndarray
    visits: np.ndarray
    value: np.ndarray  # q(s), accumulated
    entropy: np.ndarray
    terminal: np.ndarray  # bool
    outcome: np.ndarray
    first_token: np.ndarray  # into tokens
    n_tokens: np.ndarray
    tokens: np.ndarray
    recorded: np.ndarray  # leaves, in the order of recording

    def __len__(self) -> int:
        return len(self.parent)

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


class Part:
    """One parts/*.h5: the trees of one search rank."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open(path, PART_SCHEMA)
        self.trees, self.nodes, self.tokens, self.recorded, self.events, self.problems = (
            Table(self._file.get(name), f"{path.name}:/{name}")
            for name in ("trees", "nodes", "tokens", "recorded", "events", "problems")
        )

    @cached_property
    def n_trees(self) -> int:
        """Trees that are whole: their nodes, and those nodes' tokens, have been written."""
        n = len(self.trees)
        if n == 0:
            return 0
        ends = self.trees["first_node"].astype(np.int64) + self.trees["n_nodes"].astype(np.int64)
        whole = ends <= len(self.nodes)
        return int(n if whole.all() else np.argmin(whole))

    def column(self, name: str, default: float = 0) -> np.ndarray:
        """A column of /trees, whole trees only; filled with `default` where an older file lacks it."""
        if name in self.trees:
            return self.trees.rows(name, 0, self.n_trees)
        return np.full(self.n_trees, default)

    def close(self) -> None:
        self._file.close()


class Run:
    """A run's folder. Use as a context manager, or close()."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise RunError(f"{folder}: no such folder")
        if not (self.folder / "run.h5").is_file():
            raise RunError(f"{folder}: not a run's folder: it has no run.h5")
        self._file = _open(self.folder / "run.h5", RUN_SCHEMA)
        self._parts: list[Part] | None = None
        self.warnings: list[str] = []  # parts that were left out, and why

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for part in self._parts or []:
            part.close()
        self._file.close()

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    def attribute(self, name: str, default: str = "") -> str:
        return _text(self._file.attrs[name]) if name in self._file.attrs else default

    def table(self, path: str) -> Table:
        """A table of run.h5 by path ("metrics/learner"); empty when the run has none."""
        found = self._file.get(path)
        return Table(found if isinstance(found, h5py.Group) else None, f"run.h5:/{path}")

    @cached_property
    def config_text(self) -> str:
        path = self.folder / "config.toml"
        if path.is_file():
            return path.read_text(encoding="utf-8", errors="replace")
        return self.attribute("config")

    @cached_property
    def config(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.config_text)
        except tomllib.TOMLDecodeError:
            return {}

    @property
    def parts(self) -> list[Part]:
        """By name. A part that cannot be read (a kill while it was created) is left out and named in warnings."""
        if self._parts is None:
            self._parts = []
            for path in sorted((self.folder / "parts").glob("*.h5")):
                try:
                    self._parts.append(Part(path))
                except RunError as error:
                    self.warnings.append(str(error))
        return self._parts

    @cached_property
    def vocabulary(self) -> dict[int, str]:
        """Token strings by id from a checkpoint's tokenizer.json; empty when there is none."""
        for path in sorted((self.folder / "checkpoints").glob("*/tokenizer.json"), reverse=True):
            try:
                vocab = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
                return {int(i): str(word) for word, i in vocab.items()}
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
        return {}

    def words(self, tokens: np.ndarray) -> str:
        """Tokens as text: words of the vocabulary with blanks between, or ids when there is none."""
        return " ".join(self.vocabulary.get(int(t), f"#{int(t)}") for t in tokens)
