"""Cost to an accuracy and its ratios, on curves whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deepsearch_analysis import cost
from deepsearch_analysis.__main__ import main
from deepsearch_analysis.cost import Learning, Ratio, Reach
from deepsearch_analysis.cost_page import write_cost
from deepsearch_analysis.reader import RunError


def learning(method: str, seed: int, costs: list[float], pass_at_1: list[float], problems: str = "bag 8") -> Learning:
    values = np.array(costs, dtype=float)
    return Learning(
        method=method,
        problems=problems,
        seed=seed,
        costs=values,
        pass_at_1=np.array(pass_at_1),
        pass_at_k=np.array(pass_at_1) * 2,
        k=64,
        generated=values / 4,
        trained=values / 4,
        seconds=values / 1000,
        finished=True,
    )


def test_a_crossing_lies_between_two_evaluations() -> None:
    costs, accuracies = np.array([0.0, 100.0, 300.0, 400.0]), np.array([0.1, 0.2, 0.4, 0.3])
    assert cost.cost_to(costs, accuracies, 0.2) == Reach(100.0, reached=True)
    assert cost.cost_to(costs, accuracies, 0.25) == Reach(150.0, reached=True)
    assert cost.cost_to(costs, accuracies, 0.05) == Reach(0.0, reached=True)
    # A fall afterwards takes nothing back; what is never reached costs more than all that was spent.
    assert cost.cost_to(costs, accuracies, 0.4) == Reach(300.0, reached=True)
    assert cost.cost_to(costs, accuracies, 0.41) == Reach(400.0, reached=False)
    with pytest.raises(ValueError, match="every accuracy"):
        cost.cost_to(costs, accuracies[:2], 0.1)


def test_ratios_say_what_is_known() -> None:
    def reaches(*costs: float, reached: bool = True) -> list[Reach]:
        return [Reach(c, reached) for c in costs]

    exact = cost.ratio(reaches(400, 900), reaches(100, 100))
    assert exact == Ratio(pytest.approx(6.0), pytest.approx(4.0), pytest.approx(9.0), "exact")
    assert str(exact) == "6.00 (4 … 9)"
    bound = cost.ratio([*reaches(400), *reaches(900, reached=False)], reaches(100, 100))
    assert bound.kind == "at least" and str(bound).startswith("≥ 6.00")
    assert cost.ratio(reaches(400), reaches(100, reached=False)).kind == "at most"
    neither = cost.ratio(reaches(400, reached=False), reaches(100, reached=False))
    assert neither.kind == "open" and str(neither) == "–"
    assert cost.ratio(reaches(400, 400, 400), reaches(100)) == Ratio(pytest.approx(4.0), pytest.approx(4.0),
                                                                   pytest.approx(4.0), "exact")  # fmt: skip


def test_a_table_of_methods_in_the_order_of_difficulty() -> None:
    runs = [
        learning("ours", 1, [0, 1e6, 2e6], [0.0, 0.1, 0.2], "bag 16"),
        learning("dapo", 1, [0, 1e6, 9e6], [0.0, 0.0, 0.1], "bag 16"),
        learning("ours", 2, [0, 2e6], [0.05, 0.25]),
        learning("ours", 1, [0, 1e6], [0.05, 0.25]),
        learning("dapo", 1, [0, 4e6], [0.05, 0.25]),
        learning("dapo", 2, [0, 4e6], [0.05, 0.25]),
    ]
    table = cost.ratio_table(runs, "ours", [0.01, 0.1, 0.25])
    assert list(table["problems"]) == ["bag 8"] * 2 + ["bag 16"] * 3  # the base is past 0.01 on the easy one
    assert [str(r) for r in table["ratio"]] == [
        f"{np.sqrt(8):.2f} (2 … 4)", f"{np.sqrt(8):.2f} (2 … 4)", "18.00", "9.00", "–",
    ]  # fmt: skip
    assert table["cost of ours, M"].iloc[2] == "0.10" and table["its cost, M"].iloc[4] == "> 9.00"
    ends = cost.final_points(runs)
    assert list(ends["method"]) == ["dapo", "ours", "dapo", "ours"] and list(ends["runs"]) == [2, 2, 1, 1]
    assert ends["Pass@1"].iloc[1] == "0.250 (0.250 … 0.250)" and ends["Pass@64"].iloc[3] == "0.400 (0.400 … 0.400)"
    with pytest.raises(RunError, match="no run of method 'best'"):
        cost.ratio_table(runs, "best", [0.1])


def test_what_one_seed_begins_with_is_no_target() -> None:
    runs = [
        learning(method, seed, [0, 1e6, 4e6], [0.004 * seed, 0.02, 0.04], "bag 12")
        for method in ("ours", "dapo")
        for seed in (1, 2)
    ]
    table = cost.ratio_table(runs, "ours", [0.005, 0.008, 0.01])  # seed 2 starts at 0.008
    assert list(table["accuracy"]) == [0.01] and str(table["ratio"].iloc[0]) == "1.00"


def test_tuning_takes_the_highest_target_then_the_least_cost_then_the_end() -> None:
    slow = learning("dapo", 1, [0, 4e6, 9e6], [0.0, 0.1, 0.3])
    fast = learning("dapo", 1, [0, 1e6, 9e6], [0.0, 0.1, 0.15])
    lost = learning("dapo", 1, [0, 1e6, 9e6], [0.0, 0.02, 0.01])
    assert cost.best_of([lost, slow, fast], [0.1, 0.25]) == 1  # alone at 0.25
    assert cost.best_of([lost, slow, fast], [0.1]) == 2  # both get there, one for less
    assert cost.best_of([lost, learning("dapo", 1, [0, 1e6], [0.0, 0.03])], [0.1, 0.25]) == 1  # neither: the higher end
    with pytest.raises(ValueError, match="no runs"):
        cost.best_of([], [0.1])


def test_the_page_is_written_whole(tmp_path: Path) -> None:
    runs = [
        learning(method, seed, [0, 1e6, 2e6 * seed], [0.01, rate, 2 * rate], problems)
        for problems in ("bag 8", "bag 16")
        for method, rate in (("ours", 0.2), ("dapo", 0.05))
        for seed in (1, 2)
    ]
    paths = write_cost(runs, "ours", [0.1, 0.3], tmp_path / "out")
    assert {path.name for path in paths} >= {"cost.html", "cost-ratio.png", "cost-ratio.csv", "cost-final.parquet"}
    page = (tmp_path / "out" / "cost.html").read_text()
    assert "≥ " in page and "</html>" in page and "http" not in page.replace("http://www.w3.org", "")
    # Nobody is past the base policy: a page all the same, which says so.
    write_cost(runs, "ours", [0.001], tmp_path / "out")


def test_curves_come_back_from_their_file_to_the_bit(tmp_path: Path) -> None:
    runs = [
        learning("ours", 1, [0, 1e6 / 3, 2e6], [0.1 / 3, 0.1, 0.2], "bag 16"),
        learning("dapo", 2, [0, 4e6], [0.05, 1 / 7]),
        learning("ours", 2, [0, 2e6], [0.05, 0.25]),
    ]
    write_cost(runs, "ours", [0.2], tmp_path)
    again = cost.read_curves(tmp_path / "cost-curves.csv")
    assert len(again) == 3
    for run in runs:
        (twin,) = [r for r in again if (r.method, r.problems, r.seed) == (run.method, run.problems, run.seed)]
        assert twin.k == run.k and twin.finished == run.finished
        for name in ("costs", "pass_at_1", "pass_at_k", "generated", "trained", "seconds"):
            assert np.array_equal(getattr(twin, name), getattr(run, name)), name
    # A run that both have is taken from the first.
    newer = learning("ours", 2, [0, 1e6], [0.05, 0.25])
    both = cost.with_more([newer], again)
    assert len(both) == 3 and both[0] is newer
    # The command takes files and folders alike.
    assert main(["cost", str(tmp_path / "cost-curves.csv"), "--ours", "ours", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "cost-curves.csv").read_bytes() == (tmp_path / "cost-curves.csv").read_bytes()


@pytest.mark.parametrize(("change", "said"), [
    (lambda text: "", "no table of curves"),
    (lambda text: text.replace("pass_at_k", "pass"), "has no column 'pass_at_k'"),
    (lambda text: text.splitlines()[0] + "\n", "has no rows"),
    (lambda text: text.replace("4000000.0", "much"), "column 'cost' holds something that is not a number"),
])  # fmt: skip
def test_a_file_of_curves_that_is_none(tmp_path: Path, change: Callable[[str], str], said: str) -> None:
    write_cost([learning("ours", 2, [0, 4e6], [0.05, 0.25])], "ours", [0.2], tmp_path)
    path = tmp_path / "cost-curves.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(RunError, match=said):
        cost.read_curves(path)
