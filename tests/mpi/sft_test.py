"""`deepsearch sft` on several ranks, one of which is told to stop. Needs DEEPSEARCH (the binary) and MPIEXEC."""

import json
import os
import signal
import time

import pytest
from whole_runs import SMALL, command, ended, kill, launched, process_of, started, wait_for


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt_tokens": [3, 4], "response_tokens": [5, i % 5]}) + "\n" for i in range(60))
    )
    return path


@pytest.mark.parametrize("told", [0, 1])
@pytest.mark.parametrize("what", ["warm start", "file"])
def test_a_stop_that_reaches_one_rank_stops_all_and_nothing_is_written(tmp_path, data, what, told):
    config, out, log = tmp_path / "config.toml", tmp_path / "out", tmp_path / "log"
    config.write_text(SMALL)
    words = ["sft", config, "--out", out]
    if what == "warm start":
        words += ["--set=sft.steps=1000000"]
    else:
        model = tmp_path / "model"
        assert ended(command(1, "sft", config, "--set=sft.steps=1", "--out", model)).returncode == 0
        words += ["--data", data, "--model", model, "--set=sft.epochs=1000000", "--metrics", log]
    with started(launched(2, *words, "--set=learn.threads=1")) as job:
        wait_for(lambda: process_of(job, told) is not None)
        if what == "file":
            wait_for(lambda: log.exists() and log.read_text().count("\n") > 20)
        else:
            time.sleep(3)  # set up, and some updates on
        since = time.monotonic()
        process = process_of(job, told)
        os.kill(process, signal.SIGTERM)
        try:
            _, errors = job.communicate(timeout=30)
        finally:
            kill(job)
    assert job.returncode == 128 + signal.SIGTERM, errors
    assert "stopped by signal 15; nothing was written" in errors
    assert not (out / "config.json").exists()
    assert time.monotonic() - since < 20
