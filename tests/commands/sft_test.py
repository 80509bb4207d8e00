"""deepsearch sft --data as its user runs it, on one rank and under mpirun."""

import json
import os
import subprocess
from pathlib import Path

import pytest

DEEPSEARCH = os.environ["DEEPSEARCH"]
MPIEXEC = os.environ.get("MPIEXEC", "mpirun")
CONFIGS = Path(__file__).parents[2] / "configs"
QUICK = ("--set", "sft.batch=4", "--set", "sft.epochs=6", "--set", "learn.threads=1")


def run(*arguments, code=0, ranks=1):
    command = [DEEPSEARCH, *map(str, arguments)]
    if ranks > 1:
        command = [MPIEXEC, "--oversubscribe", "--bind-to", "none", "-n", str(ranks), *command]
    report = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert report.returncode == code, f"{report.stdout}\n{report.stderr}"
    return report


def error(*arguments):
    lines = [line for line in run(*arguments, code=2).stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A policy of the embedded task bag that has hardly learned, with its tokenizer and a template of its own."""
    folder = tmp_path_factory.mktemp("models") / "model"
    run("sft", CONFIGS / "quickstart.toml", "--set", "sft.steps=3", "--set", "sft.batch=8", "--out", folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Answers that repeat the problem's first two numbers."""
    folder = tmp_path_factory.mktemp("data")
    run("problems", CONFIGS / "quickstart.toml", "--count", 24, "--out", folder / "problems.jsonl")
    rows = []
    for row in read_lines(folder / "problems.jsonl"):
        rows.append({"prompt": row["problem"], "response": " ".join(row["problem"].split()[:2])})
    return write_lines(folder / "data.jsonl", rows)


def test_trains_validates_and_saves_a_whole_folder(model, data, tmp_path):
    out, metrics = tmp_path / "out", tmp_path / "metrics.jsonl"
    log = run(
        "sft",
        *("--data", data, "--model", model, "--validation-share", 0.2, "--metrics", metrics, "--out", out),
        *(*QUICK, "--set", "sft.validate_every=10"),
    ).stderr
    rows = read_lines(metrics)
    assert [row["update"] for row in rows] == list(range(31))  # 19 rows in batches of 4, six times
    assert [row["update"] for row in rows if "validation_loss" in row] == [0, 10, 20, 30]
    assert rows[-1]["validation_loss"] < 0.8 * rows[0]["validation_loss"]
    assert "19 demonstrations" in log and "5 for validation" in log and "saved" in log
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in model.iterdir())
    assert (out / "tokenizer.json").read_bytes() == (model / "tokenizer.json").read_bytes()
    run("generate", "--model", out, "--prompt", "1 2 3 + + >", "--max-tokens", 5)
    assert "holds a model already" in error("sft", "--data", data, "--model", model, "--out", out)


def test_repeats_and_ranks_share_the_work(model, data, tmp_path):
    common = ("sft", "--data", data, "--model", model, "--validation", data, *QUICK)
    common += ("--set", "learn.tokens_per_microbatch=40")
    found = []
    for name, ranks in (("one", 1), ("again", 1), ("two", 2)):
        run(*common, "--metrics", tmp_path / f"{name}.jsonl", "--out", tmp_path / name, ranks=ranks)
        found.append(read_lines(tmp_path / f"{name}.jsonl"))
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "again")]
    assert weights[0] == weights[1]
    assert found[2][-1]["loss"] == pytest.approx(found[0][-1]["loss"], rel=1e-3)
    assert found[2][-1]["validation_loss"] == pytest.approx(found[0][-1]["validation_loss"], rel=1e-3)


def test_counts_what_is_too_long(model, tmp_path):
    rows = [{"prompt_tokens": [3, 4], "response_tokens": [5] * n} for n in (1, 2, 30, 40)]
    source = write_lines(tmp_path / "long.jsonl", rows)
    common = ("sft", "--data", source, "--model", model, *QUICK, "--set", "sft.max_tokens=20")
    log = run(*common, "--out", tmp_path / "a").stderr
    assert "of 4 demonstrations 2 were left out and 0 cut, being longer than 20 tokens" in log
    log = run(*common, "--out", tmp_path / "b", "--set", "sft.too_long=cut").stderr
    assert "of 4 demonstrations 0 were left out and 2 cut" in log


def test_bad_input_is_one_line_and_writes_nothing(model, data, tmp_path):
    out = tmp_path / "out"

    def sft(*more, folder=model):
        return error("sft", "--model", folder, "--out", out, *more)

    source = write_lines(tmp_path / "in.jsonl", [{"prompt": "1 2 >", "response": "1"}, {"prompt": "1"}])
    assert 'in.jsonl:2: key "response" is missing' in sft("--data", source)
    write_lines(source, [{"prompt_tokens": [1], "response_tokens": [999]}])
    assert "in.jsonl:1: token 999" in sft("--data", source)
    write_lines(source, [{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}])
    assert "messages need a chat template" in sft("--data", source)
    assert "brings no chat template" in sft("--data", source, "--chat-template", "auto")
    assert "the model's context is" in sft("--data", data, "--set", "sft.max_tokens=100000")
    assert "give --model DIR" in error("sft", "--data", data, "--out", out)
    assert "either --validation" in sft("--data", data, "--validation", data, "--validation-share", 0.1)
    assert "are for --data" in sft("--validation", data)
    assert "No such file" in sft("--data", tmp_path / "none.jsonl")
    other = tmp_path / "other"
    other.mkdir()
    for file in model.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["one_more"] = 5000
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "do not belong together" in sft("--data", data, folder=other)
    assert not out.exists()
