"""Files that were damaged while nobody looked: every file of a checkpoint, run.h5 and the parts, and files of another
version. One clear line, never a crash, and the same bits where a whole checkpoint is left. Needs DEEPSEARCH (the
binary)."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from whole_runs import (
    DEEPSEARCH,
    FEW_SOLVED,
    LONG,
    ROUNDS,
    Training,
    assert_same,
    command,
    ended,
    error_of,
    mpiexec,
    newest,
    started,
    train_policy,
    wait_for,
)

# Rounds, for their files; trees that end one after another, so that a stop finds some that are finished.
RUNS = Training(*ROUNDS, "learn.checkpoint_every=1", "ranks.problems_in_flight=3")


@pytest.fixture(scope="module", autouse=True)
def base(tmp_path_factory):
    RUNS.base = train_policy(tmp_path_factory.mktemp("base"), LONG, "sft.steps=200", *FEW_SOLVED)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return RUNS.whole(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was stopped in the middle of its fifth step, with a file of every kind in its newest checkpoint."""
    for attempt in range(20):
        run = tmp_path_factory.mktemp("stopped") / "run"
        job = stop_in_step_five(run, 0.01 * (attempt % 5))
        if job.returncode == 75 and (newest(run) / "resume" / "trees.bin").exists():
            return run
    pytest.fail(f"no stop met the middle of a step: {job.stderr}")
    return None


def stop_in_step_five(run, seconds):
    with started(RUNS.command(run)) as job:
        wait_for(lambda: (run / "checkpoints" / "step-000004").exists() or job.poll() is not None)
        time.sleep(seconds)
        job.send_signal(signal.SIGUSR1)
        out, errors = job.communicate(timeout=60)
    return subprocess.CompletedProcess(job.args, job.returncode, out, errors)


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 64
    file.write_bytes(data)


def truncate(file):
    file.write_bytes(file.read_bytes()[:-7])


def remove(file):
    file.unlink()


FILES = [
    *("manifest.json", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("model.safetensors", "resume/run.json", "resume/trees.bin", "resume/rounds.bin", "resume/replay_cache.bin"),
    *("resume/learner-00-of-01.json", "resume/learner-00-of-01.safetensors"),
]


def files_of(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_list_of_files_is_complete(stopped):
    assert files_of(newest(stopped)) == set(FILES)


def cases():
    """Every file, the kinds of damage in turn; every kind to every file with DAMAGE_ALL=1."""
    kinds = (flip, truncate, remove)
    if os.environ.get("DAMAGE_ALL"):
        return [(name, kind) for name in FILES for kind in kinds]
    return [(name, kinds[place % 3]) for place, name in enumerate(FILES)]


@pytest.mark.parametrize(("name", "damage"), cases())
def test_a_damaged_checkpoint_is_passed_over_and_the_bits_are_the_same(tmp_path, whole, stopped, name, damage):
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    assert newest(run).name == "step-000004"
    damage(newest(run) / name)
    report = RUNS.train(run)
    assert report.returncode == 0, report.stderr
    warnings = [line for line in report.stderr.splitlines() if "passed over" in line]
    assert len(warnings) == 1 and "step-000004" in warnings[0], report.stderr
    assert Path(name).name in warnings[0] or name == "manifest.json"
    assert "resumed from checkpoints/step-000003" in report.stderr
    assert_same(run, whole)


M64 = 2**64 - 1
P1, P2, P3, P4, P5 = (
    *(0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9),
    *(0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5),
)


def rotated(value, by):
    return (value << by | value >> (64 - by)) & M64


def xxh64(data):
    """XXH64 with seed 0, as src/core/digest.h has it."""

    def mixed(lane, word):
        return rotated((lane + word * P2) & M64, 31) * P1 & M64

    def words(width):
        nonlocal at
        while at + width <= len(data):
            yield int.from_bytes(data[at : at + width], "little")
            at += width

    at = 0
    value = P5
    if len(data) >= 32:
        lanes = [(P1 + P2) & M64, P2, 0, -P1 & M64]
        for block in range(0, len(data) - 31, 32):
            for i in range(4):
                lanes[i] = mixed(lanes[i], int.from_bytes(data[block + 8 * i : block + 8 * i + 8], "little"))
            at = block + 32
        value = sum(rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & M64
        for lane in lanes:
            value = ((value ^ mixed(0, lane)) * P1 + P4) & M64
    value = (value + len(data)) & M64
    for word in words(8):
        value = (rotated(value ^ mixed(0, word), 27) * P1 + P4) & M64
    for word in words(4):
        value = (rotated(value ^ word * P1 & M64, 23) * P2 + P3) & M64
    for word in words(1):
        value = rotated(value ^ word * P5 & M64, 11) * P1 & M64
    for by, factor in ((33, P2), (29, P3)):
        value = (value ^ value >> by) * factor & M64
    return value ^ value >> 32


def write_as_whole(folder, name, data):
    """Another content, with a manifest that holds."""
    (folder / name).write_bytes(data)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][name] = {"bytes": len(data), "xxh64": f"{xxh64(data):016x}"}
    path.write_text(json.dumps(manifest))


def refusal(report):
    """The one line of a command that refuses."""
    assert report.returncode == 2, report.stderr
    lines = [line for line in report.stderr.splitlines() if "error" in line.lower()]
    assert len(lines) == 1 and lines[0].startswith("error: "), report.stderr
    return lines[0]


def test_a_checkpoint_of_another_format_is_passed_over_with_both_versions(tmp_path, whole, stopped):
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    folders = sorted((run / "checkpoints").iterdir())
    for folder in folders[1:]:
        path = folder / "manifest.json"
        path.write_text(path.read_text().replace('"version": 1', '"version": 7'))
    report = RUNS.train(run)
    assert report.returncode == 0, report.stderr
    lines = [line for line in report.stderr.splitlines() if "passed over" in line]
    assert len(lines) == len(folders) - 1
    assert "manifest.json: of format version 7, this program reads version 1" in lines[0]
    assert_same(run, whole)
    for folder in (run / "checkpoints").iterdir():
        path = folder / "manifest.json"
        path.write_text(path.read_text().replace('"version": 1', '"version": 7'))
    assert "of format version 7, this program reads version 1" in refusal(RUNS.train(run))


VERSIONS = {
    "resume/run.json": (b'"version": 1', b'"version": 3'),
    "resume/rounds.bin": (b"deepsearch rounds 1\n", b"deepsearch rounds 3\n"),
    "resume/replay_cache.bin": (b"deepsearch replay cache 1\n", b"deepsearch replay cache 3\n"),
}


@pytest.mark.parametrize("name", VERSIONS)
def test_a_state_of_another_format_is_refused_with_both_versions(tmp_path, stopped, name):
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    before, after = VERSIONS[name]
    data = (newest(run) / name).read_bytes()
    assert before in data
    write_as_whole(newest(run), name, data.replace(before, after))
    line = refusal(RUNS.train(run))
    assert f"/{name}: of format version 3, this program reads version 1" in line


def test_finished_trees_of_another_version_are_grown_again(tmp_path, whole, stopped):
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    data = bytearray((newest(run) / "resume" / "trees.bin").read_bytes())
    assert data[8:12] == b"SDSM"  # after the first one's length
    version = data[12]
    data[12] += 1
    write_as_whole(newest(run), "resume/trees.bin", bytes(data))
    report = RUNS.train(run)
    assert report.returncode == 0, report.stderr
    assert f"trees.bin: of version {version + 1}, this program reads version {version}: its trees are" in report.stderr
    assert "0 finished trees need not be grown again" in report.stderr
    assert_same(run, whole)
    assert xxh64(b"") == 0xEF46DB3751D8E999


def test_another_revision_is_named(tmp_path, stopped):
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    state = json.loads((newest(run) / "resume" / "run.json").read_text())
    own = state["revision"]
    state["revision"] = "abc1234"
    write_as_whole(newest(run), "resume/run.json", json.dumps(state).encode())
    report = RUNS.train(run)
    assert report.returncode == 0, report.stderr
    assert f"was written by revision abc1234, this program is {own}" in report.stderr


def test_ranks_of_different_builds_are_refused(tmp_path):
    own = re.search(r"\((\S+)\)", subprocess.run([DEEPSEARCH, "--version"], capture_output=True, text=True).stdout)[1]
    other = own[::-1] if own != own[::-1] else "x" * len(own)
    binary = Path(DEEPSEARCH).read_bytes()
    assert own.encode() + b"\0" in binary
    path = tmp_path / "deepsearch"
    path.write_bytes(binary.replace(own.encode() + b"\0", other.encode() + b"\0"))
    path.chmod(0o755)
    ranks = [[str(program), *RUNS.command(tmp_path / "run")[1:]] for program in (DEEPSEARCH, path)]
    report = ended([*mpiexec(2), *ranks[0], ":", "-n", "1", *ranks[1]], seconds=60)
    line = error_of(report)
    assert re.search(rf"rank 2 \(host \S+\) runs deepsearch \S+ \({other}\), rank 0 .* \({own}\): all ranks", line)
    assert not (tmp_path / "run").exists()


# HDF5 files. What lies at a place of the file is a matter of luck, so damage is done to many.


def cut(data, _):
    return data[: len(data) // 2]


def without_header(data, _):
    return bytes(512) + data[512:]


def zeros_inside(data, random):
    at = random.integers(512, len(data) - 4096)
    return data[:at] + bytes(4096) + data[at + 4096 :]


def flips(data, random):
    changed = bytearray(data)
    for at in random.integers(0, len(data), 40):
        changed[at] ^= 1 << random.integers(8)
    return bytes(changed)


def nothing_left(*_):
    return b""


HDF5_DAMAGE = [cut, without_header, zeros_inside, flips, nothing_left]


def deepsearch(*arguments, codes=(0, 2)):
    """A command that must come to its end: an answer, or lines of errors, and no more."""
    report = ended(command(1, *arguments))
    assert report.returncode in codes, f"{arguments}: {report.returncode}\n{report.stdout}\n{report.stderr}"
    return report


@pytest.mark.parametrize("place", ["run.h5", "parts"])
@pytest.mark.parametrize("damage", HDF5_DAMAGE)
def test_damaged_hdf5_files_are_one_line_to_every_command(tmp_path, stopped, place, damage):
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    path = run / "run.h5" if place == "run.h5" else next((run / "parts").glob("*.h5"))
    random = np.random.default_rng(7)
    certain = damage in (cut, without_header, nothing_left)
    whole_file = path.read_bytes()
    for _ in range(1 if certain else 2):
        path.write_bytes(damage(whole_file, random))
        codes = (2,) if certain else (0, 2)  # bytes that nobody uses may have changed
        check = deepsearch("check", run, codes=codes)
        assert check.returncode == 0 or str(path) in check.stderr
        inspect = deepsearch("inspect", run, "--list", codes=codes)
        assert inspect.returncode == 0 or (inspect.stderr.count("\n") == 1 and str(path) in inspect.stderr)
    if damage not in (cut, flips):
        return
    # What is not read does not stop the run: parts are only written. run.h5 is named, and moved away it is begun anew.
    report = RUNS.train(run)
    if place == "parts":
        assert report.returncode == 0, report.stderr
        return
    if report.returncode != 0:
        line = refusal(report)
        assert str(path) in line and "moved away, the run goes on" in line
        path.rename(tmp_path / "damaged.h5")
        report = RUNS.train(run)
    assert report.returncode == 0, report.stderr


@pytest.mark.parametrize("place", ["run.h5", "parts"])
def test_hdf5_files_of_another_version_are_refused_with_both_versions(tmp_path, stopped, place):
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    path = run / "run.h5" if place == "run.h5" else next((run / "parts").glob("*.h5"))
    with h5py.File(path, "r+") as file:
        version = file.attrs["schema_version"]
        file.attrs.modify("schema_version", np.array([9, 1], version.dtype))
    wanted = f"schema version 9.1; this program reads version {version[0]} (a newer program is needed)"
    assert wanted in deepsearch("check", run, codes=(2,)).stderr
    assert wanted in deepsearch("inspect", run, "--list", codes=(2,)).stderr
    report = RUNS.train(run)
    assert report.returncode == (0 if place == "parts" else 2)
    assert place == "parts" or wanted in refusal(report)
