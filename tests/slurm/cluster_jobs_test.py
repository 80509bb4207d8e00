"""Single runs on the cluster: both launchers, both nodes, and whatever may happen to a job."""

import json
import os
import signal
import time
from pathlib import Path

import h5py
import pytest
from common import (
    DEEPSEARCH,
    REPO,
    assert_gradients,
    deepsearch,
    final_weights,
    hosts_of,
    refused,
    run,
    state_of,
    text_of,
    write,
)

from cluster import (
    ONE_RANK,
    attempts,
    done,
    exit_of,
    log_of,
    newest_checkpoint,
    over,
    slow,
    squeue,
    submit,
    wait_for,
)

LONG_STEPS = 40
FIRST_TREE_SECONDS = 60
ENDLESS = ("--set", "learn.steps=100000", "--set", "learn.checkpoint_every=1", "--set", "eval.every=0")


@pytest.fixture(scope="module", autouse=True)
def limited(folder, queued_sweep):
    """A job that Slurm ends by its time limit, and that goes on then. It runs beside the first tests, since Slurm looks
    for such jobs only every half minute, and would run on for ever."""
    del queued_sweep  # begins before
    limits = ("--time", "00:01:00", "--site-set", "site.signal=USR2")
    job, path = submit(folder, "limited", "--nodes", 2, *ONE_RANK, *limits, *ENDLESS, config="long.toml")
    yield job, path
    run("scancel", job, code=None)


def test_two_jobs_on_the_same_nodes_by_srun_and_by_mpirun(folder):
    begin = time.monotonic()
    paths = {}
    for launcher in ("srun", "mpirun"):
        paths[launcher] = submit(folder, launcher, "--nodes", 2, "--site-set", f"site.launcher={launcher}")[1]
    for path in paths.values():
        patience = begin + FIRST_TREE_SECONDS - time.monotonic()
        wait_for("the first tree", lambda path=path: list(path.glob("parts/*.h5")), patience)
    print(f"from sbatch to the first trees of both: {time.monotonic() - begin:.1f} s")
    for path in paths.values():
        wait_for("the end", done(path))
        assert state_of(path) == ("finished", [1, 2, 3, 4, 5, 6])
        assert hosts_of(path) == ["n1", "n1", "n2", "n2"]
        assert_gradients(path)
    alone = folder / "alone"
    deepsearch("train", folder / "config.toml", "--run", alone)
    assert final_weights(paths["srun"]) == final_weights(paths["mpirun"]) == final_weights(alone)


def test_a_disturbed_job_comes_back_to_the_same_bits(folder, whole):
    """Requeued, signalled, a rank killed (of a job with learner nodes of another kind), and, slow, Slurm's process of
    the step on a node: jobs side by side."""
    assert_gradients(whole)
    signal_site = ("--site-set", "site.signal=INT")
    kinds = {
        "requeued": ("--nodes", 2, *ONE_RANK),
        "signalled": ("--nodes", 2, *ONE_RANK, *signal_site),
        "killed": ("--learner-nodes", 1, *ONE_RANK, "--site-set", "nodes.partition=first"),
    }
    if os.environ.get("DEEPSEARCH_SLOW_TESTS"):
        kinds["signalled-mpirun"] = ("--nodes", 2, *ONE_RANK, "--site-set", "site.launcher=mpirun")
        # srun does not notice, and the other rank only after some silence.
        kinds["stepd-killed"] = ("--nodes", 2, *ONE_RANK, "--set", "ranks.stuck_seconds=15")
    jobs = {name: submit(folder, name, *more, config="long.toml") for name, more in kinds.items()}
    waiting = set(jobs)
    while waiting:
        name = wait_for(
            "a checkpoint", lambda: next((n for n in sorted(waiting) if newest_checkpoint(jobs[n][1]) >= 4), None)
        )
        waiting.remove(name)
        disturb(name, *jobs[name])
    for name, (_, path) in jobs.items():
        wait_for(f"the end of {name}", done(path))
        assert attempts(path) == 2, name
        assert state_of(path) == ("finished", list(range(1, LONG_STEPS + 1))), name
        assert final_weights(path, LONG_STEPS) == final_weights(whole, LONG_STEPS), name
        assert hosts_of(path) == ["n1", "n2"], name
        assert (path / "log" / "latest").resolve().name == "attempt-2", name
        assert exit_of(path, 2) == 0, name
    assert exit_of(jobs["signalled"][1], 1) == 75
    assert "SIGINT: asking for a checkpoint" in log_of(jobs["signalled"][1])
    assert exit_of(jobs["requeued"][1], 1) in {None, 75}
    assert exit_of(jobs["killed"][1], 1) not in {0, 75}


def disturb(name, job, path):
    if done(path)():
        pytest.fail(f"{name} was done before it could be disturbed")
    if name == "requeued":
        run("scontrol", "requeue", job)
    elif name == "killed":
        kill_one_rank(path)
    elif name == "stepd-killed":
        os.kill(max(map(int, run("pgrep", "-f", rf"^slurmstepd: \[{job}\.0\]").stdout.split())), signal.SIGKILL)
    else:
        run("scancel", "--batch", f"--signal={'INT' if name == 'signalled' else 'USR1'}", job)


def kill_one_rank(path):
    mine = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"deepsearch") and b"train" in words and str(path).encode() in words:
            mine.append(int(entry.parent.name))
    assert mine
    os.kill(max(mine), signal.SIGKILL)


def test_slurms_time_limit_makes_a_checkpoint_and_the_job_goes_on(folder, limited):
    job, path = limited
    wait_for("the time limit", lambda: exit_of(path, 1) is not None)
    assert exit_of(path, 1) == 75
    before = newest_checkpoint(path)
    wait_for("the second attempt's steps", lambda: newest_checkpoint(path) > before)
    run("scancel", job)
    wait_for("the job's end", lambda: squeue(job, "%T") in {"", "CANCELLED"})
    assert "SIGUSR2: asking for a checkpoint" in log_of(path)
    assert "requeueing" in log_of(path)
    compare_with_undisturbed(folder, path, "long.toml")


def compare_with_undisturbed(folder, path, config):
    """An endless run's newest checkpoint with that of a run that came there in one go."""
    step = newest_checkpoint(path)
    alone = folder / f"{path.name}-alone"
    often = "learn.checkpoint_every=1000"  # it must not matter
    deepsearch(
        "train", folder / config, "--run", alone, *ENDLESS, "--set", often, "--set", f"run.stop_after={step}", code=75
    )
    assert final_weights(path, step) == final_weights(alone, step)


def test_a_cancelled_job_stays_cancelled_and_can_be_resumed(folder, whole):
    job, path = submit(folder, "cancelled", *ONE_RANK, config="long.toml")
    again = ("submit", folder / "long.toml", "--run", path, "--site", folder / "site.toml")
    wait_for("its start", lambda: squeue(job, "%T") == "RUNNING")
    assert f"job {job}" in refused(*again, "--resume")
    wait_for("a checkpoint", lambda: newest_checkpoint(path) >= 4)
    run("scancel", job)
    wait_for("the job's end", lambda: squeue(job, "%T") in {"", "CANCELLED"})
    assert not done(path)()
    assert "--resume" in refused(*again)
    submit(folder, "cancelled", "--resume", *ONE_RANK, config="long.toml")
    wait_for("the end", done(path))
    assert attempts(path) == 2
    assert final_weights(path, LONG_STEPS) == final_weights(whole, LONG_STEPS)


STAND_IN = """#!/usr/bin/env bash
# A program whose filter and evaluate do nothing but say how they were called.
case $1 in
filter | evaluate) [ "$OMPI_COMM_WORLD_RANK$PMIX_RANK" = 0 ] && echo "called: $*" || true ;;
*) exec "{program}" "$@" ;;
esac
"""


def test_stages_follow_each_other(folder):
    """filter.sbatch, train.sbatch and evaluate.sbatch by hand, each after the one before it, also where that requeues
    itself; filter and evaluate are stand-ins here."""
    program = write(folder, STAND_IN.format(program=DEEPSEARCH), "stand-in.sh")
    program.chmod(0o755)
    chain = folder / "by-hand"
    environment = {"DEEPSEARCH": str(program), "DEEPSEARCH_HOME": str(REPO)}
    jobs = {}
    for stage in ("filter", "train", "evaluate"):
        before = list(jobs.values())[-1:]
        after = [f"--dependency=afterok:{before[0]}", "--kill-on-invalid-dep=yes"] if before else []
        words = ["sbatch", "--parsable", "--ntasks-per-node=1", f"--output={folder}/by-hand-%j.txt", *after]
        model = [chain / "train"] if stage == "evaluate" else []
        script = [REPO / f"slurm/{stage}.sbatch", folder / "long.toml", chain / stage, *model]
        jobs[stage] = run(*words, *script, **environment).stdout.strip()
    wait_for("a checkpoint", lambda: newest_checkpoint(chain / "train") >= 4)
    run("scancel", "--batch", "--signal=USR1", jobs["train"])
    wait_for("the end of training's first attempt", lambda: exit_of(chain / "train", 1) is not None)
    assert squeue(jobs["evaluate"], "%T") == "PENDING"
    wait_for("the last stage", done(chain / "evaluate"))
    assert attempts(chain / "train") == 2
    called = (chain / "evaluate/log/latest/output.txt").read_text()
    assert f"--model {chain}/train/checkpoints/step-{LONG_STEPS:06} --resume" in called
    times = [(chain / stage / "log" / "done").stat().st_mtime for stage in jobs]
    assert times == sorted(times)


def test_a_chain_filters_trains_on_what_is_hard_and_evaluates(folder):
    stages = ["filter", "train", "evaluate"]
    pool = ("--stage-set", "filter:rounds.pool=60", "--stage-set", "filter:rounds.max_pass_rate=0.5")
    hand_over = ("--stage-set", "train:problems.train_file={filter}/problems.jsonl")
    _, path = submit(folder, "chain", "--nodes", 2, *ONE_RANK, "--stages", ",".join(stages), *pool, *hand_over)
    for stage in stages:
        wait_for(f"the stage {stage}", done(path / stage))
        assert attempts(path / stage) == 1
    for stage in ("train", "evaluate"):
        assert hosts_of(path / stage) == ["n1", "n2"]
    hard = {json.loads(line)["id"] for line in (path / "filter/problems.jsonl").read_text().splitlines()}
    with h5py.File(path / "train/run.h5", "r") as file:
        split = [text_of(value) for value in file["problems/split"][...]]
        ids = [text_of(value) for value in file["problems/id"][...]]
    trained = {one for one, name in zip(ids, split, strict=True) if name == "train"}
    assert trained and trained <= hard


@slow
def test_a_run_in_pieces_for_sites_without_requeueing(folder):
    """Three jobs, each after the one before; each may work for 5 s."""
    _, path = submit(folder, "pieces", "--pieces", 3, *ONE_RANK, "--set", 'run.time_limit="5"', *ENDLESS)
    wait_for("the last piece", over("deepsearch-pieces"))
    assert attempts(path) == 3
    assert [exit_of(path, attempt) for attempt in (1, 2, 3)] == [75, 75, 75]
    assert "requeueing" not in log_of(path)
    assert len(list((path / "log").glob("slurm-*.txt"))) == 3
    compare_with_undisturbed(folder, path, "config.toml")
