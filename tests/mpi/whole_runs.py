"""What tests of whole runs have in common: how the program is started on one rank or several, configurations, a policy
to start from, waiting for a run and stopping its ranks, and reading back what it left. Needs DEEPSEARCH (the binary)
and MPIEXEC."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

DEEPSEARCH = os.environ["DEEPSEARCH"]
MPIEXEC = os.environ.get("MPIEXEC", "mpirun")

SMALL = """
[task]
name = "bag"
sizes = [2]

[model]
hidden_size = 16
n_layers = 1
n_heads = 2
n_kv_heads = 1
intermediate_size = 24
max_positions = 64

[search]
step_tokens = 0
max_depth = 0
width = 3
trajectories = 3

[learn]
steps = 2
problems = 8
minibatch_problems = 4
overlong_penalty = 0.0
optimizer.lr = 1e-3

[eval]
every = 1
problems = 6
samples = 2

[store]
flush_seconds = 0.2
"""


def changed(config, changes):
    for old, new in changes.items():
        assert old in config
        config = config.replace(old, new)
    return config


STEPS = 6
LONG = changed(  # long enough to be stopped in the middle
    SMALL,
    {
        "steps = 2": f"steps = {STEPS}\ncheckpoint_every = 2\nkl_coef = 0.05\nentropy_coef = 0.01",
        "every = 1": "every = 2",
        "hidden_size = 16": "hidden_size = 64",
        "width = 3": "width = 4",
        "trajectories = 3": "trajectories = 4",
        "minibatch_problems = 4": "minibatch_problems = 60",
        "problems = 8": "problems = 240",
    },
)
# Keys for rounds: small hard sets, so that problems come back, and a safeguard that drops a few.
ROUNDS = (
    *("rounds.count=3", "rounds.pool=200", "rounds.wave=70", "rounds.filter_samples=4", "rounds.mix=0.2"),
    *("rounds.max_pass_rate=0.5", "rounds.repetition_tokens=4", "rounds.repetition_times=2"),
    *("search.when=group_failed", "search.group=2", "learn.problems=60", "learn.minibatch_problems=30"),
)

# Starting.


def mpiexec(ranks):
    """Open MPI's launcher: more ranks than cores, ranks that yield while they wait, and no binding, since several jobs
    may run side by side."""
    return [MPIEXEC, "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", "-n", str(ranks)]


def launched(ranks, *arguments):
    """The words that start the program by the launcher, on one rank too."""
    return [*mpiexec(ranks), DEEPSEARCH, *map(str, arguments)]


def command(ranks, *arguments):
    """The words that start the program: one rank needs no launcher."""
    return launched(ranks, *arguments) if ranks > 1 else [DEEPSEARCH, *map(str, arguments)]


def sets(*keys):
    return [f"--set={key}" for key in keys]


def ended(words, seconds=110):
    """Starts a command and waits for its end; what it said and its exit code."""
    return subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False)


def started(words):
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def begun(words, run):
    """A job that was started and has begun to write its run.h5, or has ended."""
    before = inode_of(run / "run.h5")
    job = started(words)
    wait_for(lambda: inode_of(run / "run.h5") != before or job.poll() is not None)
    return job


def launch(ranks, *arguments, code=0):
    """A command that must end with this exit code."""
    report = ended(command(ranks, *arguments), seconds=300)
    assert report.returncode == code, f"{report.stdout}\n{report.stderr}"
    return report


def error_of(report):
    """The one line of errors of a command that refused its input."""
    assert report.returncode == 2, report.stderr
    lines = [line for line in report.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, report.stderr
    return lines[0]


def train_policy(folder, config, *keys):
    """Writes `config` as config.toml and trains a policy on demonstrations; its folder."""
    (folder / "config.toml").write_text(config)
    arguments = ["sft", folder / "config.toml", "--out", folder / "policy", *sets(*keys)]
    subprocess.run(command(1, *arguments), check=True, capture_output=True)
    return folder / "policy"


# A policy that solves a few problems, so that there are gradients, and moments worth keeping: of how many steps is the
# test's to say.
FEW_SOLVED = ("sft.batch=64", "sft.optimizer.lr=5e-3", "task.sizes=[1, 2]")


class Training:
    """Runs of `deepsearch train` over LONG with the same further keys, which start from the policy `base` where one was
    made."""

    def __init__(self, *keys, ranks=1, learners=1):
        self.keys, self.ranks, self.learners = keys, ranks, learners
        self.base = None

    def words(self, ranks, run, *arguments):
        """The words that start it; its configuration is written beside the run."""
        config = run.parent / "config.toml"
        if not config.exists():
            config.write_text(LONG)
        base = sets(f"model.path={self.base}") if self.base else []
        return command(ranks, "train", config, "--run", run, *base, *sets(*self.keys), *arguments)

    def command(self, run, *keys, ranks=None, learners=None):
        """The words that start it, or let it go on where it was."""
        layout = f"ranks.learners={learners or self.learners}"
        return self.words(ranks or self.ranks, run, *sets(layout, *keys), "--resume")

    def train(self, run, *keys, **layout):
        return ended(self.command(run, *keys, **layout))

    def whole(self, folder):
        """A run that nobody stopped."""
        report = self.train(folder / "run")
        assert report.returncode == 0, report.stderr
        assert newest(folder / "run").name == f"step-{STEPS:06}"
        return folder / "run"


# Jobs whose ranks are hurt: two search ranks and two learners.
ROLES = {"search": 1, "learner 0, the coordinator": 2, "learner 1": 3}


def four_ranks():
    return Training(
        *("learn.problems=60", "learn.minibatch_problems=30", "learn.checkpoint_every=1"), ranks=4, learners=2
    )


class Job:
    """A job that has begun to write its run.h5, whose ranks can be hurt."""

    def __init__(self, words, run):
        self.process = begun(words, run)

    def hit(self, rank, how):
        pid = process_of(self.process, rank)
        if pid is not None:
            os.kill(pid, how)
        return pid is not None

    def end(self, longest=30):
        """Exit code, what it said, and seconds until it ended: at most `longest` after a fault."""
        since = time.monotonic()
        try:
            out, errors = self.process.communicate(timeout=longest)
        except subprocess.TimeoutExpired:
            kill(self.process)
            pytest.fail(f"the job did not end within {longest} s: {self.process.communicate()[1]}")
        return self.process.returncode, out + errors, time.monotonic() - since


# Waiting, and the processes of a job.


def wait_for(condition, pause=0.02):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(pause)


def wait_for_step(run, step):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with h5py.File(run / "run.h5", "r", libver="latest", swmr=True) as file:
                if len(file["metrics/learner/step"]) >= step:
                    return
        except OSError:
            pass
        time.sleep(0.1)
    pytest.fail(f"the run in {run} never came to step {step}")


def inode_of(path):
    return path.stat().st_ino if path.exists() else None


def children_of(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


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


def kill(job):
    """kill -9 of all ranks, then of what started them."""
    for pid in (*children_of(job.pid), job.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# What a run left.


def newest(run):
    return max((run / "checkpoints").glob("step-*"))


def weights_of(run):
    """Name and weights of the newest checkpoint."""
    return newest(run).name, (newest(run) / "model.safetensors").read_bytes()


def trees_of(run):
    """Every tree of a run by its key: nodes' visits and values, and tokens with log-probs, as bytes."""
    found = {}
    for part in sorted((run / "parts").glob("*.h5")):
        with h5py.File(part, "r", libver="latest", swmr=True) as file:  # a killed run's too
            trees = {name: column[...] for name, column in file["trees"].items()}
            nodes = {
                name: file["nodes"][name][...]
                for name in ("parent", "visits", "value", "entropy", "first_token", "n_tokens")
            }
            tokens = {name: column[...] for name, column in file["tokens"].items()}
            for row in range(len(trees["first_node"])):
                first = trees["first_node"][row]
                rows = slice(first, first + trees["n_nodes"][row])
                key = tuple(int(trees[name][row]) for name in ("step", "problem_index", "attempt", "kind"))
                pieces = [nodes[name][rows].tobytes() for name in ("parent", "visits", "value", "entropy")]
                for at, length in zip(nodes["first_token"][rows], nodes["n_tokens"][rows], strict=True):
                    pieces += [tokens[name][at : at + length].tobytes() for name in ("id", "logprob")]
                found[key] = b"".join(pieces)
    return found


# What a clock or the work of a single attempt decides.
TIMES = ("seconds", "elapsed", "per_second", "tflops", "utilization")


def metrics_of(run):
    rows = {}
    with h5py.File(run / "run.h5", "r") as file:
        for table in ("learner", "eval", "rounds"):
            for name, column in file["metrics"][table].items():
                if not any(word in name for word in TIMES):
                    rows[table, name] = column[...].tobytes()
        rows["search steps"] = sorted(set(file["metrics/search/step"][...]))
        rows["finished"] = file.attrs["state"]
    return rows


def state_of(run):
    folder = newest(run) / "resume"
    rounds = [path for path in (folder / "rounds.bin", folder / "replay_cache.bin") if path.exists()]
    return {path.name: path.read_bytes() for path in [*sorted(folder.glob("learner-*")), *rounds]}


def elapsed_of(run):
    with h5py.File(run / "run.h5", "r") as file:
        return file["metrics/learner/elapsed"][...]


def assert_same(run, whole_run):
    """All bits that no clock decides."""
    assert weights_of(run) == weights_of(whole_run)
    assert state_of(run) == state_of(whole_run)
    assert metrics_of(run) == metrics_of(whole_run)
    assert trees_of(run) == trees_of(whole_run)
    elapsed = elapsed_of(run)
    assert np.all(np.diff(elapsed) > 0)


def assert_files_open(run):
    for path in [*(run / "parts").glob("*.h5"), run / "run.h5"]:
        with h5py.File(path, "r", libver="latest", swmr=True) as file:
            assert len(file) > 0, path
