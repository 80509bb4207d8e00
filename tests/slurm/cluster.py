"""What the tests on the cluster of cluster.sh share. Needs DEEPSEARCH (the binary) and SLURM_CONF."""

import os
import re
import time
from pathlib import Path

import pytest
from common import REPO, deepsearch, replaced, run, table, write

PATIENCE = 120
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
ONE_RANK = ("--site-set", "nodes.tasks_per_node=1")  # of each node: the machine has few cores
slow = pytest.mark.skipif(not os.environ.get("DEEPSEARCH_SLOW_TESTS"), reason="slow: jobs/test.sh --full runs it")


def wait_for(what, condition, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            files = [*BASE.glob("test/**/slurm-*.txt"), *BASE.glob("test/**/latest/output.txt")]
            logs = "".join(f"{path}\n{path.read_text()[-1000:]}" for path in sorted(files))
            pytest.fail(f"waited {patience} s for {what}\n{run('squeue', '-a', code=None).stdout}\n{logs}")
        time.sleep(0.1)


def squeue(job, field):
    return run("squeue", "-h", "-a", "-t", "all", "-j", job, "-o", field, code=None).stdout.strip()


def over(name):
    """No job of that name is queued or runs."""
    return lambda: run("squeue", "-h", "-n", name).stdout.strip() == ""


def done(path):
    return lambda: (path / "log" / "done").exists()


def newest_checkpoint(path):
    return max((int(folder.name[5:]) for folder in path.glob("checkpoints/step-*[0-9]")), default=0)


def attempts(path):
    return len([entry for entry in (path / "log").glob("attempt-*") if entry.is_dir()])


def exit_of(path, attempt):
    """The exit code of an attempt; None when it was killed before it could say."""
    file = path / "log" / f"attempt-{attempt}" / "exit"
    return int(file.read_text().split()[0]) if file.exists() else None


def log_of(path):
    """What all attempts' job scripts printed."""
    return "".join(file.read_text() for file in sorted((path / "log").glob("slurm-*")))


def submit(folder, name, *more, config="config.toml"):
    """The first job's id and the run's folder."""
    site = folder / "site.toml"
    report = run(REPO / "jobs/submit.sh", folder / config, "--run", folder / name, "--site", site, *more)
    assert "watch it" in report.stdout
    return re.search(r"^job (\d+)", report.stdout)[1], folder / name


SMALL = {"problems = 120": "problems = 40", "minibatch_problems = 40": "minibatch_problems = 20"}


def small_sweep(folder, sweep, name):
    """A sweep file over small runs."""
    write(folder, replaced((folder / "config.toml").read_text(), SMALL), "small.toml")
    return write(folder, replaced(sweep, {'"config.toml"': '"small.toml"'}), name)


def sweep_states(out):
    return {name: row[0] for name, row in table(deepsearch("sweep", "status", out).stdout).items()}
