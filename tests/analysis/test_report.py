"""The report and the summary over whole and over poor runs; the numbers they show."""

from __future__ import annotations

import re
import shutil
import struct
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from deepsearch_analysis import figures, html, stats
from deepsearch_analysis.__main__ import main
from deepsearch_analysis.reader import Run
from deepsearch_analysis.style import spread_labels
from deepsearch_analysis.tree_layout import tidy_layout
from deepsearch_analysis.trees import load_part_tree
from run_maker import header, make_run


def png_size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_report_of_a_whole_run(small_report: Path) -> None:
    assert png_size(small_report / "report.png") == (1600, 1000)
    page = (small_report / "report.html").read_text()
    for expected in ("held-out Pass@1", "5.2 % → ", "A problem that only search solved", "Learner", "grad norm",
                     "tree depth mean", "Resolved configuration", "node1, node2", "color-scheme: dark"):  # fmt: skip
        assert expected in page
    assert page.count("data:image/svg+xml;base64,") == 18  # nine panels, light and dark
    assert not list(small_report.glob("*.png?*"))  # no temporary file is left


def test_the_page_needs_no_network(small_report: Path) -> None:
    page = (small_report / "report.html").read_text()
    assert not re.findall(r'(?:src|href|srcset)="(?!data:)', page)
    assert "url(" not in page
    assert "<script" not in page


def test_report_twice_is_the_same(
    small_run: Path, small_report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(small_run), "--out", str(tmp_path)]) == 0
    names = ("report.png", "report.html", "report-accuracy.png", "report-search.png", "report-timeline.png")
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in names]
    for name in names:
        assert (tmp_path / name).read_bytes() == (small_report / name).read_bytes()


@pytest.mark.parametrize(("steps", "trees_every"), [(0, 1), (1, 1), (3, 0)])
def test_report_of_a_poor_run(tmp_path: Path, steps: int, trees_every: int) -> None:
    folder = make_run(tmp_path / "run", steps=steps, ranks=1, trees_every=trees_every, vocabulary=False)
    assert main(["report", str(folder)]) == 0
    assert png_size(folder / "report.png") == (1600, 1000)
    assert main(["summary", str(folder)]) == 0


def test_report_without_tables_and_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as file:
        header(file, "deepsearch-run")
    assert main(["report", str(tmp_path)]) == 0
    assert main(["summary", str(tmp_path)]) == 0
    assert "seed                   7" in capsys.readouterr().out


def test_text_of_a_run_cannot_break_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "a & <b>"
    folder.mkdir()
    with h5py.File(folder / "run.h5", "w") as file:
        header(file, "deepsearch-run")
    (folder / "config.toml").write_text('[task]\nname = "<script>alert(1)</script>"\n')
    assert main(["report", str(folder)]) == 0
    page = (folder / "report.html").read_text()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "a &amp; &lt;b&gt;" in page


def test_odd_prompts_and_values_are_drawn(small_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_run, tmp_path / "run"))
    for path in (folder / "parts").glob("*.h5"):
        with h5py.File(path, "r+") as file:
            file["problems/prompt"][0] = "Is $\\frac{1 < 漢 & x$ prime?".encode()
            file["nodes/value"][::3] = np.nan
            file["nodes/value"][1::3] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["report", str(folder)]) == 0
    assert "Is $\\frac{1 &lt; 漢 &amp; x$ prime?" in (folder / "report.html").read_text()


@pytest.mark.parametrize("command", ["report", "summary"])
def test_no_run_is_one_line_and_exit_code_2(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: {tmp_path}: not a run's folder: it has no run.h5\n"


def test_summary_has_the_main_numbers(small_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", str(small_run)]) == 0
    text = capsys.readouterr().out
    for expected in ("run small", "held-out Pass@1        5.2 % → ", "held-out Pass@16       38.0 % → ", "search trees",
                     "time of search 1", "time of learner", "node1, node2"):  # fmt: skip
        assert expected in text


def test_training_problems_are_not_held_out_accuracy(small_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_run, tmp_path / "run"))
    with h5py.File(folder / "run.h5", "r+") as file:
        table = file["metrics/eval"]
        table["pass_at_1"][-1] = 0.9
        table["split_test"][-1] = 0.0
    with Run(folder) as run:
        curve = stats.pass_curves(run)[1]
        assert curve.steps[-1] == 5
        assert curve.values.max() < 0.9


def test_time_that_no_phase_explains_is_other(small_run: Path) -> None:
    with Run(small_run) as run:
        times = {t.who: t.seconds for t in stats.rank_times(run)}
        learner = run.table("metrics/learner")
        total, waited = float(learner["seconds_total"].sum()), float(learner["seconds_wait"].sum())
    assert list(times) == ["search 0", "search 1", "learner"]
    assert times["learner"]["waiting"] == pytest.approx(waited)
    assert times["learner"]["other"] > 0
    assert sum(times["learner"].values()) == pytest.approx(total)


def test_tokens_per_second_adds_the_ranks(small_run: Path) -> None:
    with Run(small_run) as run:
        table = run.table("metrics/search")
        curve = stats.tokens_per_second(run)
        assert curve is not None
        first = table["step"] == 1
        expected = table["tokens_generated"][first].sum() / table["seconds_total"][first].max()
        assert curve.first == pytest.approx(expected)


def test_shapes_by_hand(small_run: Path) -> None:
    with Run(small_run) as run:
        shapes = stats.tree_shapes(run)
        for i in range(len(shapes)):
            tree = load_part_tree(run.parts[int(shapes.part[i])], int(shapes.row[i]))
            inner = len(set(tree.parent[1:].tolist()))
            assert shapes.nodes[i] == len(tree)
            assert shapes.depth[i] == tree.depth.max()
            assert shapes.branching[i] == pytest.approx((len(tree) - 1) / inner)
            assert shapes.solved[i] == bool(len(tree.correct_leaves))


def test_the_tree_drawn_is_one_whose_rollouts_failed(small_run: Path) -> None:
    with Run(small_run) as run:
        shapes = stats.tree_shapes(run)
        pick = stats.pick_tree(run, shapes)
        assert pick is not None
        assert pick.tree.kind == 0
        assert pick.tree.best_leaf > 0
        same = shapes.problem == pick.tree.problem_key
        assert not shapes.solved[same & ~shapes.is_tree].any()
        shapes.solved[:] = False
        worse = stats.pick_tree(run, shapes)
        assert worse is not None
        assert worse.detail == "the largest; none was solved"


@pytest.mark.parametrize(("column", "row", "value"), [
    ("trees/first_node", 1, -5), ("trees/n_nodes", 2, 0), ("nodes/parent", 3, 10_000), ("nodes/parent", 4, -1),
])  # fmt: skip
def test_a_part_that_does_not_add_up_is_left_out(
    small_run: Path, tmp_path: Path, column: str, row: int, value: int
) -> None:
    folder = Path(shutil.copytree(small_run, tmp_path / "run"))
    path = sorted((folder / "parts").glob("*.h5"))[0]
    with h5py.File(path, "r+") as file:
        file[column][row] = value
    with Run(folder) as run:
        shapes = stats.tree_shapes(run)
        assert [w.split(":")[0] for w in shapes.warnings] == [path.name]
        assert set(shapes.part.tolist()) == {1}
        assert stats.pick_tree(run, shapes) is not None


def test_layout_keeps_nodes_of_a_depth_apart() -> None:
    rng = np.random.default_rng(3)
    parent = np.array([-1] + [int(rng.integers(0, i)) for i in range(1, 200)])
    depth = np.zeros(200, dtype=int)
    for node in range(1, 200):
        depth[node] = depth[parent[node]] + 1
    y = tidy_layout(parent)
    for level in range(depth.max() + 1):
        gaps = np.diff(np.sort(y[depth == level]))
        assert (gaps >= 1 - 1e-9).all()
    for node in range(200):
        own = y[parent == node]
        if len(own):
            assert y[node] == pytest.approx((own[0] + own[-1]) / 2)
    with pytest.raises(ValueError, match="node 1 has parent 2"):
        tidy_layout(np.array([-1, 2, 0]))


def test_labels_move_apart_as_little_as_needed() -> None:
    assert spread_labels([1.0, 5.0], 1.0) == [1.0, 5.0]
    assert spread_labels([1.0, 1.0], 1.0) == [0.5, 1.5]
    placed = spread_labels([3.0, 1.0, 1.1, 1.2], 1.0)
    assert (np.diff(np.sort(placed)) >= 1 - 1e-9).all()
    assert placed[1] < placed[2] < placed[3] < placed[0]


def test_numbers_as_text() -> None:
    assert figures.percent(0.0004) == "0.040 %"
    assert figures.percent(0.123) == "12.3 %"
    assert figures.short(15300) == "15.3k"
    assert html.number(float("nan")) == "–"
    assert html.number(1234567) == "1,234,567"
    assert html.number(0.0123456) == "0.01235"
