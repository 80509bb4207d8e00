"""What the tests here share: a small training run, and reading what it left."""

import os
import subprocess
from pathlib import Path

import h5py

DEEPSEARCH = os.environ["DEEPSEARCH"]
REPO = Path(__file__).resolve().parents[2]
STEPS = 6

CONFIG = """
[task]
name = "bag"
sizes = [2]

[model]
hidden_size = 32
n_layers = 1
n_heads = 2
n_kv_heads = 1
intermediate_size = 48
max_positions = 64

[search]
step_tokens = 0
max_depth = 0
width = 3
trajectories = 3

[learn]
steps = 6
problems = 120
minibatch_problems = 40
overlong_penalty = 0.0
threads = 1
checkpoint_every = 2
optimizer.lr = 1e-3

[eval]
every = 2
problems = 6
samples = 2

[store]
flush_seconds = 0.2
"""

SWEEP = """
base = "config.toml"
name = "w{width}-lr{lr}-s{seed}"
seeds = [1, 2]

[grid]
search.width = [2, 3, 4]
learn.optimizer.lr = [1e-3, 5e-4]
"""


# A policy that solves some of the problems: fresh weights solve none, and then there is no gradient to compare.
WARM_STEPS = 600


def warm_start(folder):
    """CONFIG with the path of a policy that it makes in `folder`."""
    write(folder, CONFIG, "warm.toml")
    deepsearch("sft", folder / "warm.toml", "--out", folder / "base", "--set", f"sft.steps={WARM_STEPS}")
    return CONFIG.replace("[model]\n", f'[model]\npath = "{folder / "base"}"\n')


def replaced(text, changes):
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def run(*words, code=0, timeout=120, cwd=None, **environment):
    report = subprocess.run(
        [*map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    assert code is None or report.returncode == code, f"{words}\n{report.stdout}\n{report.stderr}"
    return report


def deepsearch(*words, **more):
    return run(DEEPSEARCH, *words, **more)


def refused(*words, **more):
    """The one line an error is."""
    report = deepsearch(*words, code=2, **more)
    lines = report.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), report.stderr
    return lines[0]


def write(folder, text=CONFIG, name="config.toml"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def final_weights(path, step=STEPS):
    return (path / "checkpoints" / f"step-{step:06}" / "model.safetensors").read_bytes()


def text_of(value):
    return value.decode() if isinstance(value, bytes) else value


def hosts_of(path):
    with h5py.File(path / "run.h5", "r") as file:
        return [text_of(host) for host in file["ranks/host"][...]]


def state_of(path):
    with h5py.File(path / "run.h5", "r") as file:
        return text_of(file.attrs["state"]), list(file["metrics/learner/step"])


def assert_gradients(path):
    """Every step learnt from problems that were solved in some of their trajectories and not in others."""
    with h5py.File(path / "run.h5", "r") as file:
        assert (file["metrics/learner/grad_norm"][...] > 0.01).all()
        assert (file["metrics/learner/uniform_fraction"][...] < 1).all()


def table(text):
    """The rows of `sweep status` by name."""
    lines = text.strip().splitlines()
    return {line.split()[1]: line.split()[2:] for line in lines[1:-1]}
