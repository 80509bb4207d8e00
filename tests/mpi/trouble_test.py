"""Ranks that are slow, whose clocks are wrong, or that run out of memory. Needs DEEPSEARCH (the binary), MPIEXEC and
BAD_CLOCK (the library of bad_clock.cpp)."""

import os
import re
import resource
import signal
import threading
import time
from pathlib import Path

import pytest
from whole_runs import (
    DEEPSEARCH,
    LONG,
    ROLES,
    Job,
    assert_files_open,
    ended,
    four_ranks,
    process_of,
    train_policy,
    trees_of,
    wait_for_step,
    weights_of,
)

SHORT = ("learn.steps=2", "ranks.heartbeat_seconds=0.2", "ranks.stuck_seconds=5.0")
# A slow machine's slow ranks take their time; a job that hangs is ended by its own watches long before.
LONGEST = 150
RUNS = four_ranks()


@pytest.fixture(scope="module", autouse=True)
def base(tmp_path_factory):
    RUNS.base = train_policy(tmp_path_factory.mktemp("base"), LONG, "sft.steps=120")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return RUNS.whole(tmp_path_factory.mktemp("whole"))


def assert_same_bits(run, whole_run):
    """Of a run that may have ended earlier, at a step that is evaluated in both."""
    name, weights = weights_of(run)
    assert weights == (whole_run / "checkpoints" / name / "model.safetensors").read_bytes()
    trees = trees_of(run)
    of_whole = trees_of(whole_run)
    assert len(trees) > 100
    assert trees == {key: tree for key, tree in of_whole.items() if key in trees}


class Slowly:
    """A process that runs a few per cent of the time only, for the lifetime of this."""

    def __init__(self, pid, runs=0.02, sleeps=0.3):
        self.pid, self.runs, self.sleeps = pid, runs, sleeps
        self.turns = 0
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        try:
            while not self.ends.is_set():
                os.kill(self.pid, signal.SIGSTOP)
                time.sleep(self.sleeps)
                os.kill(self.pid, signal.SIGCONT)
                time.sleep(self.runs)
                self.turns += 1
        except ProcessLookupError:
            pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.thread.join()


@pytest.mark.parametrize("role", ROLES)
def test_a_slow_rank_is_waited_for_and_nobody_is_accused(tmp_path, whole, role):
    run = tmp_path / "run"
    job = Job(RUNS.command(run, *SHORT), run)
    pid = process_of(job.process, ROLES[role])
    assert pid is not None
    with Slowly(pid) as slow:
        code, said, seconds = job.end(LONGEST)
    assert code == 0, said
    assert "silent" not in said and "stuck" not in said, said
    assert_same_bits(run, whole)
    print(f"{role}: {seconds:.1f} s with {slow.turns} stops")


def test_clocks_that_are_wrong_and_jump_change_nothing(tmp_path, whole):
    run = tmp_path / "run"
    # A quarter of an hour by a steady clock, which no jump of three hours may use up.
    words = RUNS.command(run, *SHORT, 'run.time_limit="900"', "run.checkpoint_minutes=15")
    place = words.index(DEEPSEARCH)
    report = ended([*words[:place], "env", f"LD_PRELOAD={os.environ['BAD_CLOCK']}", *words[place:]])
    assert report.returncode == 0, report.stderr
    assert "silent" not in report.stderr and "stuck" not in report.stderr, report.stderr
    stamps = {line.split()[0][:2] for path in (run / "log").glob("*.log") for line in path.read_text().splitlines()}
    assert len(stamps) > 2, "the clocks were not wrong"
    assert_same_bits(run, whole)


@pytest.mark.parametrize("end", ["1", str(int(time.time()) - 7200), str(2**40), "tomorrow"])
def test_an_absurd_end_of_the_slurm_job_is_a_warning(tmp_path, end, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_END_TIME", end)
    report = RUNS.train(tmp_path / "run", "learn.steps=1")
    assert report.returncode == 0, report.stderr
    lines = [line for line in report.stderr.splitlines() if f'SLURM_JOB_END_TIME is "{end}"' in line]
    assert len(lines) == 1 and "passed over" in lines[0], report.stderr


def address_space(pid):
    return 4096 * int(Path(f"/proc/{pid}/statm").read_text().split()[0])


@pytest.mark.parametrize("role", ROLES)
def test_a_rank_without_memory_says_so_and_the_job_ends(tmp_path, whole, role, monkeypatch):
    run = tmp_path / "run"
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "4096")  # what is freed goes back to the system: the limit is met soon
    job = Job(RUNS.command(run), run)
    rank = ROLES[role]
    wait_for_step(run, 1)
    pid = process_of(job.process, rank)
    limit = address_space(pid)
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
    code, said, seconds = job.end(LONGEST)
    assert code == 2, said
    lines = [line for line in said.splitlines() if "out of memory" in line]
    assert len(lines) == 1, said
    name = "search 1" if role == "search" else role.split(",")[0]
    assert re.match(rf"{name} \(rank {rank}, host [^)]+\): [a-z ]+: (.+: )?out of memory: it holds ", lines[0]), said
    assert "ulimit -v" in lines[0]
    assert ("problems_in_flight" if role == "search" else "tokens_per_microbatch") in lines[0]
    assert_files_open(run)
    report = RUNS.train(run)
    assert report.returncode == 0, report.stderr
    assert_same_bits(run, whole)
    print(f"{role}: the job ended within {seconds:.1f} s")
