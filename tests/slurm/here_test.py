"""Attempts and sweeps on this machine, without Slurm. Needs DEEPSEARCH (the binary)."""

import re
import signal
import subprocess
import time

import pytest
from common import (
    CONFIG,
    DEEPSEARCH,
    REPO,
    STEPS,
    SWEEP,
    assert_gradients,
    deepsearch,
    final_weights,
    refused,
    replaced,
    run,
    state_of,
    table,
    write,
)

SMALL = {"problems = 120": "problems = 12", "minibatch_problems = 40": "minibatch_problems = 6"}


def small(folder, text=CONFIG, **changes):
    return write(folder, replaced(text, {**SMALL, **changes}))


def test_train_leaves_a_folder_an_attempt_and_a_done_file(tmp_path, warm):
    config = small(tmp_path, warm)
    path = tmp_path / "run"
    report = run(REPO / "jobs/train.sh", config, "--run", path, "--set", "run.stop_after=2", code=75)
    assert "held-out Pass@1" in report.stdout
    log = path / "log"
    assert (log / "attempt-1" / "exit").read_text().split() == ["75"]
    assert not (log / "done").exists()
    run(REPO / "jobs/train.sh", config, "--run", path, "--ranks", 2)
    assert (log / "attempt-2" / "exit").read_text().split() == ["0"]
    assert (log / "latest").resolve() == log / "attempt-2"
    assert (log / "attempt-2" / "rank-0001.log").exists()
    assert not list(log.glob("rank-*.log"))
    assert (log / "done").exists()
    assert "done already" in run(REPO / "jobs/train.sh", config, "--run", path).stdout
    assert not (log / "attempt-3").exists()
    deepsearch("train", config, "--run", tmp_path / "whole")
    assert final_weights(path) == final_weights(tmp_path / "whole")
    assert_gradients(path)


def test_a_signal_to_an_attempt_makes_a_checkpoint(tmp_path, warm):
    config = small(tmp_path, warm, **{"steps = 6": "steps = 100000", "every = 2\nproblems": "every = 0\nproblems"})
    path = tmp_path / "run"
    with subprocess.Popen([REPO / "jobs/train.sh", config, "--run", path], stdout=subprocess.DEVNULL) as job:
        deadline = time.monotonic() + 60
        while not list(path.glob("checkpoints/step-*[0-9]")) and time.monotonic() < deadline:
            time.sleep(0.05)
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=60) == 75
    assert "SIGUSR1" in (path / "log/attempt-1/output.txt").read_text()
    assert state_of(path)[0] == "interrupted"


@pytest.mark.parametrize(("first", "code"), [(2, 2), (75, 75), (1, 143)])
def test_the_rank_that_ends_first_tells_the_exit_code(tmp_path, first, code):
    """srun ends the others then, and returns the highest of all codes."""
    says = f"srun: error: n2: task 1: Exited with exit code {first}\nsrun: error: n1: task 0: Terminated"
    words = ("bash", "-c", f"echo '{says}'; exit 143")
    run(REPO / "slurm/attempt.sh", tmp_path / "run", *words, code=code)
    assert (tmp_path / "run/log/attempt-1/exit").read_text().split()[0] == str(code)


@pytest.mark.parametrize("said", ["n2: task 0: Killed", "Application launch failed: Invalid argument"])
def test_an_srun_that_does_not_end_is_killed(tmp_path, monkeypatch, said):
    """Its ranks have failed, as it says itself: the job does not wait for its time limit."""
    job = {"SLURM_JOB_ID": "1", "SLURM_JOB_END_TIME": "1", "DEEPSEARCH_REQUEUE": "0", "DEEPSEARCH_SRUN_PATIENCE": "2"}
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    words = ("bash", "-c", f"echo 'srun: error: {said}'; sleep 600; sleep 600")
    report = run(REPO / "slurm/attempt.sh", tmp_path / "run", *words, code=137)
    assert "srun has not ended 2 s after ranks failed" in report.stdout
    assert said in (tmp_path / "run/log/attempt-1/exit").read_text()


def test_a_sweep_here_with_a_point_that_fails_and_is_retried(tmp_path, warm):
    small(tmp_path, warm)
    sweep = write(tmp_path, SWEEP.replace("[2, 3, 4]", "[2, 3]"), "sweep.toml")
    out = tmp_path / "out"
    plan = deepsearch("sweep", "plan", sweep).stdout
    assert "8 points" in plan and "w3-lr0.0005-s2" in plan
    one = deepsearch("train", "--sweep", sweep, "--point", 5, "--run", tmp_path / "one").stdout
    assert "held-out" in one
    bad = "w2-lr0.001-s2"
    (out / bad).mkdir(parents=True)
    assert "not empty" in refused("sweep", "run", sweep, "--out", out)
    (out / bad).rmdir()
    out.rmdir()
    with subprocess.Popen([DEEPSEARCH, "sweep", "run", sweep, "--out", out, "--at-once", "2"]) as job:
        while not (out / "sweep.json").exists():
            time.sleep(0.01)
        (out / bad).mkdir(exist_ok=True)
        (out / bad / "parts").write_text("in the way")
        assert job.wait(timeout=120) == 1
    status = deepsearch("sweep", "status", out).stdout
    states = {name: row[0] for name, row in table(status).items()}
    assert states.pop(bad) == "failed"
    assert set(states.values()) == {"done"} and len(states) == 7
    assert "7 done, 1 failed" in status and "parts" in status
    there = refused("sweep", "run", sweep, "--out", out)
    assert "7 done, 1 failed" in there and "sweep retry" in there
    (out / bad / "parts").unlink()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/run.h5")}
    deepsearch("sweep", "retry", out)
    assert "8 done" in deepsearch("sweep", "status", out).stdout
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert table(deepsearch("sweep", "status", out).stdout)[bad][1] == "2"
    assert final_weights(out / "w3-lr0.001-s2") == final_weights(tmp_path / "one")


def test_halving_ends_poor_points_at_a_rung(tmp_path, warm):
    small(tmp_path, warm)
    text = SWEEP.replace("seeds = [1, 2]", "seeds = [1]").replace("[2, 3, 4]", "[2, 4]")
    sweep = write(tmp_path, text + "\n[halving]\nrungs = [2, 4]\nkeep = 0.5\n", "sweep.toml")
    out = tmp_path / "out"
    deepsearch("sweep", "run", sweep, "--out", out)
    rows = table(deepsearch("sweep", "status", out).stdout)
    assert sorted((row[0], row[2]) for row in rows.values()) == [
        *(("done", str(STEPS)), ("dropped", "2"), ("dropped", "2"), ("dropped", "4"))
    ]
    done = next(name for name, row in rows.items() if row[0] == "done")
    deepsearch("train", out / "points" / f"{done}.toml", "--run", tmp_path / "whole")
    assert final_weights(out / done) == final_weights(tmp_path / "whole")


BAD = [
    ("search.width = [2, 3, 4]", "search.widht = [2]\nsearch.width = [2]", r'sweep.toml: point .*unknown key.*"width"'),
    ("search.width = [2, 3, 4]", "search.width = [0]", r"sweep.toml: point w0.*width"),
    ('base = "config.toml"', 'base = "none.toml"', r"none.toml"),
    ("[grid]", "[gird]", r'unknown key "gird".*"grid"'),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD)
def test_bad_sweeps_are_refused_before_anything_is_written(tmp_path, old, new, message):
    small(tmp_path)
    sweep = write(tmp_path, SWEEP.replace(old, new), "sweep.toml")
    for command in ("run", "submit"):
        assert re.search(message, refused("sweep", command, sweep, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["search", "ladder", "rate-width"])
def test_shipped_sweeps_are_plans(name):
    assert "points" in deepsearch("sweep", "plan", REPO / f"configs/sweeps/{name}.toml").stdout


ANYWHERE = ("--site-set", "site.node_local=[]")  # this checkout may lie below /tmp


def test_dry_run_prints_script_and_rank_map(tmp_path):
    config = small(tmp_path)
    report = deepsearch("submit", config, "--run", REPO / "runs/none", "--nodes", 2, "--dry-run", *ANYWHERE)
    assert "#SBATCH --nodes=2" in report.stdout and "--kill-on-bad-exit=1" not in report.stdout
    assert "# node 2         ranks 4-7        search ranks 4-6, learner 0 (0 coordinates)" in report.stdout
    assert run("bash", "-n", write(tmp_path, report.stdout, "job.sh")).stderr == ""
    assert not (REPO / "runs/none").exists()
