"""deepsearch simulate as its user runs it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

DEEPSEARCH = os.environ["DEEPSEARCH"]
CLUSTERS = Path(__file__).parents[2] / "configs" / "clusters"


def simulate(*arguments, code=0, launcher=()):
    report = subprocess.run(
        [*launcher, DEEPSEARCH, "simulate", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert report.returncode == code, f"{report.stdout}\n{report.stderr}"
    return report


def figures(*arguments, launcher=()):
    return json.loads(simulate(*arguments, "--json", "-", launcher=launcher).stdout)["figures"]


@pytest.mark.parametrize("cluster", ["cpu-2-nodes", "paper-16-gpus"])
def test_shipped_clusters_are_kept_busy(cluster):
    found = figures(CLUSTERS / f"{cluster}.toml")
    shared, alone = found["sharing"], found["no sharing"]
    assert shared["busy_until_95"]["mean"] >= 0.95
    assert shared["busy_until_95"]["mean"] > alone["busy_until_95"]["mean"]
    assert 1 <= shared["ratio"] <= alone["ratio"] * 1.01
    assert alone["lent_share"] == 0 < shared["lent_share"]


def test_a_simulation_repeats_and_its_parts_sum():
    first, second = (figures(CLUSTERS / "paper-16-gpus.toml")["sharing"] for _ in range(2))
    assert first == second
    assert sum(first["seconds"].values()) == pytest.approx(first["step_seconds"], rel=1e-3)


def test_more_ranks_take_less_time_and_a_slower_learner_more():
    def step(*keys):
        found = figures(CLUSTERS / "paper-16-gpus.toml", "--only-sharing", *(f"--set={key}" for key in keys))
        assert set(found) == {"sharing"}
        return found["sharing"]["step_seconds"]

    assert step("cluster.search_ranks=4") > step() > step("cluster.search_ranks=8", "workload.token_scale=8")
    assert step("learner.tokens_per_second=20000") > step() + 30


def test_what_is_simulated_is_what_real_processes_do():
    """Two search ranks and a coordinator over MPI, with the engine's times shortened: a smoke test of the same code,
    not of times, since this machine may be busy (docs/simulate.md has the comparison)."""
    keys = ("cluster.search_ranks=2", "cluster.problems=16", "workload.token_scale=1", "engine.step_seconds=0.0005")
    launcher = (os.environ["MPIEXEC"], "--oversubscribe", "--mca", "mpi_yield_when_idle", "1", "-n", "3")
    arguments = (CLUSTERS / "skewed.toml", "--real", *(f"--set={key}" for key in keys))
    text = simulate(*arguments, launcher=launcher).stdout
    assert "ranks busy until 95 % of the trees" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "cluster.serch_ranks=3"), 'did you mean "search_ranks"'),
        (("--set", "cluster.search_ranks=0"), "1 to 65536"),
        (("nofile.toml",), "cannot read nofile.toml"),
        (("--real",), "as real processes are 3"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    report = simulate(*arguments, code=2)
    assert message in report.stderr
    assert report.stderr.strip().count("\n") == 0
