"""Training on problems in text, from a model folder with a tokenizer of its own, started as a user would. Needs
DEEPSEARCH (the binary) and MPIEXEC; some cases DEEPSEARCH_SHARED."""

import json
import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from text_models import SUFFIX, answering_model, random_model, text_of, write_problems
from whole_runs import error_of, launch

SHARED = Path(os.environ.get("DEEPSEARCH_SHARED", "/nowhere"))
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja")

TEXT = """
[task]
name = "text"

[problems]
train_file = "{train}"
test_file = "{test}"
prompt_suffix = " Let's think step by step and output the final answer within \\\\boxed{{}}."
max_prompt_tokens = 600

[model]
path = "{model}"

[search]
step_tokens = 8
max_depth = 4
width = 3
trajectories = 3

[learn]
steps = 2
problems = 8
minibatch_problems = 4
overlong = "none"
optimizer.lr = 1e-3
optimizer.warmup_steps = 0

[eval]
every = 0
problems = 6
samples = 4

[store]
flush_seconds = 0.2
"""


def train(folder, *more, ranks=1, code=0, model="model", train_file="train.jsonl", test_file="test.jsonl", run="run"):
    (folder / "config.toml").write_text(
        TEXT.format(train=folder / train_file, test=folder / test_file, model=folder / model)
    )
    return launch(ranks, "train", folder / "config.toml", "--run", folder / run, *more, code=code)


def digits(folder):
    answering_model(folder / "model")
    write_problems(folder / "train.jsonl", [(f"t{i}", f"Name a digit, number {i}.", str(i % 4)) for i in range(24)])
    write_problems(folder / "test.jsonl", [(f"h{i}", f"Another one, number {i}.", str(i % 4)) for i in range(6)])
    return folder


def prompts_of(run):
    with h5py.File(run / "run.h5", "r") as file:
        columns = {name: column[...] for name, column in file["problems"].items()}
        text, tokens = file["problem_text/byte"][...].tobytes(), file["problem_tokens/id"][...]
    for row in range(len(columns["key"])):
        first = columns["first_byte"][row] + columns["id_bytes"][row] + columns["source_bytes"][row]
        start = columns["first_token"][row]
        yield (
            columns["id"][row].decode(),
            text[first : first + columns["prompt_bytes"][row]].decode(),
            tokens[start : start + columns["n_tokens"][row]],
        )


def test_a_run_learns_from_text_and_saves_the_tokenizer(tmp_path):
    folder = digits(tmp_path)
    report = train(folder, ranks=2)
    assert re.search(
        r"held-out Pass@1: base 0\.[1-4]\d\d -> trained \d\.\d{3} \(6 problems, 4 samples\)", report.stdout
    )
    checkpoint = folder / "run/checkpoints/step-000002"
    for name in TOKENIZER_FILES:
        assert (checkpoint / name).read_bytes() == (folder / "model" / name).read_bytes()
    rows = {row["id"]: row for row in map(json.loads, (folder / "train.jsonl").read_text().splitlines())}
    found = list(prompts_of(folder / "run"))
    assert len(found) == 16  # two steps of eight
    for name, prompt, tokens in found:
        assert prompt == rows[name]["problem"] + SUFFIX
        # Bytes as they are, but for the box, which is a token of its own.
        assert text_of(tokens) == prompt and len(tokens) == len(prompt.encode()) - len("\\boxed{") + 1
    # The checkpoint is a model like any other, and the tree's text can be read.
    again = launch(1, "generate", "--model", checkpoint, "--prompt", "Name a digit." + SUFFIX, "--max-tokens", 5)
    assert again.returncode == 0
    assert "boxed" in launch(1, "inspect", folder / "run", "--tree", "largest").stdout


def test_the_checkpoint_opens_with_transformers(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    folder = digits(tmp_path)
    train(folder, "--set", "learn.steps=1")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "run/checkpoints/step-000001")
    text = "Name a digit, number 3." + SUFFIX
    assert text_of(tokenizer(text)["input_ids"]) == text
    said = tokenizer.apply_chat_template([{"role": "user", "content": "?"}], tokenize=False, add_generation_prompt=True)
    assert said == "<|im_start|>user\n?<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.eos_token == "<|im_end|>"


def test_a_chat_template_is_put_around_the_prompt(tmp_path):
    folder = digits(tmp_path)
    chat = ("--set", "problems.chat_template=auto", "--set", "problems.system=Be brief.", "--set", "learn.steps=1")
    train(folder, *chat)
    plain = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    encoded = tmp_path / "prompts.jsonl"
    found = list(prompts_of(folder / "run"))
    encoded.write_text("".join(json.dumps({"text": plain.format(prompt)}) + "\n" for _, prompt, _ in found))
    launch(1, "tokenize", "--tokenizer", folder / "model", "--in", encoded, "--out", tmp_path / "ids.jsonl")
    expected = [json.loads(line)["ids"] for line in (tmp_path / "ids.jsonl").read_text().splitlines()]
    assert [list(tokens) for _, _, tokens in found] == expected


def test_what_a_training_file_repeats_and_contradicts_is_left_out_and_said(tmp_path):
    folder = digits(tmp_path)
    rows = [(f"t{i}", f"Name a digit, number {i}.", str(i % 4)) for i in range(9)]
    rows += [("again", " Name  a digit,\nnumber 3. ", "3.0"), ("other", "Name a digit, number 4.", "7")]
    rows += [("leak", "Another one, number 2.", "2"), ("long", "Name a digit: " + "x" * 600, "1")]
    rows += [("yes", "Is it so?", "Yes"), ("letter", "Which is it?", "\\text{(B)}")]
    write_problems(folder / "mixed.jsonl", rows)
    one = ("--set", "learn.steps=1", "--set", "learn.problems=4")
    log = train(folder, *one, train_file="mixed.jsonl", run="a").stderr
    assert "mixed.jsonl: 1 of 15 problems left out, their prompts have more than 600 tokens" in log
    assert "1 repeats of other problems left out" in log
    assert 'lines 5 (t4) and 11 (other) are one problem with two answers, "0" and "7": left out' in log
    assert "1 problems left out that are in" in log
    log = train(folder, *one, "--set", "problems.guessable=exclude", train_file="mixed.jsonl", run="b").stderr
    assert "2 problems with answers that can be guessed left out" in log
    more = ("--set", "problems.guessable=down_weight", "--set", "problems.guessable_weight=0.5")
    log = train(folder, *one, *more, "--set", "problems.conflicts=keep", train_file="mixed.jsonl", run="c").stderr
    assert "1 of 2 problems with answers that can be guessed are in each pass" in log and "both kept" in log


def error(folder, *more, **files):
    line = error_of(train(folder, *more, **files, code=2))
    assert not (folder / "run").exists()
    return line


def test_bad_input_ends_with_one_line(tmp_path):
    folder = digits(tmp_path)
    line = '{"id": "x", "source": "s", "problem": "p"'
    (folder / "bad.jsonl").write_text(line + ', "answer": "1"}\n' + line + "}\n")
    assert "bad.jsonl:2: " in (said := error(folder, train_file="bad.jsonl")) and '"answer"' in said
    (folder / "bad.jsonl").write_text(2 * (line + ', "answer": "1"}\n'))
    assert "bad.jsonl:2: " in (said := error(folder, train_file="bad.jsonl")) and "already that of line 1" in said
    assert "long_prompts" in error(
        folder, "--set", "problems.max_prompt_tokens=20", "--set", "problems.long_prompts=refuse"
    )
    assert "max_prompt_tokens" in error(folder, "--set", "problems.max_prompt_tokens=20")
    assert "train_file" in error(folder, "--set", "problems.train_file=")
    assert "verifier of its own" in error(folder, "--set", "verify.judge=task")
    assert "[model].path" in error(folder, "--set", "model.path=")
    assert "[problems].prompt_suffix" in error(folder, "--set", "task.name=bag")
    assert "chat_template" in error(folder, "--set", "problems.system=Hello")
    assert "positions" in error(folder, "--set", "search.max_depth=4000")
    (folder / "model/tokenizer.json").unlink()
    assert "no tokenizer.json" in error(folder)


@pytest.mark.skipif(not (SHARED / "data/benchmarks").is_dir(), reason="needs the shared benchmarks")
def test_a_random_model_takes_steps_over_gsm8k(tmp_path):
    random_model(tmp_path / "model")
    lines = (SHARED / "data/benchmarks/gsm8k.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "train.jsonl").write_text("\n".join(lines[:200]) + "\n", encoding="utf-8")
    (tmp_path / "test.jsonl").write_text("\n".join(lines[200:220]) + "\n", encoding="utf-8")
    report = train(tmp_path, "--set", "search.step_tokens=16", ranks=2)
    assert "step 2: held-out Pass@1 0.000" in report.stderr
    with h5py.File(tmp_path / "run/run.h5", "r") as file:
        assert list(file["metrics/learner/step"]) == [1, 2] and np.all(np.isfinite(file["metrics/learner/loss"]))
    rows = {row["id"]: row for row in map(json.loads, lines)}
    for name, prompt, tokens in prompts_of(tmp_path / "run"):
        assert prompt == rows[name]["problem"] + SUFFIX and len(tokens) <= 600
