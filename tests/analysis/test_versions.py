"""What schema 1.1 added, and what a store's level leaves out: read, and said on every page."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from browser import drive, needs_browser
from deepsearch_analysis.__main__ import main
from deepsearch_analysis.reader import Run
from deepsearch_analysis.summary import summary

REAL = Path(__file__).parent / "real_run"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A run as [store].level = "recorded" leaves it: the paths to recorded trajectories; its part was mended."""
    folder = Path(shutil.copytree(REAL, tmp_path / "recorded"))
    (path,) = (folder / "parts").glob("*.h5")
    with h5py.File(path, "r+") as file:
        keep_paths(file)
        for name, text in (("level", "recorded"), ("mended", "2025-03-01T12:30:01Z"), ("a_later_one", "x")):
            file.attrs[name] = np.bytes_(text)
        file.attrs["mantissa_bits"] = np.int64(12)
        file.attrs["schema_version"] = np.array([1, 7])
        file["nodes"].create_dataset("a_later_one", data=np.zeros(len(file["nodes/parent"])), maxshape=(None,))
    return folder


def keep_paths(file: h5py.File) -> None:
    """recorded_paths() of src/data/tree_record.h, for a whole part."""
    trees, nodes = file["trees"], {n: d[:] for n, d in file["nodes"].items()}
    recorded, events = {n: d[:] for n, d in file["recorded"].items()}, {n: d[:] for n, d in file["events"].items()}
    kept, first, happened = [], [0], [0]
    left = []
    for row in range(len(trees["n_nodes"])):
        start, own = int(trees["first_node"][row]), recorded["tree"] == row
        on_path = {0}
        for leaf in recorded["leaf"][own]:
            while leaf > 0:
                on_path.add(int(leaf))
                leaf = nodes["parent"][start + leaf]
        numbers = {old: new for new, old in enumerate(sorted(on_path))}
        recorded["leaf"][own] = [numbers[int(leaf)] for leaf in recorded["leaf"][own]]
        for old in numbers:
            nodes["parent"][start + old] = numbers.get(int(nodes["parent"][start + old]), -1)
        kept += [start + old for old in numbers]
        first.append(len(kept))
        here = [e for e in np.flatnonzero(events["tree"] == row) if int(events["node"][e]) in (*numbers, -1)]
        events["node"][here] = [numbers.get(int(events["node"][e]), -1) for e in here]
        left += here
        happened.append(len(left))
    for table, columns, rows in (("nodes", nodes, kept), ("events", events, left)):
        for name, values in columns.items():
            file[table][name].resize((len(rows),))
            file[table][name][:] = values[rows]
    for name, values in recorded.items():
        file["recorded"][name][:] = values
    trees["first_node"][:], trees["n_nodes"][:] = first[:-1], np.diff(first)
    trees["first_event"][:], trees["n_events"][:] = happened[:-1], np.diff(happened)


def test_attributes_and_columns_of_other_minor_versions(recorded: Path) -> None:
    with Run(recorded) as run:
        assert (run.level, run.parts[0].mantissa_bits) == ("recorded", 12)
        assert run.attribute("mended") == ""
        assert "a_later_one" in run.nodes()
        assert [note.split(":")[0] for note in run.notes] == [
            "Only the paths to recorded trajectories were stored ([store].level = \"recorded\")",
            "s0000-a01-0001.h5",
        ]  # fmt: skip
        assert "mended 2025-03-01T12:30:01Z" in summary(run)
    with Run(REAL) as run:
        assert (run.level, run.parts[0].mantissa_bits, run.notes) == ("all", 23, [])


def test_pages_say_what_was_not_stored(recorded: Path, tmp_path: Path) -> None:
    with Run(REAL) as whole, Run(recorded) as run:
        assert len(run.nodes()) < len(whole.nodes())
        assert len(run.recorded()) == len(whole.recorded())
    for command in (("report",), ("tree", "largest"), ("export", "--to", "parquet")):
        assert main([command[0], str(recorded), *command[1:], "--out", str(tmp_path / "out")]) == 0
    for page in ("report.html", "tree-largest.html"):
        assert "Only the paths to recorded trajectories were stored" in (tmp_path / "out" / page).read_text()


@needs_browser
def test_a_tree_of_paths_is_drawn_and_replayed(recorded: Path, tmp_path: Path) -> None:
    assert main(["tree", str(recorded), "largest", "--out", str(tmp_path)]) == 0
    seen = drive(tmp_path / "tree-largest.html", """
      const d = window.deepsearch, m = d.model;
      d.drawNow();
      const end = m.replayed(m.last), side = document.getElementById("side").textContent;
      return {nodes: m.n, drawn: d.view.drawn, said: side.includes("other branches of the trees"),
              recorded: [end.recorded.length, m.recorded.length]};""", tmp_path)  # fmt: skip
    assert seen["drawn"] == seen["nodes"] > 8
    assert seen["said"]
    assert seen["recorded"][0] == seen["recorded"][1] > 0


def test_a_run_without_trees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(REAL, tmp_path / "metrics"))
    shutil.rmtree(folder / "parts")
    config = (folder / "config.toml").read_text()
    assert 'level = "all"' in config or "[store]" in config
    text = config.replace('level = "all"', "").replace("[store]", '[store]\nlevel = "metrics"')
    (folder / "config.toml").write_text(text)
    assert main(["tree", str(folder), "largest", "--out", str(tmp_path)]) == 2
    assert 'no trees were stored ([store].level = "metrics")' in capsys.readouterr().err
    for command in (("report", "--out", str(tmp_path)), ("watch", "--once"), ("summary",)):
        assert main([command[0], str(folder), *command[1:]]) == 0
    assert "No trees were stored" in (tmp_path / "report.html").read_text()
