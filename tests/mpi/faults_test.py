"""Ranks that are killed or stopped in the middle of a run: the job ends, says why, and goes on by --resume with the
same bits. Needs DEEPSEARCH (the binary) and MPIEXEC; FAULT_MOMENTS: at how many random moments each role is killed."""

import os
import re
import signal
import time

import numpy as np
import pytest
from whole_runs import (
    LONG,
    ROLES,
    Job,
    assert_files_open,
    elapsed_of,
    four_ranks,
    train_policy,
    trees_of,
    wait_for,
    wait_for_step,
    weights_of,
)

MOMENTS = int(os.environ.get("FAULT_MOMENTS", "2"))
STUCK = 5.0  # [ranks].stuck_seconds of the runs whose ranks are stopped: more than a busy machine's hiccups
RUNS = four_ranks()


@pytest.fixture(scope="module", autouse=True)
def base(tmp_path_factory):
    RUNS.base = train_policy(tmp_path_factory.mktemp("base"), LONG, "sft.steps=120")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return RUNS.whole(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("role", ROLES)
def test_killed_at_random_moments_goes_on_with_the_same_bits(tmp_path, whole, role):
    random = np.random.default_rng([ROLES[role], MOMENTS])
    duration = elapsed_of(whole)[-1]
    kills = 0
    ended_within = 0
    runs = 0
    while kills < MOMENTS:
        run = tmp_path / f"run{runs}" / "run"
        run.parent.mkdir()
        runs += 1
        # A few kills a run, so that resumed attempts are killed too.
        for _ in range(min(7, MOMENTS - kills)):
            job = Job(RUNS.command(run), run)
            time.sleep(duration * random.uniform(0, 0.4))
            hit = job.hit(ROLES[role], signal.SIGKILL)
            code, said, seconds = job.end()
            if code == 0:
                break
            assert hit, said
            kills += 1
            ended_within = max(ended_within, seconds)
            assert_files_open(run)
        report = RUNS.train(run)
        assert report.returncode == 0, report.stderr
        assert_files_open(run)
        assert weights_of(run) == weights_of(whole)
        assert trees_of(run) == trees_of(whole)
    print(f"{role}: {kills} kills in {runs} runs, jobs ended within {ended_within:.1f} s")


SHORT = ("ranks.heartbeat_seconds=0.2", f"ranks.stuck_seconds={STUCK}", "learn.steps=100000")
NAMED = {
    "search": r"search 1 \(rank 1, host [^)]+\) has been silent for [\d.]+ s \(limit 5 s\); it was last in phase '",
    "learner 0, the coordinator": r"learner 0 \(rank 2, host [^)]+\)( has been silent for|, phase)",
    "learner 1": r"learner 1 \(rank 3, host [^)]+\)( has been silent for|, phase)",
}


@pytest.mark.parametrize("role", ROLES)
def test_stopped_is_named_and_the_job_ends(tmp_path, role):
    run = tmp_path / "run"
    job = Job(RUNS.command(run, *SHORT), run)
    wait_for_step(run, 2)
    assert job.hit(ROLES[role], signal.SIGSTOP)
    code, said, _ = job.end()
    assert code not in (0, 75), said
    assert re.search(NAMED[role], said), said
    # Nobody else is blamed.
    for other in set(ROLES) - {role}:
        assert not re.search(NAMED[other] + ".*silent", said), said
    assert_files_open(run)
    report = RUNS.train(run, "learn.steps=4")
    assert report.returncode in (0, 2), report.stderr  # 2: more steps are done already
    assert report.returncode == 0 or "steps are done" in report.stderr


def test_a_rank_stopped_while_weights_travel_is_named(tmp_path):
    run = tmp_path / "run"
    # A policy that takes its time to travel, and little else to do.
    keys = ("model.path=", "model.hidden_size=512", "model.intermediate_size=2048", "model.n_layers=6")
    small = ("learn.problems=4", "learn.minibatch_problems=4", "eval.problems=1", "eval.samples=1", "search.width=2")
    watch = ("ranks.heartbeat_seconds=0.05", "ranks.stuck_seconds=4.0")
    job = Job(RUNS.command(run, *watch, *keys, *small, ranks=3, learners=1), run)
    log = run / "log" / "rank-0001.log"
    wait_for(lambda: log.exists() and "engine:" in log.read_text())
    assert job.hit(1, signal.SIGSTOP)
    code, said, _ = job.end()
    assert code not in (0, 75), said
    # Stopped before its first sign of life, it has the time of set-up.
    assert re.search(r"search 1 \(rank 1, host [^)]+\) has been silent for [\d.]+ s \(limit (4|20) s\)", said), said
    assert re.search(r"last in phase '(taking weights|waiting for work|searching)'|no heartbeat at all", said), said
    assert_files_open(run)


def test_a_coordinator_that_is_stopped_is_named_by_whoever_waits_for_it(tmp_path):
    """Also where it is the only learner and no sum is waited for."""
    run = tmp_path / "run"
    job = Job(RUNS.command(run, *SHORT, ranks=3, learners=1), run)
    wait_for_step(run, 2)
    assert job.hit(2, signal.SIGSTOP)
    code, said, _ = job.end()
    assert code not in (0, 75), said
    assert re.search(r"search [01], host [^)]+\): [^:]+: learner 0 \(rank 2, host [^)]+\) has been silent", said), said
    assert_files_open(run)


@pytest.mark.parametrize("delay", [3, 40])
def test_message_times_do_not_change_the_bits(tmp_path, whole, delay):
    run = tmp_path / "run"
    report = RUNS.train(run, f"ranks.test_delay_ms={delay}")
    assert report.returncode == 0, report.stderr
    assert weights_of(run) == weights_of(whole)
    assert trees_of(run) == trees_of(whole)
