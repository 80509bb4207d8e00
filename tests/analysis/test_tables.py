"""Parts as one table, groups of runs and their intervals, export, watch."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from deepsearch_analysis import groups
from deepsearch_analysis.__main__ import main
from deepsearch_analysis.codes import RunError
from deepsearch_analysis.pieces import Pieces, read_pieces
from deepsearch_analysis.reader import Run
from deepsearch_analysis.report_tables import never_solved, rounds, search_row, stragglers
from deepsearch_analysis.watch import screen, spark
from rich.console import Console
from run_maker import make_run

REAL = Path(__file__).parent / "real_run"


def test_parts_are_one_table(small_run: Path) -> None:
    with Run(small_run) as run:
        trees, nodes = run.trees, run.nodes()
        assert len(trees) == sum(p.n_trees for p in run.parts)
        assert len(nodes) == trees["n_nodes"].sum()
        assert list(nodes.groupby("tree").size()) == list(trees["n_nodes"])
        assert set(nodes["outcome"].dtype.categories) == {"correct", "wrong", "incomplete", "none"}
        last = run.tree(int(trees.index[-1]))
        assert last.name == trees["name"].iloc[-1]
        assert (nodes.loc[nodes["tree"] == trees.index[-1], "parent"].to_numpy() == last.parent).all()
        assert list(run.nodes(["depth"]).columns) == ["tree", "depth"]


def test_of_two_attempts_the_later_tree_counts(small_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_run, tmp_path / "run"))
    first = folder / "parts" / "s0000-a01-0001.h5"
    shutil.copy(first, folder / "parts" / "s0000-a02-0001.h5")
    with Run(small_run) as once, Run(folder) as twice:
        assert len(twice.trees) == len(once.trees)
        assert (twice.trees["name"].str.startswith("s0000-a02")).sum() > 0
        assert not twice.trees["name"].str.startswith("s0000-a01").any()
        assert len(twice.nodes()) == len(once.nodes())
        assert twice.recorded()["reward"].sum() == once.recorded()["reward"].sum()


def test_trees_are_found_by_name_id_key_and_word() -> None:
    with Run(REAL) as run:
        row = run.trees.iloc[1]
        key = int(row["problem_key"])
        for wanted in (row["name"], str(run.problems.loc[key, "id"]), str(key), hex(key)):
            assert run.tree(wanted).problem_key == key
        assert len(run.tree("largest")) == run.trees["n_nodes"].max()
        with pytest.raises(RunError, match="no tree 'absent'"):
            run.tree("absent")


def test_the_search_table_agrees_with_the_programs_own() -> None:
    """/metrics/search holds the same means, made by the search rank itself."""
    with Run(REAL) as run:
        row, metrics = search_row(run), run.metrics("search")
        for column in ("depth", "entropy", "reward", "iterations"):
            theirs = np.average(metrics[f"tree_{column}_mean"], weights=metrics["trees"])
            assert row[column] == pytest.approx(theirs)


def test_rounds_stragglers_and_hard_problems(small_run: Path) -> None:
    with Run(small_run) as run:
        table = rounds(run)
        assert int(table["solved"].sum() + table["hard (unsolved)"].sum()) == run.trees["problem_key"].nunique()
        assert len(never_solved(run)) == int(table["hard (unsolved)"].sum())
        assert stragglers(run)["seconds"].is_monotonic_decreasing


def test_bootstrap_intervals() -> None:
    low, high = groups.interval([0.1, 0.2, 0.3, 0.4])
    assert 0.1 <= low < 0.25 < high <= 0.4
    assert groups.interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    assert np.isnan(groups.interval([0.5])).all()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two widths with two seeds each; the wider one is better by 0.2."""
    folder = tmp_path_factory.mktemp("sweep")
    for width, seed in ((2, 1), (2, 2), (4, 1), (4, 2)):
        run = make_run(folder / f"w{width}" / f"s{seed}", steps=2, ranks=1)
        config = (
            (run / "config.toml")
            .read_text()
            .replace("width = 4", f"width = {width}")
            .replace("seed = 7", f"seed = {seed}")
        )
        (run / "config.toml").write_text(config)
        with h5py.File(run / "run.h5", "r+") as file:
            file["metrics/eval/pass_at_1"][-1] = 0.1 * width + 0.01 * seed
    return folder


def test_sweep(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(sweep), "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "depth, nodes" in out
    assert "width 4" in out
    final = pd.read_csv(tmp_path / "sweep-final.csv")
    assert list(final["group"]) == ["width 2", "width 4"]
    assert list(final["pass_at_1"]) == pytest.approx([0.215, 0.415])
    assert list(final["pass_at_1_low"]) == pytest.approx([0.21, 0.41])
    assert list(final["pass_at_1_high"]) == pytest.approx([0.22, 0.42])
    effects = pd.read_parquet(tmp_path / "sweep-effects.parquet")
    assert list(effects["axis"]) == ["search.width"] * 2
    assert "best: Pass@1 0.415" in (tmp_path / "sweep.html").read_text()
    assert {p.suffix for p in tmp_path.iterdir()} == {".html", ".png", ".csv", ".parquet"}


def test_a_sweeps_folder_says_which_points_are_missing(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sweep"
    shutil.copytree(sweep / "w2", folder)
    (folder / "points").mkdir()
    for name in ("s1", "s2", "s3"):
        (folder / "points" / f"{name}.toml").write_text("")
    assert main(["sweep", str(folder)]) == 0
    seen = capsys.readouterr()
    assert seen.err == "warning: 1 points of the sweep have no run.h5 yet: s3\n"
    assert "all runs" in seen.out


def test_compare_names_an_unknown_key(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(p) for p in groups.find_runs(sweep)]
    assert main(["compare", *runs, "--by", "search.widht", "--out", str(tmp_path)]) == 2
    assert "'search.widht'" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_export_tables(form: str, tmp_path: Path) -> None:
    assert main(["export", str(REAL), "--to", form, "--out", str(tmp_path)]) == 0
    path = tmp_path / f"nodes.{form}"
    back = pd.read_parquet(path) if form == "parquet" else pd.DataFrame(map(json.loads, path.read_text().splitlines()))
    with Run(REAL) as run:
        nodes = run.nodes()
    assert len(back) == len(nodes)
    np.testing.assert_allclose(back["value"], nodes["value"], rtol=0 if form == "parquet" else 1e-14)
    assert list(back["outcome"]) == list(nodes["outcome"])


def test_export_to_tensorboard(small_run: Path, tmp_path: Path) -> None:
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    assert main(["export", str(small_run), "--to", "tensorboard", "--out", str(tmp_path)]) == 0
    content, at, found = next(tmp_path.glob("events.*")).read_bytes(), 0, {}
    while at < len(content):  # length, its checksum, the event, its checksum
        size = int.from_bytes(content[at : at + 8], "little")
        event = event_pb2.Event.FromString(content[at + 12 : at + 12 + size])
        found |= {(v.tag, event.step): v.simple_value for v in event.summary.value}
        at += 16 + size
    with Run(small_run) as run:
        loss = run.metrics("learner")["loss"]
    assert [found["learner/loss", s] for s in range(1, 7)] == pytest.approx(list(loss), rel=1e-6)
    assert ("search/rank1/tokens_generated", 3) in found


def test_watch_shows_the_run(small_run: Path) -> None:
    console = Console(file=io.StringIO(), width=110)
    with Run(small_run) as run:
        console.print(screen(run))
    text = console.file.getvalue()
    for expected in ("small", "step 6", "held-out Pass@1", "search 1", "learner", "latest tree"):
        assert expected in text
    assert spark(np.array([0.0, 1.0, np.nan])) == "▁█▁"


def test_byte_level_and_sentence_pieces(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"decoder": {"type": "ByteLevel"},
                                "model": {"type": "BPE", "vocab": {"Ġ2": 0, "Ã": 1, "¤": 2}},
                                "added_tokens": [{"id": 3, "content": "<end>"}]}))  # fmt: skip
    pieces = read_pieces(path)
    assert pieces.text([0, 1, 2, 3]) == " 2ä<end>"
    assert pieces.piece(1) == "�"
    assert Pieces({0: "▁a", 1: "b"}, "plain").text([0, 1]) == " ab"
    path.write_text("[]")
    with pytest.raises(ValueError, match="no vocabulary"):
        read_pieces(path)
