"""`deepsearch filter`: the same on any number of ranks, goes on after a stop, and training takes its file. Needs
DEEPSEARCH (the binary) and MPIEXEC."""

import json
import signal

import pytest
from whole_runs import SMALL, ended, launched, sets, started, train_policy, wait_for

KEYS = ("rounds.pool=300", "rounds.wave=20", "rounds.filter_samples=4", "rounds.max_pass_rate=0.5")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A configuration, a policy that solves some problems, and what the filter makes of them on one rank."""
    folder = tmp_path_factory.mktemp("filter")
    config = SMALL.replace("hidden_size = 16", "hidden_size = 64")
    train_policy(folder, config, "sft.steps=400", "sft.batch=64", "sft.optimizer.lr=5e-3")
    report = run_filter(folder, 1, "one")
    assert report.returncode == 0, report.stderr
    return folder


def arguments_of(place, name, *more):
    return ["filter", place / "config.toml", "--run", place / name, "--model", place / "policy", *sets(*KEYS), *more]


def run_filter(place, ranks, name, *more):
    return ended(launched(ranks, *arguments_of(place, name, *more)))


def results(place, name):
    return [(place / name / file).read_bytes() for file in ("problems.jsonl", "summary.json")]


def test_counts_agree(place):
    rows = [json.loads(line) for line in (place / "one" / "problems.jsonl").read_text().splitlines()]
    summary = json.loads((place / "one" / "summary.json").read_text())
    assert 0 < len(rows) == summary["hard"] < summary["problems"] <= 300
    assert sum(summary["problems_by_correct_responses"]) == summary["problems"]
    for passed in range(3):
        kept = sum(row["pass_rate"] == passed / 4 for row in rows)
        assert kept == summary["problems_by_correct_responses"][passed]
    assert {row["round"] for row in rows} == {0}


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_same_on_any_number_of_ranks(place, ranks):
    assert run_filter(place, ranks, f"with{ranks}").returncode == 0
    assert results(place, f"with{ranks}") == results(place, "one")


def test_goes_on_where_it_was_stopped(place):
    with started(launched(2, *arguments_of(place, "stopped", "--set", "rounds.wave=5"))) as job:
        wait_for(lambda: (place / "stopped" / "filter.bin").exists() or job.poll() is not None, pause=0.005)
        if job.poll() is None:
            job.send_signal(signal.SIGUSR1)
        _, errors = job.communicate(timeout=60)
    assert job.returncode in {0, 75}, errors
    refused = run_filter(place, 2, "stopped", "--set", "rounds.wave=5")
    assert refused.returncode == 2
    assert "--resume goes on with it" in refused.stderr
    refused = run_filter(place, 2, "stopped", "--resume", "--set", "rounds.wave=5", "--set", "rounds.pool=200")
    assert refused.returncode == 2
    assert "rounds.pool = 300, now 200" in refused.stderr
    report = run_filter(place, 1, "stopped", "--resume", "--set", "rounds.wave=5")
    assert report.returncode == 0, report.stderr
    assert results(place, "stopped") == results(place, "one")


def test_stops_before_its_time_is_up(place):
    # There are some 5,000 problems of this size: many samples of each, so that no machine is done in time.
    many = sets("rounds.pool=100000", "rounds.filter_samples=256", "rounds.wave=2", 'run.time_limit="2"')
    report = run_filter(place, 2, "late", *many)
    assert report.returncode == 75, report.stderr
    assert "the time limit is near" in report.stderr
    assert "--resume goes on" in report.stderr
    assert (place / "late" / "filter.bin").exists()
    assert not (place / "late" / "problems.jsonl").exists()


def test_training_and_the_next_filter_take_the_file(place):
    file = f"problems.train_file={place / 'one' / 'problems.jsonl'}"
    model = f"model.path={place / 'policy'}"
    report = ended(launched(2, "train", place / "config.toml", "--run", place / "run", *sets(file, model)))
    assert report.returncode == 0, report.stderr
    assert run_filter(place, 2, "again", "--set", file).returncode == 0
    rows = [json.loads(line) for line in (place / "again" / "problems.jsonl").read_text().splitlines()]
    ids = {json.loads(line)["id"] for line in (place / "one" / "problems.jsonl").read_text().splitlines()}
    assert rows and {row["round"] for row in rows} == {1}
    assert {row["id"] for row in rows} <= ids
