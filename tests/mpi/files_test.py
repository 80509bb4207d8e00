"""The files of a real run: read while it writes, cheap to write, open to other programs, and clean after kill -9.

Needs DEEPSEARCH (the binary) and MPIEXEC; analysis/ is read from this checkout. More of it:
DEEPSEARCH_LIVE_SECONDS=60 (a reader follows the run that long), DEEPSEARCH_KILLS=20.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from whole_runs import command, kill, launched, sets

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "analysis"))

from deepsearch_analysis.__main__ import main  # noqa: E402
from deepsearch_analysis.reader import Run  # noqa: E402

LIVE_SECONDS = float(os.environ.get("DEEPSEARCH_LIVE_SECONDS", "10"))
KILLS = int(os.environ.get("DEEPSEARCH_KILLS", "3"))
PREDECESSOR = ROOT / "tests" / "store" / "data" / "version-1.0"
CONFIG = """
[run]
checkpoint_minutes = 600
[task]
name = "bag"
sizes = [8]
[model]
hidden_size = 32
n_layers = 2
n_heads = 2
n_kv_heads = 2
intermediate_size = 64
max_positions = 256
[search]
step_tokens = 0
max_depth = 0
width = 4
trajectories = 8
illegal = "prune"
[learn]
steps = 100000
problems = 16
minibatch_problems = 16
overlong = "none"
[eval]
every = 20
problems = 8
samples = 2
[store]
flush_seconds = 0.3
"""


def start(folder, *more):
    """A run on two search ranks and a learner, in a session of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(CONFIG)
    words = launched(3, "train", folder / "config.toml", "--run", folder / "run", *sets(*more))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DEEPSEARCH_PROGRESS": "off"}
    return subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
        start_new_session=True,
    )  # fmt: skip


def wait_for(condition, process, seconds=90):
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)


def begun(run):
    return (run / "run.h5").exists() and len(list((run / "parts").glob("*.h5"))) == 2


def check(run, *more):
    return subprocess.run(command(1, "check", *more, run), capture_output=True, text=True, check=False)


def files_of(run):
    return [run / "run.h5", *sorted((run / "parts").glob("*.h5"))]


def columns_of(path):
    with h5py.File(path, "r") as file:
        return [f"/{table}/{name}" for table, name in datasets(file)]


def datasets(file):
    """(group, name) of every dataset; links to other files are passed over."""
    found = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return [tuple(name.rsplit("/", 1)) for name in found]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    process = start(folder, "learn.steps=30")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return folder / "run"


def test_a_reader_follows_a_run_that_writes(tmp_path, capsys):
    process = start(tmp_path)
    run_folder = tmp_path / "run"
    try:
        wait_for(lambda: begun(run_folder), process)
        seen, looks, until = [(0, 0)], 0, time.monotonic() + LIVE_SECONDS
        while time.monotonic() < until or seen[-1][0] < 4:
            with Run(run_folder) as run:
                trees, nodes = len(run.trees), len(run.nodes(["value", "parent"]))
                assert not run.warnings
                assert nodes == run.trees["n_nodes"].sum()
                assert len(run.tokens(["id"])) == run.trees["n_tokens"].sum()
                assert all(np.isfinite(run.nodes(["value"])["value"]))
                if trees:
                    run.tree(trees - 1)
                seen.append((trees, len(run.metrics("learner"))))
            assert seen[-1] >= seen[-2]
            looks += 1
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        assert main(["watch", str(run_folder), "--once"]) == 0
        live = check(run_folder)
        assert live.returncode == 0, live.stderr
        assert live.stdout.count("being written") == 3
    finally:
        kill(process)
        process.communicate(timeout=60)
    with capsys.disabled():
        print(f"\n{looks} looks in {LIVE_SECONDS:g} s; at the end {seen[-1][0]} trees, {seen[-1][1]} steps")
    assert seen[-1][1] > seen[1][1]


def test_writing_is_measured(finished, capsys):
    """Share of the ranks' time, by the run's own metrics. On a machine with fewer cores than ranks waiting for a core
    counts as writing, so how large it is says nothing here: docs/performance.md has it."""
    with Run(finished) as run:
        for table in ("search", "learner"):
            metrics = run.metrics(table)
            share = metrics["seconds_logging"].sum() / metrics["seconds_total"].sum()
            with capsys.disabled():
                print(f"\nwriting takes {100 * share:.2f} % of the {table} ranks' time")
            assert 0 < share < 1


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="no h5dump: Debian's hdf5-tools has it")
def test_h5dump_reads_every_dataset(finished):
    for path in files_of(finished):
        for column in columns_of(path):
            dumped = subprocess.run(["h5dump", "-d", column, str(path)], capture_output=True, text=True, check=False)
            assert dumped.returncode == 0, (path, column, dumped.stderr)
            assert dumped.stdout.count("DATASET") == 1
            assert dumped.stderr == ""


def test_pandas_reads_every_dataset(finished):
    for path in files_of(finished):
        tables = {}
        with h5py.File(path, "r") as file:
            for table, name in datasets(file):
                tables.setdefault(table, {})[name] = file[table][name][:]
                assert file[table][name].attrs["description"]
        for name, columns in tables.items():
            frame = pd.DataFrame(columns)
            assert list(frame.columns) == list(columns), name
        if path.name != "run.h5":
            trees = pd.DataFrame(tables["trees"])
            assert len(trees) > 10
            assert trees["n_tokens"].sum() == len(tables["tokens"]["id"])
            assert (tables["tokens"]["logprob"] <= 0).all()
            assert (tables["tokens"]["id"] >= 0).all()


def test_a_predecessors_files_are_read():
    assert check(PREDECESSOR).returncode == 0
    with Run(PREDECESSOR) as run:
        assert len(run.nodes()) == run.trees["n_nodes"].sum() > 0
        assert len(run.metrics("learner"))
        assert run.tree(int(run.trees.index[0])).parent[0] == -1


def test_a_killed_run_is_clean_and_loses_no_whole_row(tmp_path, capsys):
    rng = random.Random(5)
    kept = []
    for number in range(KILLS):
        process = start(tmp_path / str(number), f"run.seed={number}")
        run_folder = tmp_path / str(number) / "run"
        try:
            wait_for(lambda run=run_folder: begun(run), process)
            time.sleep(rng.uniform(0, 4))
        finally:
            kill(process)
            process.communicate(timeout=60)
        found = check(run_folder)
        assert found.stdout.count("its writer was killed") == 3, (number, found.stdout, found.stderr)
        *lines, last = found.stderr.splitlines()  # a line a file, about the kill and nothing else
        assert all(line.endswith("whole rows all stay") for line in lines), (number, found.stderr)
        assert last.endswith(": 3 findings")
        with Run(run_folder) as run:
            assert not run.warnings
            before = {n: len(run.table(f"metrics/{n}")) for n in ("learner", "search", "eval")}
            trees = run.trees
            nodes = run.nodes()
        assert check(run_folder, "--repair").returncode == 0
        mended = check(run_folder)
        assert mended.returncode == 0, mended.stderr
        assert mended.stdout.count(": closed") == 3
        with Run(run_folder) as run:
            assert {n: len(run.table(f"metrics/{n}")) for n in before} == before
            pd.testing.assert_frame_equal(run.trees, trees)
            pd.testing.assert_frame_equal(run.nodes(), nodes)
            assert run.parts[0].attribute("mended")
        for path in files_of(run_folder):
            with h5py.File(path, "r") as file:  # without SWMR: the mark of a writer is gone
                assert "schema" in file.attrs
        kept.append(len(trees))
        shutil.rmtree(tmp_path / str(number))
    with capsys.disabled():
        print(f"\n{KILLS} of {KILLS} killed runs check clean; whole trees kept: {kept}")
    assert sum(kept) > 0
