"""The commands around a model folder, as their user runs them: generate, score, tokenize, compare, bench."""

import json
import os
import subprocess
from pathlib import Path

import pytest

DEEPSEARCH = os.environ["DEEPSEARCH"]
CONFIGS = Path(__file__).parents[2] / "configs"


def run(*arguments, code=0, stdin=None, cwd=None):
    report = subprocess.run(
        [DEEPSEARCH, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        input=stdin,
        cwd=cwd,
    )
    assert report.returncode == code, f"{report.stdout}\n{report.stderr}"
    return report


def error(*arguments):
    """The one line that a command ends with when its input is bad."""
    lines = [line for line in run(*arguments, code=2).stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A policy of the embedded task bag that has hardly learned, with its tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "model"
    run("sft", CONFIGS / "quickstart.toml", "--set", "sft.steps=3", "--set", "sft.batch=8", "--out", folder)
    return folder


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "problems.jsonl"
    run("problems", CONFIGS / "quickstart.toml", "--count", 5, "--out", path)
    rows = lines_of(path)
    prompts = path.with_name("prompts.jsonl")
    prompts.write_text("".join(json.dumps({"id": row["id"], "prompt": row["problem"]}) + "\n" for row in rows))
    return prompts


def test_generate_writes_every_continuation_and_repeats(model, prompts, tmp_path):
    options = ("--model", model, "--prompts", prompts, "--samples", 3, "--max-tokens", 20)
    run("generate", *options, "--out", tmp_path / "a.jsonl")
    run("generate", *options, "--out", tmp_path / "b.jsonl", "--set", "engine.max_batch=2", "--set", "engine.threads=2")
    run("generate", *options, "--out", tmp_path / "c.jsonl", "--seed", 2)
    rows = lines_of(tmp_path / "a.jsonl")
    assert [(row["id"], row["sample"]) for row in rows] == [(f"test-{i}", n) for i in range(5) for n in range(3)]
    for row in rows:
        assert len(row["tokens"]) == len(row["logprobs"]) == len(row["entropies"]) <= 20
        assert row["finish"] in ("eos", "length")
        assert (row["finish"] == "length") == (len(row["tokens"]) == 20 and not row["text"].endswith("."))
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert (tmp_path / "a.jsonl").read_bytes() != (tmp_path / "c.jsonl").read_bytes()


def test_score_gives_the_log_probs_that_generate_gave(model, prompts, tmp_path):
    encoded = tmp_path / "ids.jsonl"
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": row["prompt"]}) + "\n" for row in lines_of(prompts)))
    run("tokenize", "--tokenizer", model, "--in", texts, "--out", encoded)
    ids = [row["ids"] for row in lines_of(encoded)]
    assert [row["decoded"] for row in lines_of(encoded)] == [row["text"] for row in lines_of(texts)]
    run("generate", "--model", model, "--prompts", prompts, "--max-tokens", 30, "--out", tmp_path / "made.jsonl")
    made = lines_of(tmp_path / "made.jsonl")
    whole = tmp_path / "whole.jsonl"
    whole.write_text(
        "".join(json.dumps({"tokens": a + row["tokens"]}) + "\n" for a, row in zip(ids, made, strict=True))
    )
    run("score", "--model", model, "--tokens", whole, "--out", tmp_path / "scores.jsonl")
    for prompt, row, scores in zip(ids, made, lines_of(tmp_path / "scores.jsonl"), strict=True):
        # The same bits: the engine's sums do not depend on how a text came about.
        assert scores["logprobs"][len(prompt) - 1 :] == row["logprobs"]
        assert scores["entropies"][len(prompt) - 1 :] == row["entropies"]


def test_generate_takes_ids_stops_and_shows(model, tmp_path):
    source = tmp_path / "ids.jsonl"
    source.write_text('{"tokens": [5, 6, 7]}\n\n{"tokens": [9]}\n')
    run("generate", "--model", model, "--prompts", source, "--out", tmp_path / "a.jsonl", "--max-tokens", 12)
    assert [row["id"] for row in lines_of(tmp_path / "a.jsonl")] == [0, 1]
    out = tmp_path / "stopped.jsonl"
    run("generate", "--model", model, "--prompts", source, "--samples", 40, "--out", out, "--stop", ";", "--top-k", 5)
    finishes = {row["finish"] for row in lines_of(out)}
    assert "stop" in finishes
    for row in lines_of(out):
        assert (";" in row["text"]) == (row["finish"] == "stop")
        assert ";" not in row["text"][:-1]
    text = run("generate", "--model", model, "--prompt", "1 2 3 + + >", "--max-tokens", 5).stdout
    assert len(text.split()) == 5
    assert run("generate", "--model", model, "--prompt", "1 2 3 + + >", "--max-tokens", 5).stdout == text
    assert run("generate", "--model", model, "--prompts", "-", stdin='{"tokens": [3]}').stdout.count("\n") == 1


def test_compare_says_how_far_engine_and_learner_are_apart(model):
    table = run("compare", "--model", model, "--dtypes", "fp32,bf16,int8").stdout.splitlines()
    assert len(table) == 4
    worst = [float(line.split()[-3]) for line in table[1:]]
    assert worst[0] <= 1e-5 < worst[1] < worst[2] < 0.5


def test_benches_print_and_write_their_figures(model, tmp_path):
    out = tmp_path / "figures.json"
    short = ("--device", "cpu", "--repetitions", 1, "--json", out)
    run("bench", "decode", "--shape", "m1", *short, "--batches", "1,4", "--context", 8, "--new-tokens", 8)
    figures = json.loads(out.read_text())
    assert [row["batch"] for row in figures] == [1, 4]
    assert all(row["tokens_per_second"] > 0 and row["share_of_roofline"] > 0 for row in figures)
    run(
        "bench",
        "decode",
        "--model",
        model,
        *short,
        "--batches",
        2,
        "--context",
        8,
        "--new-tokens",
        8,
        "--dtype",
        "int8",
    )
    run("bench", "prefill", *short, "--lengths", 32)
    run("bench", "prefix", *short, "--prefix", 32, "--children", 4, "--new-tokens", 8)
    assert json.loads(out.read_text())["children"] == 4
    run("bench", "sampler", "--vocabularies", 500, "--json", out)
    assert json.loads(out.read_text())[0]["vocab"] == 500


def test_bench_learn_measures_both_ways(model, tmp_path):
    out = tmp_path / "figures.json"
    common = ("bench", "learn", CONFIGS / "quickstart.toml", "--repetitions", 1, "--json", out)
    table = run(*common, "--cases", "prefix,deep,step", "--scale", 256, "--model", model).stdout
    prefix, deep, step = json.loads(out.read_text())
    assert prefix["row_tokens"] == 8 * 192
    assert 850 < prefix["packed"]["computed_tokens"] <= 96 + 8 * 96  # of 64 tokens, two agree now and then
    assert prefix["unpacked"]["computed_tokens"] == 8 * 192
    assert deep["row_tokens"] == 8 * (4 + 64)
    assert 1 < deep["allowed"] < 8
    for case in (prefix, deep):
        for way in (case["packed"], case["unpacked"]):
            assert way["seconds"] > 0 and way["flops"] > 0 and way["peak_bytes"] > 0 and 0 < way["share_of_peak"] < 1.5
    assert step["seconds"] >= step["generation"] + step["learning"] > 0
    assert "GRPO step, 8 prompts of 16" in table
    assert "nothing not in" in run(*common, "--cases", "nothing", code=2).stderr


def test_bad_input_is_one_line_and_writes_nothing(model, prompts, tmp_path):
    out = tmp_path / "out.jsonl"
    source = tmp_path / "in.jsonl"

    def generate(*more, folder=model):
        return error("generate", "--model", folder, "--out", out, *more)

    assert "no such folder" in generate("--prompts", prompts, folder=tmp_path / "none")
    assert "either --prompt TEXT or --prompts FILE" in generate()
    assert "No such file" in generate("--prompts", tmp_path / "none.jsonl")
    source.write_text('{"tokens": [1]}\n{"tokens": [999999]}\n')
    assert "token 999999" in generate("--prompts", source)
    assert "in.jsonl:2: token 999999" in error("score", "--model", model, "--tokens", source, "--out", out)
    source.write_text(json.dumps({"tokens": [3] * 5000}) + "\n")
    assert "5000 tokens, and the model's context is" in generate("--prompts", source)
    assert "in.jsonl:1: a text of 5000 tokens" in error("score", "--model", model, "--tokens", source, "--out", out)
    source.write_text('{"messages": [{"role": "user", "content": "x"}]}\n')
    assert "messages need a chat template" in generate("--prompts", source)
    assert "brings no chat template" in generate("--prompts", source, "--chat-template", "auto")
    assert "chatml" in generate("--prompts", source, "--chat-template", "klingon")
    assert "runs on a GPU only" in generate(
        "--prompts", prompts, "--set", "engine.weights=fp16", "--set", "engine.device=cpu"
    )
    assert "tokenizer.json" in error("tokenize", "--tokenizer", tmp_path, "--in", source, "--out", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]


def test_a_mistaken_command_line_is_one_line(tmp_path):
    quickstart = CONFIGS / "quickstart.toml"
    for arguments, wanted in (
        ((), "a command is missing (see deepsearch --help)"),
        (("trian", quickstart), "unknown command trian; did you mean train? (see deepsearch --help)"),
        (("bench", "serach"), "unknown command serach; did you mean search? (see deepsearch bench --help)"),
        (("sweep",), "a command is missing (see deepsearch sweep --help)"),
        (
            ("train", quickstart, "--rnu", "x"),
            "unknown option --rnu; did you mean --run? (see deepsearch train --help)",
        ),
        (("sft", quickstart, "--otu=x"), "unknown option --otu; did you mean --out? (see deepsearch sft --help)"),
        (("config", quickstart, "4"), "4 was not expected (see deepsearch config --help)"),
        (("sft", quickstart), "--out is required (see deepsearch sft --help)"),
        (("plan", "--devices", "0"), "--devices: Value 0 not in range 1 to 1048576 (see deepsearch plan --help)"),
        (("inspect", "run", "--list", "--limit", "-1"), "--limit: Value -1 not in range 0 to 1099511627776"),
        (("plan", "--hardware-set", "foo=1"), "--hardware-set hardware.foo=1: unknown key [hardware].foo"),
        (("submit", quickstart, "--run", "r", "--site-set", "nodes.foo=1"), "--site-set nodes.foo=1: unknown key"),
        (("train", "--sweep", CONFIGS / "sweeps/search.toml"), "search.toml: give --point, one of 0 to 11"),
        (("evaluate", quickstart, "--run", "r"), "Give --model FOLDER or --checkpoint RUN"),
        (("evaluate", "--checkpoint", "none", "--run", "r"), "--checkpoint none: no such folder"),
    ):
        report = run(*arguments, code=2, cwd=tmp_path)
        assert len(report.stderr.splitlines()) == 1, report.stderr
        assert report.stderr.startswith("error: ") and wanted in report.stderr
    assert not list(tmp_path.iterdir())


def test_what_could_not_be_written_is_refused_before_the_work(model, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file/below"):
        report = run("sft", CONFIGS / "quickstart.toml", "--set", "sft.steps=1", "--out", out, code=2)
        assert report.stderr == f"error: cannot create folder {out}: Not a directory\n" and not report.stdout
    assert "--out goes with --prompts" in error("generate", "--model", model, "--prompt", "5", "--out", tmp_path / "o")


def test_force_spares_the_checkpoint_that_is_evaluated(model, tmp_path):
    settings = {"learn.steps": 1, "learn.problems": 2, "learn.minibatch_problems": 2, "eval.problems": 2,
                "eval.samples": 2, "model.path": model}  # fmt: skip
    overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    folder = tmp_path / "run"
    run("train", CONFIGS / "quickstart.toml", "--run", folder, *overrides)
    before = sorted(folder.rglob("*"))
    assert "--force would delete" in error("evaluate", "--checkpoint", folder, "--run", folder, "--force")
    assert "no evaluation" in error("evaluate", "--checkpoint", folder, "--run", folder, "--resume")
    assert "a folder of its own" in error("filter", CONFIGS / "quickstart.toml", "--run", folder, "--model", model)
    assert "max_depth = 0 and step_tokens = 0" in error("evaluate", "--model", model, "--run", tmp_path / "none")
    assert sorted(folder.rglob("*")) == before
    assert "no tree of" in error("inspect", folder, "--tree", "rescue")
    name = run("--version").stdout.strip()  # every file says what wrote it
    assert name in (folder / "log/rank-0000.log").read_text().splitlines()[0]
    assert json.loads((folder / "checkpoints/step-000001/manifest.json").read_text())["program"] == name
    exported = json.loads((folder / "checkpoints/step-000001/config.json").read_text())
    assert name.startswith(f"deepsearch {exported['deepsearch_version']} (")
    run("evaluate", "--checkpoint", folder, "--run", tmp_path / "scores", "--set", "evaluate.problems=2",
        "--set", "evaluate.samples=2")  # fmt: skip
    assert f"Made by {name}." in (tmp_path / "scores/table.md").read_text()


def test_a_damaged_model_is_refused_by_name(model, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in model.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    weights = damaged / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert "model.safetensors" in error("score", "--model", damaged, "--tokens", "-", "--out", tmp_path / "o")
    weights.write_bytes((1 << 60).to_bytes(8, "little") + whole[8:])
    assert "model.safetensors" in error("score", "--model", damaged, "--tokens", "-", "--out", tmp_path / "o")
    weights.write_bytes(whole)
    (damaged / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
    assert "Unigram" in error("generate", "--model", damaged, "--prompt", "x")
    config = json.loads((model / "config.json").read_text())
    config["architectures"] = ["MambaForCausalLM"]
    (damaged / "config.json").write_text(json.dumps(config))
    assert "MambaForCausalLM" in error("generate", "--model", damaged, "--prompt", "x")
