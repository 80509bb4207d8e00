"""Files that are not what they should be: one line that names the file (and the data set), exit code 2."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from deepsearch_analysis import reader
from deepsearch_analysis.__main__ import main
from run_maker import header

COMMANDS = (
    ("report", ()),
    ("tree", ("largest",)),
    ("export", ("--to", "jsonl")),
    ("watch", ("--once",)),
    ("summary", ()),
)


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command prints when it refuses: one line and exit code 2."""
    assert main([str(a) for a in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(("command", "more"), COMMANDS)
def test_no_run_at_all(tmp_path: Path, command: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such folder" in complaint(capsys, command, tmp_path / "absent", *more)
    assert "it has no run.h5" in complaint(capsys, command, tmp_path, *more)


def test_a_place_that_cannot_be_written(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert f"{tmp_path / 'file'}: File exists" in complaint(capsys, "report", small_run, "--out", tmp_path / "file")
    below = tmp_path / "file" / "below"
    assert "Not a directory" in complaint(capsys, "export", small_run, "--to", "jsonl", "--out", below)


def test_a_truncated_file(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (small_run / "run.h5").read_bytes()
    for size in (0, 100, 3000, len(whole) // 2, len(whole) - 10):
        (tmp_path / "run.h5").write_bytes(whole[:size])
        assert str(tmp_path / "run.h5") in complaint(capsys, "report", tmp_path, "--out", tmp_path / "out")


def test_a_foreign_and_a_newer_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.h5").write_text("PK")
    assert "not an HDF5 file" in complaint(capsys, "summary", tmp_path)
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["x"] = 1
    assert "its schema is 'not named'" in complaint(capsys, "summary", tmp_path)
    with h5py.File(tmp_path / "run.h5", "w") as file:
        header(file, "deepsearch-run", (2, 3))
    assert "version 2.3 of deepsearch-run" in complaint(capsys, "summary", tmp_path)


def test_a_file_without_permission(
    small_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:  # root may read everything, so chmod would show nothing here
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reader.h5py, "File", refuse)
    assert "run.h5: cannot be opened as HDF5: no permission to read it" in complaint(capsys, "summary", small_run)


def test_a_damaged_data_set_is_named(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(small_run, tmp_path / "run"))
    path = sorted((folder / "parts").glob("*.h5"))[0]
    with h5py.File(path, "r+") as file:
        values = file["nodes/value"][:]
        del file["nodes/value"]
        data = file.create_dataset(
            "nodes/value", data=values, chunks=(len(values),), maxshape=(None,), compression="gzip"
        )
        place, size = data.id.get_chunk_info(0).byte_offset, data.id.get_chunk_info(0).size
    content = bytearray(path.read_bytes())
    content[place : place + size] = b"\xff" * size
    path.write_bytes(content)
    line = complaint(capsys, "export", folder, "--to", "jsonl", "--out", tmp_path / "out")
    assert str(path) in line
    assert "/nodes/value" in line


def test_rows_that_are_not_there(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(small_run, tmp_path / "run"))
    for path in (folder / "parts").glob("*.h5"):
        with h5py.File(path, "r+") as file:
            file["trees/first_recorded"][:] = 10**9
    for command in (("tree", folder, "largest"), ("export", folder, "--to", "jsonl")):
        assert "/recorded" in complaint(capsys, *command, "--out", tmp_path / "out")


def test_a_parent_that_comes_later(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(small_run, tmp_path / "run"))
    for path in (folder / "parts").glob("*.h5"):
        with h5py.File(path, "r+") as file:
            file["nodes/parent"][:] = np.where(file["nodes/parent"][:] < 0, -1, 10_000)
    assert "/nodes/parent" in complaint(capsys, "tree", folder, "largest", "--out", tmp_path)


def test_an_empty_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as file:
        header(file, "deepsearch-run")
    assert "no whole tree" in complaint(capsys, "tree", tmp_path, "largest")
    for command in (("report",), ("watch", "--once"), ("export", "--to", "parquet"), ("compare",)):
        out = () if command[0] == "watch" else ("--out", str(tmp_path / "out"))
        assert main([command[0], str(tmp_path), *command[1:], *out]) == 0
    assert "none of them was evaluated" in complaint(capsys, "sweep", tmp_path, "--out", tmp_path / "out")


@pytest.mark.parametrize("place", ["run.h5", "parts"])
def test_bytes_that_have_changed_never_crash(
    small_run: Path, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(11)
    folder = Path(shutil.copytree(small_run, tmp_path / "run"))
    path = folder / "run.h5" if place == "run.h5" else sorted((folder / "parts").glob("*.h5"))[0]
    whole = path.read_bytes()
    out = ("--out", str(tmp_path / "out"))
    for command in ([("summary",), ("export", "--to", "jsonl", *out)] * 6) + [("report", *out)]:
        content = bytearray(whole)
        for at in rng.integers(0, len(whole), 60):
            content[at] = rng.integers(0, 256)
        path.write_bytes(content)
        assert main([command[0], str(folder), *command[1:]]) in (0, 2)
        assert "Traceback" not in capsys.readouterr().err
