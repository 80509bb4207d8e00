"""Sweeps as job arrays on the cluster."""

import csv
import sys

from common import (
    REPO,
    STEPS,
    SWEEP,
    assert_gradients,
    deepsearch,
    final_weights,
    hosts_of,
    refused,
    replaced,
    run,
    state_of,
    table,
)

from cluster import ONE_RANK, attempts, done, exit_of, over, slow, small_sweep, sweep_states, wait_for


def test_a_sweep_tells_the_truth_and_retries_what_failed(folder, queued_sweep):
    """Six points, two seeds each; one of the twelve is made to fail."""
    sweep, out, bad = queued_sweep
    wait_for("the array's end", over("deepsearch-six"))
    status = deepsearch("sweep", "status", out).stdout
    found = sweep_states(out)
    assert found.pop(bad) == "failed", status
    assert set(found.values()) == {"done"}, status
    assert "11 done, 1 failed" in status and "parts" in status
    again = ("sweep", "submit", sweep, "--out", out, "--site", folder / "site.toml", *ONE_RANK)
    assert "sweep retry" in refused(*again)
    (out / bad / "parts").unlink()
    assert ": 1 points" in deepsearch("sweep", "retry", out).stdout
    wait_for("the retry", done(out / bad))
    wait_for("its job's end", over("deepsearch-six"))
    assert "12 done" in deepsearch("sweep", "status", out).stdout
    assert "nothing to retry" in deepsearch("sweep", "retry", out).stdout
    runs = [path.parent for path in out.glob("*/run.h5")]
    assert len(runs) == 12
    for path in runs:
        assert state_of(path)[0] == "finished"
        assert_gradients(path)
        assert attempts(path) == (2 if path.name == bad else 1)
    assert {host for path in runs for host in hosts_of(path)} == {"n1", "n2"}
    assert exit_of(out / bad, 1) not in {0, None}
    check_analysis(out)


def check_analysis(out):
    run(sys.executable, "-m", "deepsearch_analysis", "sweep", out, PYTHONPATH=str(REPO / "analysis"))
    assert (out / "sweep.html").stat().st_size > 10000
    tables = [path for path in out.glob("*.csv") if len(list(csv.DictReader(path.open()))) == 12]
    assert tables, list(out.iterdir())


@slow
def test_halving_by_jobs_that_follow_the_arrays(folder):
    text = replaced(SWEEP, {"seeds = [1, 2]": "seeds = [1]", "[2, 3, 4]": "[2, 4]"})
    sweep = small_sweep(folder, text + "\n[halving]\nrungs = [2, 4]\nkeep = 0.5\n", "halved.toml")
    out = folder / "halved"
    deepsearch("sweep", "submit", sweep, "--out", out, "--site", folder / "site.toml", *ONE_RANK)
    wait_for("the last rung", lambda: "queued" not in sweep_states(out).values() and done_points(out))
    rows = table(deepsearch("sweep", "status", out).stdout)
    assert sorted((row[0], row[2]) for row in rows.values()) == [
        *(("done", str(STEPS)), ("dropped", "2"), ("dropped", "2"), ("dropped", "4"))
    ]
    best = next(name for name, row in rows.items() if row[0] == "done")
    deepsearch("train", out / "points" / f"{best}.toml", "--run", folder / "best-alone")
    assert final_weights(out / best) == final_weights(folder / "best-alone")


def done_points(out):
    return [name for name, state in sweep_states(out).items() if state == "done"]
