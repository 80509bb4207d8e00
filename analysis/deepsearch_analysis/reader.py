"""The one reader of a run's folder: run.h5 and parts/*.h5, as docs/hdf5.md describes them.

Everything is lazy: opening a run reads attributes only, a column is read when it is asked for. Files that are still
being written are opened in SWMR mode. A writer appends to the columns of a table one after another, so in a live file
some columns may be a few rows ahead; the rows of a table are those that all its columns have (the common prefix), and
the trees of a part are those whose nodes and tokens are all there.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import pandas as pd

from deepsearch_analysis import frames
from deepsearch_analysis.codes import MAJOR_VERSION, PART_SCHEMA, RUN_SCHEMA, RunError
from deepsearch_analysis.pieces import Pieces, find_pieces
from deepsearch_analysis.trees import Tree, find_trees, load_tree


def _text(value: Any) -> str:  # noqa: ANN401 (whatever h5py hands out)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.generic) and value.dtype.kind == "S":
        return bytes(value).decode("utf-8", "replace")
    return str(value)


def _why(error: Exception) -> str:
    """HDF5's complaint in words for people."""
    text = str(error)
    if isinstance(error, PermissionError) or "Permission denied" in text or "errno = 13" in text:
        return "no permission to read it"
    if "signature not found" in text:
        return "not an HDF5 file, or one that is only being created"
    if "truncated file" in text:
        return "truncated: it is shorter than its own header says"
    if isinstance(error, FileNotFoundError) or "No such file" in text:
        return "no such file"
    return "damaged or not readable: " + " ".join(text.split())


def _open(path: Path, schema: str) -> h5py.File:
    """Opens a finished, growing or abandoned file for reading, and refuses what this reader does not understand."""
    # A reader needs no lock: SWMR orders the writer's flushes, and many shared file systems have no locks at all.
    os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
    first: Exception | None = None
    file: h5py.File | None = None
    # Plain first: in SWMR mode HDF5 reads a damaged block again and again, with ever longer pauses.
    for swmr in (False, True):
        try:
            file = h5py.File(path, "r", swmr=swmr)
            break
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            first = first or error
            if "already open for" not in str(error):  # SWMR helps where a writer has, or had, the file open
                break
    if file is None:
        raise RunError(f"{path}: cannot be opened as HDF5: {_why(first or OSError())}")
    try:
        _check_header(file, path, schema)
    except RunError:
        file.close()
        raise
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        file.close()
        raise RunError(f"{path}: its attributes cannot be read: {_why(error)}") from None
    return file


def _check_header(file: h5py.File, path: Path, schema: str) -> None:
    found = _text(file.attrs.get("schema", ""))
    if found != schema:
        raise RunError(f"{path}: its schema is {found or 'not named'!r}, expected {schema!r}")
    version = np.atleast_1d(file.attrs.get("schema_version", -1))
    if int(version[0]) != MAJOR_VERSION:
        raise RunError(
            f"{path}: version {'.'.join(str(int(v)) for v in version)} of {schema}; this reader knows version "
            f"{MAJOR_VERSION}: use the analysis package that belongs to the program that wrote it"
        )


def _group(file: h5py.File, name: str, path: Path) -> h5py.Group | None:
    try:
        found = file.get(name)
    except (OSError, RuntimeError, KeyError) as error:
        raise RunError(f"{path}: /{name}: cannot be read: {_why(error)}") from None
    return found if isinstance(found, h5py.Group) else None


def _attribute(place: h5py.File | h5py.Dataset, name: str, default: str, where: object) -> str:
    try:
        return _text(place.attrs[name]) if name in place.attrs else default
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{where}: attribute {name}: cannot be read: {_why(error)}") from None


class Table:
    """A group of equal-length 1-D columns. len() is the common prefix; table["x"] reads a column."""

    def __init__(self, group: h5py.Group | None, name: str) -> None:
        self.name = name
        try:
            self._data: dict[str, h5py.Dataset] = (
                {k: v for k, v in group.items() if isinstance(v, h5py.Dataset) and v.ndim == 1} if group else {}
            )
        except (OSError, RuntimeError, KeyError) as error:
            raise RunError(f"{name}: cannot be read: {_why(error)}") from None
        self.columns: tuple[str, ...] = tuple(self._data)
        self._length: int | None = None

    def __len__(self) -> int:
        if self._length is None:
            self._length = min((len(data) for data in self._data.values()), default=0)
        return self._length

    def refresh(self) -> None:
        """Looks at a growing file again: len() and what is read from now on have its new rows."""
        for data in self._data.values():
            data.id.refresh()
        self._length = None

    def __bool__(self) -> bool:
        return len(self) > 0

    def __contains__(self, column: object) -> bool:
        return column in self._data

    def __getitem__(self, column: str) -> np.ndarray:
        return self.rows(column, 0, len(self))

    def rows(self, column: str, first: int, last: int) -> np.ndarray:
        """Rows first … last−1 of a column, cut to what is there."""
        data = self._data.get(column)
        if data is None:
            raise RunError(f"table {self.name} has no column {column!r}; it has {', '.join(self.columns) or 'none'}")
        last = min(last, len(self))
        try:
            values = data[first:last]
        except (OSError, RuntimeError) as error:
            raise RunError(f"{self.name}/{column}: rows {first} to {last} cannot be read: {_why(error)}") from None
        if h5py.check_string_dtype(data.dtype) is not None:
            return np.array([_text(v) for v in values], dtype=object)
        return values

    def get(self, column: str) -> np.ndarray | None:
        return self[column] if column in self._data and len(self) else None

    def names(self, column: str) -> dict[int, str]:
        """Of an enum column: its numbers' names; nothing for other columns."""
        enum = h5py.check_enum_dtype(self._data[column].dtype) if column in self._data else None
        return {int(number): name for name, number in (enum or {}).items()}

    def _note(self, column: str, name: str) -> str:
        data = self._data.get(column)
        return "" if data is None else _attribute(data, name, "", f"{self.name}/{column}")

    def units(self, column: str) -> str:
        return self._note(column, "units")

    def description(self, column: str) -> str:
        return self._note(column, "description")


MISSING_AT_RECORDED = (
    'Only the paths to recorded trajectories were stored ([store].level = "recorded"): other branches of the trees, '
    "and what the search did there, are missing."
)


class Part:
    """One parts/*.h5: the trees of one search rank."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open(path, PART_SCHEMA)
        self.trees, self.nodes, self.tokens, self.recorded, self.events, self.problems = (
            self.table(name) for name in ("trees", "nodes", "tokens", "recorded", "events", "problems")
        )

    def table(self, name: str) -> Table:
        """A table of the part; empty when it has none of that name."""
        found = _group(self._file, name, self.path)
        return Table(found, f"{self.path}: /{name}")

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def attempt(self) -> int:
        """Of the run, from the name sRRRR-aAA-NNNN; 1 where a name says nothing."""
        found = re.fullmatch(r"s\d+-a(\d+)-\d+", self.name)
        return int(found.group(1)) if found else 1

    def attribute(self, name: str, default: str = "") -> str:
        return _attribute(self._file, name, default, self.path)

    @property
    def level(self) -> str:
        """all: whole trees; recorded: roots and the paths to recorded trajectories only."""
        return self.attribute("level") or "all"

    @property
    def mantissa_bits(self) -> int:
        """Kept of the tokens' log-probabilities and entropies."""
        return int(self.attribute("mantissa_bits", "23"))

    def refresh(self) -> None:
        """Looks at a growing file again."""
        for table in (self.nodes, self.tokens, self.recorded, self.events, self.problems, self.trees):
            table.refresh()
        self.__dict__.pop("n_trees", None)

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
        return _attribute(self._file, name, default, self.folder / "run.h5")

    def table(self, path: str) -> Table:
        """A table of run.h5 by path ("metrics/learner"); empty when the run has none."""
        found = _group(self._file, path, self.folder / "run.h5")
        return Table(found, f"{self.folder / 'run.h5'}: /{path}")

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

    @property
    def level(self) -> str:
        """[store].level: metrics, recorded or all; of a run whose parts differ, the one that holds least."""
        stored = self.config.get("store", {}).get("level", "all")
        return "recorded" if any(part.level == "recorded" for part in self.parts) else str(stored)

    @property
    def notes(self) -> list[str]:
        """What the files leave out, a line each."""
        lines = []
        if self.level == "metrics":
            lines.append('No trees were stored ([store].level = "metrics").')
        if self.level == "recorded":
            lines.append(MISSING_AT_RECORDED)
        mended = [(f"{part.name}.h5", part.attribute("mended")) for part in self.parts]
        for name, when in [("run.h5", self.attribute("mended")), *mended]:
            if when:
                lines.append(f"{name}: mended {when} after its writer was killed: rows that were not whole are gone.")
        return lines

    @cached_property
    def tokenizer(self) -> Pieces:
        """From a checkpoint of the run, else from the base policy's folder; without words when neither is there."""
        return find_pieces(self.folder, str(self.config.get("model", {}).get("path", "")))

    @property
    def vocabulary(self) -> dict[int, str]:
        return self.tokenizer.pieces

    def words(self, tokens: np.ndarray) -> str:
        """Tokens as text; ids where there is no vocabulary."""
        return self.tokenizer.text(tokens)

    # Tables as pandas frames; of the parts all together, one row a tree, node, token, ….

    def metrics(self, name: str) -> pd.DataFrame:
        """/metrics/NAME: learner, search or eval."""
        return frames.run_table(self, f"metrics/{name}")

    def evaluation(self, name: str) -> pd.DataFrame:
        """/evaluation/NAME: benchmarks, scores, problems or samples; empty where the run is no evaluation."""
        return frames.run_table(self, f"evaluation/{name}")

    @cached_property
    def trees(self) -> pd.DataFrame:
        """/trees of all parts, indexed by `tree`; of a tree that two attempts have grown, the later one."""
        return frames.trees(self)

    @cached_property
    def problems(self) -> pd.DataFrame:
        """The run's problems, indexed by key: /problems of run.h5, or of the parts while that is empty."""
        return frames.problems(self)

    def nodes(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """/nodes of all parts, with the `tree` they belong to; only some columns when named."""
        return frames.rows_of_trees(self, "nodes", columns)

    def tokens(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        return frames.rows_of_trees(self, "tokens", columns)

    def recorded(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        return frames.rows_of_trees(self, "recorded", columns)

    def events(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        return frames.rows_of_trees(self, "events", columns)

    def tree(self, wanted: int | str) -> Tree:
        """One tree: its number in `trees`, its name as `deepsearch inspect --list` prints it, a problem's id or key,
        or one of rescue, solved, largest."""
        return load_tree(self, find_trees(self, wanted)[0])
