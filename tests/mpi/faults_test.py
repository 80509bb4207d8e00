"""Ranks that are killed or stopped in the middle of a run: the job ends, says why, and goes on by --resume with the
same bits. Needs DEEPSEARCH (the binary) and MPIEXEC; FAULT_MOMENTS: at how many random moments each role is killed."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from resume_test import CONFIG, children_of, inode_of, wait_for
from train_test import DEEPSEARCH, MPIEXEC, trees_of, wait_for_step

MOMENTS = int(os.environ.get("FAULT_MOMENTS", "2"))
STEPS = 6
LONGEST = 30  # seconds for a job to end after a fault
STUCK = 5.0  # [ranks].stuck_seconds of the runs whose ranks are stopped: more than a busy machine's hiccups
RANKS = 4
ROLES = {"search": 1, "learner 0, the coordinator": 2, "learner 1": 3}
BASE = None


def command(run, *more, ranks=RANKS, learners=2):
    config = run.parent / "config.toml"
    config.write_text(CONFIG)
    start = [MPIEXEC, "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", "-n", str(ranks)]
    size = ("learn.problems=60", "learn.minibatch_problems=30", "learn.checkpoint_every=1")
    keys = [f"model.path={BASE}", f"ranks.learners={learners}", *size, *more]
    sets = [word for key in keys for word in ("--set", str(key))]
    return [*start, DEEPSEARCH, "train", str(config), "--run", str(run), *sets, "--resume"]


def train(run, *more, **layout):
    return subprocess.run(command(run, *more, **layout), capture_output=True, text=True, timeout=110, check=False)


def final_weights(run):
    return (run / "checkpoints" / f"step-{STEPS:06}" / "model.safetensors").read_bytes()


def elapsed_of(run):
    with h5py.File(run / "run.h5", "r") as file:
        return file["metrics/learner/elapsed"][...]


@pytest.fixture(scope="module", autouse=True)
def base(tmp_path_factory):
    """A policy that solves a few problems, so that there are gradients, and moments worth keeping."""
    global BASE  # noqa: PLW0603
    folder = tmp_path_factory.mktemp("base")
    (folder / "config.toml").write_text(CONFIG)
    BASE = folder / "policy"
    arguments = [DEEPSEARCH, "sft", folder / "config.toml", "--out", BASE, "--set", "sft.steps=120"]
    subprocess.run(arguments, check=True, capture_output=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    report = train(run)
    assert report.returncode == 0, report.stderr
    return run


def process_of(job, rank):
    """The process of a rank of a job, or None when there is none (any more)."""
    for pid in children_of(job.pid):
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"OMPI_COMM_WORLD_RANK={rank}".encode() in environment:
            return pid
    return None


class Job:
    """A run that has begun to write its run.h5."""

    def __init__(self, run, *more, **layout):
        before = inode_of(run / "run.h5")
        self.job = subprocess.Popen(
            command(run, *more, **layout), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_for(lambda: inode_of(run / "run.h5") != before or self.job.poll() is not None)

    def hit(self, rank, how):
        pid = process_of(self.job, rank)
        if pid is not None:
            os.kill(pid, how)
        return pid is not None

    def end(self):
        """Exit code, what it said, and seconds until it ended."""
        since = time.monotonic()
        try:
            out, errors = self.job.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            for pid in [*children_of(self.job.pid), self.job.pid]:
                os.kill(pid, signal.SIGKILL)
            pytest.fail(f"the job did not end within {LONGEST} s: {self.job.communicate()[1]}")
        return self.job.returncode, out + errors, time.monotonic() - since


def assert_files_open(run):
    for path in [*(run / "parts").glob("*.h5"), run / "run.h5"]:
        with h5py.File(path, "r", libver="latest", swmr=True) as file:
            assert len(file) > 0, path


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
            job = Job(run)
            time.sleep(duration * random.uniform(0, 0.4))
            hit = job.hit(ROLES[role], signal.SIGKILL)
            code, said, seconds = job.end()
            if code == 0:
                break
            assert hit, said
            kills += 1
            ended_within = max(ended_within, seconds)
            assert_files_open(run)
        report = train(run)
        assert report.returncode == 0, report.stderr
        assert_files_open(run)
        assert final_weights(run) == final_weights(whole)
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
    job = Job(run, *SHORT)
    wait_for_step(run, 2)
    assert job.hit(ROLES[role], signal.SIGSTOP)
    code, said, _ = job.end()
    assert code not in (0, 75), said
    assert re.search(NAMED[role], said), said
    # Nobody else is blamed.
    for other in set(ROLES) - {role}:
        assert not re.search(NAMED[other] + ".*silent", said), said
    assert_files_open(run)
    report = train(run, "learn.steps=4")
    assert report.returncode in (0, 2), report.stderr  # 2: more steps are done already
    assert report.returncode == 0 or "steps are done" in report.stderr


def test_a_rank_stopped_while_weights_travel_is_named(tmp_path):
    run = tmp_path / "run"
    # A policy that takes its time to travel, and little else to do.
    keys = ("model.path=", "model.hidden_size=512", "model.intermediate_size=2048", "model.n_layers=6")
    small = ("learn.problems=4", "learn.minibatch_problems=4", "eval.problems=1", "eval.samples=1", "search.width=2")
    job = Job(run, "ranks.heartbeat_seconds=0.05", "ranks.stuck_seconds=4.0", *keys, *small, ranks=3, learners=1)
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
    job = Job(run, *SHORT, ranks=3, learners=1)
    wait_for_step(run, 2)
    assert job.hit(2, signal.SIGSTOP)
    code, said, _ = job.end()
    assert code not in (0, 75), said
    assert re.search(r"search [01], host [^)]+\): [^:]+: learner 0 \(rank 2, host [^)]+\) has been silent", said), said
    assert_files_open(run)


@pytest.mark.parametrize("delay", [3, 40])
def test_message_times_do_not_change_the_bits(tmp_path, whole, delay):
    run = tmp_path / "run"
    report = train(run, f"ranks.test_delay_ms={delay}")
    assert report.returncode == 0, report.stderr
    assert final_weights(run) == final_weights(whole)
    assert trees_of(run) == trees_of(whole)
