"""The reader: what it refuses, the common prefix of rows, live files."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from deepsearch_analysis import stats
from deepsearch_analysis.codes import CORRECT, RunError
from deepsearch_analysis.reader import Part, Run
from deepsearch_analysis.trees import load_part_tree
from run_maker import header, make_run


def copy(run: Path, where: Path) -> Path:
    return Path(shutil.copytree(run, where / "copy"))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run\.h5"):
        Run(tmp_path)
    with pytest.raises(RunError, match="no such folder"):
        Run(tmp_path / "absent")
    (tmp_path / "run.h5").write_bytes(b"not HDF5 at all")
    with pytest.raises(RunError, match="cannot be opened as HDF5"):
        Run(tmp_path)


@pytest.mark.parametrize(("schema", "version", "message"), [
    ("deepsearch-part", (1, 0), "expected 'deepsearch-run'"),
    ("", (1, 0), "not named"),
    ("deepsearch-run", (2, 0), "version 2.0 of deepsearch-run"),
])  # fmt: skip
def test_foreign_and_newer_files_are_refused(
    tmp_path: Path, schema: str, version: tuple[int, int], message: str
) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as file:
        header(file, schema, version)
    with pytest.raises(RunError, match=message):
        Run(tmp_path)


def test_a_newer_minor_version_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as file:
        header(file, "deepsearch-run", (1, 9))
    with Run(tmp_path) as run:
        assert run.attribute("rank_layout") == "3 search, 1 learner"
        assert not run.table("metrics/learner")
        assert run.parts == []


def test_rows_are_those_that_all_columns_have(small_run: Path, tmp_path: Path) -> None:
    folder = copy(small_run, tmp_path)
    with h5py.File(folder / "run.h5", "r+") as file:
        file["metrics/learner/loss"].resize((4,))
    with Run(folder) as run:
        table = run.table("metrics/learner")
        assert len(table) == 4
        assert len(table["grad_norm"]) == 4
        assert table.units("seconds_learn") == "s"
        assert table.description("loss") == "the loss"
        with pytest.raises(RunError, match="no column 'absent'"):
            table["absent"]


def test_trees_count_only_with_their_nodes(small_run: Path, tmp_path: Path) -> None:
    folder = copy(small_run, tmp_path)
    path = sorted((folder / "parts").glob("*.h5"))[0]
    with h5py.File(path, "r+") as file:
        first = file["trees/first_node"][:]
        whole = len(first) - 2
        for column in file["nodes"].values():
            column.resize((int(first[whole]) + 1,))
    part = Part(path)
    assert part.n_trees == whole
    assert len(part.column("kind")) == whole
    part.close()


def test_a_part_that_was_never_finished_is_named_and_left_out(small_run: Path, tmp_path: Path) -> None:
    folder = copy(small_run, tmp_path)
    (folder / "parts" / "s0009-a01-0001.h5").write_bytes(b"\0" * 100)
    with Run(folder) as run:
        assert len(run.parts) == 2
        assert len(run.warnings) == 1
        assert "s0009" in run.warnings[0]


def test_a_growing_file_is_read_while_its_writer_has_it_open(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        header(file, "deepsearch-run")
        group = file.create_group("metrics/eval")
        for name in ("step", "pass_at_1"):
            group.create_dataset(name, shape=(0,), maxshape=(None,), chunks=(64,), dtype=float)
        file.swmr_mode = True
        for name, n in (("step", 3), ("pass_at_1", 2)):
            file[f"metrics/eval/{name}"].resize((n,))
            file[f"metrics/eval/{name}"][:] = np.arange(n) / 10
            file[f"metrics/eval/{name}"].flush()
        with Run(tmp_path) as run:
            assert len(run.table("metrics/eval")) == 2
            assert stats.pass_curves(run)[1].last == pytest.approx(0.1)


def test_a_run_without_a_tree_yet_has_its_columns(small_run: Path, tmp_path: Path) -> None:
    folder = copy(small_run, tmp_path)
    for path in (folder / "parts").glob("*.h5"):
        with h5py.File(path, "r+") as file:
            for table in ("trees", "nodes", "tokens", "recorded"):
                for column in file[table].values():
                    column.resize((0,))
    with Run(folder) as run:
        assert (len(run.trees), run.trees["n_nodes"].sum()) == (0, 0)
        assert len(run.nodes(["value"])["value"]) == 0
        assert len(run.recorded()) == len(run.tokens()) == 0


def test_a_tree_comes_back_as_written(small_run: Path) -> None:
    with Run(small_run) as run:
        shapes = stats.tree_shapes(run)
        solved = int(np.flatnonzero(shapes.solved & shapes.is_tree)[0])
        tree = load_part_tree(run.parts[int(shapes.part[solved])], int(shapes.row[solved]))
        assert len(tree) == shapes.nodes[solved]
        assert tree.depth.max() == shapes.depth[solved]
        assert tree.outcome[tree.best_leaf] == CORRECT
        path = tree.path_to(tree.best_leaf)
        assert tree.parent[path[0]] == 0
        assert all(tree.parent[b] == a for a, b in pairwise(path))
        assert run.words(tree.step_tokens(path[-1])).endswith(".")
        assert tree.prompt.startswith("7 3 9")


def test_words_without_a_vocabulary_are_ids(tmp_path: Path) -> None:
    with Run(make_run(tmp_path / "bare", steps=2, ranks=1, vocabulary=False)) as run:
        assert run.words(np.array([3, 26])) == "#3 #26"
