"""Disks that are full or read-only in the middle of a run. Needs DEEPSEARCH (the binary), MPIEXEC and the right to
mount a tmpfs (root); without it the cases are skipped."""

import json
import shutil
import subprocess
import time

import pytest
from whole_runs import Training, assert_files_open, started, wait_for

# A policy of fresh weights will do: what is tested is files.
SIZE = ("learn.problems=16", "learn.minibatch_problems=8", "learn.checkpoint_every=1", "eval.every=0")
RUNS = Training(*SIZE, ranks=3, learners=1)


def mount(folder, *options):
    words = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own, and a way to change it while it is in use."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder, "size=1500k"):
        pytest.skip("mounting a tmpfs is not allowed")

    def change(*options):
        subprocess.run(["mount", "-o", ",".join(["remount", *options]), str(folder)], check=True)

    try:
        yield folder, change
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def put_checkpoints_on(disk, run):
    shutil.copytree(run / "checkpoints", disk / "checkpoints")
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").symlink_to(disk / "checkpoints")


def fill(disk):
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_one_line(said, *words):
    lines = [line for line in said.splitlines() if all(word in line for word in words)]
    assert len(lines) == 1, said


@pytest.mark.parametrize("learners", [1, 2])
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_no_checkpoint_stops_the_run_cleanly(tmp_path, disk, how, learners):
    folder, change = disk
    run = tmp_path / "run"
    layout = {"ranks": 2 + learners, "learners": learners}
    assert RUNS.train(run, "learn.steps=1", **layout).returncode == 0
    put_checkpoints_on(folder, run)
    before = contents(folder / "checkpoints")
    if how == "full":
        fill(folder)
    else:
        change("ro")
    report = RUNS.train(run, "learn.steps=3", **layout)
    assert report.returncode == 2, report.stderr
    reason = "No space left on device" if how == "full" else "Read-only file system"
    assert_one_line(report.stderr, "the checkpoint after step 2 was not written, the one before stays", reason)
    assert contents(folder / "checkpoints") == before  # the old one is whole, and nothing is left of the new one
    change("rw")
    (folder / "filler").unlink(missing_ok=True)
    report = RUNS.train(run, "learn.steps=3", **layout)
    assert report.returncode == 0, report.stderr
    assert "resumed from checkpoints/step-000001" in report.stderr


def test_no_checkpoint_need_not_stop_the_run(tmp_path, disk):
    folder, _ = disk
    run = tmp_path / "run"
    keys = ("learn.steps=300", 'run.on_checkpoint_failure="continue"', "run.keep_checkpoints=1")
    assert RUNS.train(run, "learn.steps=1").returncode == 0
    put_checkpoints_on(folder, run)
    before = contents(folder / "checkpoints" / "step-000001")
    fill(folder)
    log = run / "log" / "rank-0002.log"
    with started(RUNS.command(run, *keys)) as job:
        wait_for(lambda: log.read_text().count("no checkpoint, the run goes on") >= 3 or job.poll() is not None)
        assert contents(folder / "checkpoints" / "step-000001") == before
        (folder / "filler").unlink()
        wait_for(lambda: not (folder / "checkpoints" / "step-000001").exists() or job.poll() is not None)
        job.terminate()
        out, errors = job.communicate(timeout=60)
    said = out + errors
    assert "No space left on device" in said and str(run / "checkpoints") in said
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert len(names) == 1 and names[0].startswith("step-"), said
    manifest = json.loads((folder / "checkpoints" / names[0] / "manifest.json").read_text())
    assert manifest["step"] > 4


@pytest.mark.parametrize("place", ["parts", "run.h5"])
def test_a_full_disk_under_the_run_is_one_line_and_can_be_resumed(tmp_path, disk, place):
    folder, change = disk
    run = folder / "run"
    keys = ("learn.checkpoint_every=0", "run.checkpoint_minutes=0", "eval.problems=1", "eval.samples=1")
    keys += (f"store.level={'all' if place == 'parts' else 'metrics'}", "ranks.problems_in_flight=1")
    if place == "run.h5":  # few rows are written: the disk is filled by others
        with started(RUNS.command(run, *keys, "learn.steps=100000")) as job:
            wait_for(lambda: (run / "run.h5").exists())
            time.sleep(0.5)
            fill(folder)
            out, errors = job.communicate(timeout=110)
        code, said = job.returncode, out + errors
    else:
        report = RUNS.train(run, *keys, "learn.steps=100000")
        code, said = report.returncode, report.stdout + report.stderr
    assert code == 2, said
    name = "/parts/s000" if place == "parts" else "/run.h5"
    lines = [line for line in said.splitlines() if "disk full" in line and line.startswith("rank ")]
    assert 1 <= len(lines) <= 3 and any(name in line for line in lines), said  # ranks may meet it at the same moment
    assert_files_open(run)
    (folder / "filler").unlink(missing_ok=True)
    change("size=200m")
    report = RUNS.train(run, *keys, "learn.steps=2")
    assert report.returncode == 0, report.stderr
    assert (run / "checkpoints" / "step-000002" / "manifest.json").exists()
