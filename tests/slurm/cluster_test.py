"""On the cluster of two nodes of cluster.sh (test.sh makes it): what jobs/submit.sh and sweeps do there. Jobs that only
wait run side by side: the fixture `jobs` queues them all first. Needs DEEPSEARCH (the binary) and SLURM_CONF."""

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from common import CONFIG, REPO, SWEEP, deepsearch, final_weights, hosts_of, refused, run, state_of, table, write

PATIENCE = 150
BASE = Path(os.environ["SLURM_CONF"]).parent  # shared by both nodes, gone with the cluster
SITE = """
[site]
time = "00:10:00"
grace_seconds = 20
launcher = "srun"
network = "10.77.0.0/24"
environment = ["OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "OMPI_MCA_mpi_yield_when_idle=1",
               "OMPI_MCA_btl_base_warn_component_unused=0"]

[nodes]
tasks_per_node = 2

[learner_nodes]
partition = "second"
tasks_per_node = 1
"""
# Long enough to be disturbed in the middle.
LONG = {"steps = 6": "steps = 24", "problems = 120": "problems = 240"}
LONG_STEPS = 24


def wait_for(what, condition, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            logs = "".join(path.read_text()[-1500:] for path in sorted(BASE.glob("test/*/*/log/slurm-*")))
            pytest.fail(f"waited {patience} s for {what}\n{run('squeue', '-a', code=None).stdout}\n{logs}")
        time.sleep(0.2)


def squeue(job, field):
    return run("squeue", "-h", "-a", "-j", job, "-o", field, code=None).stdout.strip()


def done(path):
    return lambda: (path / "log" / "done").exists()


def checkpoint(path, least):
    steps = [int(folder.name[5:]) for folder in path.glob("checkpoints/step-*[0-9]")]
    return max(steps, default=0) >= least


def attempts(path):
    return len([entry for entry in (path / "log").glob("attempt-*") if entry.is_dir()])


@pytest.fixture(scope="module")
def folder():
    path = BASE / "test" / "runs"
    path.mkdir(parents=True)
    write(path, SITE, "site.toml")
    write(path)
    text = CONFIG
    for old, new in LONG.items():
        text = text.replace(old, new)
    write(path, text, "long.toml")
    return path


def submit(folder, name, *more, config="config.toml"):
    site = folder / "site.toml"
    report = run(REPO / "jobs/submit.sh", folder / config, "--run", folder / name, "--site", site, *more)
    assert "watch it" in report.stdout
    return re.search(r"^job (\d+)", report.stdout)[1], folder / name


@pytest.fixture(scope="module")
def whole(folder):
    """A run of long.toml that nobody disturbed; here, on one rank."""
    path = folder / "whole"
    deepsearch("train", folder / "long.toml", "--run", path, timeout=200)
    return path


def test_both_launchers_train_over_both_nodes_at_once(folder):
    """Two jobs side by side on the same nodes."""
    begin = time.monotonic()
    paths = {}
    for launcher in ("srun", "mpirun"):
        paths[launcher] = submit(folder, launcher, "--nodes", 2, "--site-set", f"site.launcher={launcher}")[1]
    for path in paths.values():
        wait_for("the first tree", lambda path=path: list(path.glob("parts/*.h5")))
    print(f"from sbatch to the first trees' files: {time.monotonic() - begin:.1f} s")
    for path in paths.values():
        wait_for("the end", done(path))
        assert state_of(path) == ("finished", [1, 2, 3, 4, 5, 6])
        assert hosts_of(path) == ["n1", "n1", "n2", "n2"]
    alone = folder / "alone"
    deepsearch("train", folder / "config.toml", "--run", alone)
    assert final_weights(paths["srun"]) == final_weights(paths["mpirun"]) == final_weights(alone)


def test_a_disturbed_job_comes_back_to_the_same_bits(folder, whole):
    """Requeued, signalled, its ranks killed, and out of time: four jobs side by side."""
    jobs = {}
    for name, more in {
        "requeued": (),
        "signalled": (),
        "signalled-mpirun": ("--site-set", "site.launcher=mpirun"),
        "killed": (),
        "timed": ("--time", "00:01:00", "--set", 'run.time_limit="4"'),
    }.items():
        jobs[name] = submit(folder, name, "--nodes", 2, *more, config="long.toml")
    waiting = set(jobs) - {"timed"}
    while waiting:
        name = wait_for("a checkpoint", lambda: next((n for n in sorted(waiting) if checkpoint(jobs[n][1], 4)), None))
        waiting.remove(name)
        job, path = jobs[name]
        if done(path)():
            pytest.fail(f"{name} was done before it could be disturbed")
        if name == "requeued":
            run("scontrol", "requeue", job)
        elif name == "killed":
            kill_one_rank(path)
        else:
            run("scancel", "--batch", "--signal=USR1", job)
    for name, (_, path) in jobs.items():
        wait_for(f"the end of {name}", done(path))
        assert attempts(path) >= 2, name
        assert state_of(path) == ("finished", list(range(1, LONG_STEPS + 1))), name
        assert final_weights(path, LONG_STEPS) == final_weights(whole, LONG_STEPS), name
    assert (jobs["signalled"][1] / "log/attempt-1/exit").read_text().split()[0] == "75"
    assert (jobs["timed"][1] / "log/attempt-1/exit").read_text().split()[0] == "75"
    for name in ("requeued", "killed"):
        exits = jobs[name][1] / "log/attempt-1/exit"
        assert not exits.exists() or exits.read_text().split()[0] != "0"
    latest = jobs["killed"][1] / "log" / "latest"
    assert latest.resolve().name == f"attempt-{attempts(jobs['killed'][1])}"


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


def test_a_cancelled_job_stays_cancelled_and_can_be_resumed(folder, whole):
    job, path = submit(folder, "cancelled", config="long.toml")
    wait_for("a checkpoint", lambda: checkpoint(path, 2))
    run("scancel", job)
    wait_for("the job's end", lambda: squeue(job, "%T") in {"", "CANCELLED"})
    assert not (path / "log" / "done").exists()
    refusal = refused("submit", folder / "long.toml", "--run", path, "--site", folder / "site.toml")
    assert "--resume" in refusal
    submit(folder, "cancelled", "--resume", config="long.toml")
    wait_for("the end", done(path))
    assert final_weights(path, LONG_STEPS) == final_weights(whole, LONG_STEPS)


def test_a_heterogeneous_job_and_a_chain_of_pieces(folder, whole):
    _, het = submit(folder, "het", "--learner-nodes", 1, "--site-set", "nodes.partition=first")
    _, chain = submit(folder, "chain", "--pieces", 3, "--set", 'run.time_limit="5"', config="long.toml")
    wait_for("the heterogeneous job's end", done(het))
    assert hosts_of(het) == ["n1", "n1", "n2"]
    wait_for("the chain's end", lambda: run("squeue", "-h", "-n", "deepsearch-chain").stdout.strip() == "")
    assert 2 <= attempts(chain) <= 3
    if not done(chain)():  # a slow machine
        assert state_of(chain)[0] == "interrupted"


def test_a_sweep_tells_the_truth_and_retries_what_failed(folder):
    sweep = write(folder, SWEEP, "sweep.toml")
    out = folder / "sweep"
    text = (folder / "config.toml").read_text()
    for old, new in {"problems = 120": "problems = 12", "minibatch_problems = 40": "minibatch_problems = 6"}.items():
        text = text.replace(old, new)
    write(folder, text, "config-of-sweep.toml")
    sweep.write_text(SWEEP.replace("config.toml", "config-of-sweep.toml").replace("[1e-3, 5e-4]", "[1e-3, 5e-4]"))
    bad = "w3-lr0.001-s2"
    run("scontrol", "update", "PartitionName=all", "State=DOWN")  # nothing starts before the trap is set
    report = deepsearch("sweep", "submit", sweep, "--out", out, "--site", folder / "site.toml", "--most", 8)
    assert "12 points" in report.stdout
    (out / bad).mkdir()
    (out / bad / "parts").write_text("in the way")
    states = {name: row[0] for name, row in table(deepsearch("sweep", "status", out).stdout).items()}
    assert set(states.values()) == {"queued"} and len(states) == 12
    run("scontrol", "update", "PartitionName=all", "State=UP")
    wait_for("the array's end", lambda: run("squeue", "-h", "-n", "deepsearch-sweep").stdout.strip() == "")
    status = deepsearch("sweep", "status", out).stdout
    states = {name: row[0] for name, row in table(status).items()}
    assert states.pop(bad) == "failed", status
    assert set(states.values()) == {"done"}, status
    assert "parts" in status
    assert "sweep retry" in refused("sweep", "submit", sweep, "--out", out, "--site", folder / "site.toml")
    (out / bad / "parts").unlink()
    retry = deepsearch("sweep", "retry", out).stdout
    assert ": 1 points" in retry
    wait_for("the retry", done(out / bad))
    assert "12 done" in deepsearch("sweep", "status", out).stdout
    assert "nothing to retry" in deepsearch("sweep", "retry", out).stdout
    for path in out.glob("*/run.h5"):
        assert state_of(path.parent)[0] == "finished"
        assert attempts(path.parent) == (2 if path.parent.name == bad else 1)


BAD = [
    (("--site-set", "nodes.partition=nowhere"), "nowhere|partition"),
    (("--nodes", 7), "node"),
    (("--set", "search.widht=1"), 'unknown key.*"width"'),
    (("--set", "ranks.learners=4"), "leaves none to search"),
    (
        ("--set", "model.hidden_size=8192", "--set", "model.n_heads=64", "--set", "model.n_layers=200"),
        "does not fit|GB are free",
    ),
    (("--run", "/tmp/run"), "/tmp is a node's own"),
    (("--site-set", 'site.modules=["gcc/99"]'), "module"),
    (("--time", "00:00:30"), "less than half"),
    (("--learner-nodes", 1, "--site-set", "site.launcher=mpirun"), "srun"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line_before_anything_is_queued(folder, arguments, message):
    before = run("squeue", "-h", "-a").stdout
    words = ["submit", folder / "config.toml", "--site", folder / "site.toml", *arguments]
    if "--run" not in arguments:
        words += ["--run", folder / "bad"]
    assert re.search(message, refused(*words))
    assert not (folder / "bad").exists()
    assert len(run("squeue", "-h", "-a").stdout) <= len(before)


def test_every_script_would_be_taken(folder):
    for script in sorted((REPO / "slurm").glob("*.sbatch")):
        report = run("sbatch", "--test-only", script)
        assert "to start at" in report.stderr
    shellcheck = shutil.which("shellcheck")
    if shellcheck:
        scripts = [*(REPO / "slurm").glob("*.s*h"), *(REPO / "jobs").glob("*.sh"), *(REPO / "tests/slurm").glob("*.sh")]
        run(shellcheck, "-x", *scripts, *(REPO / "slurm").glob("*.sbatch"))


def test_a_running_job_is_not_queued_twice(folder):
    job, path = submit(folder, "twice", "--set", "learn.steps=100000", "--set", "learn.optimizer.lr=0.0")
    wait_for("its start", lambda: squeue(job, "%T") == "RUNNING")
    line = refused("submit", folder / "config.toml", "--run", path, "--site", folder / "site.toml", "--resume")
    assert f"job {job}" in line
    run("scancel", job)
