"""`deepsearch evaluate`, started as a user would, and its scores against a direct computation on the written samples.
Needs DEEPSEARCH (the binary) and MPIEXEC; some cases DEEPSEARCH_SHARED."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from text_models import SUFFIX, answering_model, random_model, text_of, write_problems
from whole_runs import DEEPSEARCH, command, error_of, launch, started

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "configs"
SHARED = Path(os.environ.get("DEEPSEARCH_SHARED", "/nowhere"))

TEXT = """
[task]
name = "text"

[problems]
prompt_suffix = " Let's think step by step and output the final answer within \\\\boxed{}."
max_prompt_tokens = 512

[evaluate]
benchmarks = ["one.jsonl", "two.jsonl"]
names = ["one", "Two"]
samples = 8
temperature = 1.0
top_p = 1.0
max_tokens = 12

[store]
flush_seconds = 0.1
"""


def error(*arguments):
    return error_of(launch(1, *arguments, code=2))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model whose answers are known digits, two benchmarks and a configuration."""
    folder = tmp_path_factory.mktemp("evaluate")
    answering_model(folder / "model")
    write_problems(folder / "one.jsonl", [(f"a{i}", f"Name a digit, number {i}.", str(i % 4)) for i in range(9)])
    write_problems(folder / "two.jsonl", [(f"b{i}", f"Another one, number {i}.", str(i % 3)) for i in range(5)])
    (folder / "config.toml").write_text(TEXT)
    return folder


def options(place):
    return ("evaluate", place / "config.toml", "--model", place / "model", "--benchmarks", place)


@pytest.fixture(scope="module")
def done(place):
    report = launch(1, *options(place), "--run", place / "run")
    return report.stdout, place / "run"


def table(run, name):
    with h5py.File(run / "run.h5", "r") as file:
        return {column: data[...] for column, data in file[f"evaluation/{name}"].items()}


def responses_of(run):
    """(problem's key, its place) → the tokens of each sample, out of the parts alone."""
    found = {}
    for path in sorted((run / "parts").glob("*.h5")):
        with h5py.File(path, "r", libver="latest", swmr=True) as part:
            trees = {name: column[...] for name, column in part["trees"].items()}
            nodes = {name: column[...] for name, column in part["nodes"].items()}
            tokens = part["tokens/id"][...]
            leaves = part["recorded/leaf"][...]
            for row in range(len(trees["n_events"])):
                base = trees["first_node"][row]
                texts = []
                first = trees["first_recorded"][row]
                for leaf in leaves[first : first + trees["n_recorded"][row]]:
                    pieces, node = [], int(leaf)
                    while node > 0:
                        at = nodes["first_token"][base + node]
                        pieces.append(tokens[at : at + nodes["n_tokens"][base + node]])
                        node = int(nodes["parent"][base + node])
                    texts.append(np.concatenate(pieces[::-1]))
                found[int(trees["problem_key"][row]), int(trees["problem_index"][row])] = texts
    return found


def boxed(text):
    """The digit in the last whole box."""
    return ([""] + re.findall(r"\\boxed\{(\d)\}", text))[-1]


def majority(answers):
    """Of the answers with most votes the one that came first; "" votes for nothing."""
    votes = [a for a in answers if a]
    most = max(map(votes.count, votes), default=0)
    return next((a for a in votes if votes.count(a) == most), None)


def test_scores_are_those_of_a_direct_computation(done):
    text, run = done
    problems, samples, scores = (table(run, name) for name in ("problems", "samples", "scores"))
    written = responses_of(run)
    answers = {f"a{i}": str(i % 4) for i in range(9)} | {f"b{i}": str(i % 3) for i in range(5)}
    n, ks = 8, [1, 2, 4, 8]
    values = {0: [], 1: []}
    lengths = {0: [], 1: []}
    for row, name in enumerate(problems["id"]):
        benchmark = int(problems["benchmark"][row])
        tokens = written[int(problems["key"][row]), int(problems["index"][row])]
        truth = answers[name.decode()]
        read = [boxed(text_of(t)) for t in tokens]
        right = [a == truth for a in read]
        own = samples["problem"] == row
        assert list(samples["sample"][own]) == list(range(n))
        assert [o == 0 for o in samples["outcome"][own]] == right
        assert list(samples["tokens"][own]) == [len(t) for t in tokens]
        cut = [len(t) == 12 and t[-1] not in (257, 258) for t in tokens]
        assert list(samples["truncated"][own]) == cut
        assert [e.decode() for e in samples["extracted"][own]] == read
        numbers = list(samples["answer"][own])
        assert [a == 0 for a in numbers] == right and [a == -1 for a in numbers] == [a == "" for a in read]
        assert len(set(numbers) - {-1}) == len(set(read) - {""})
        c = sum(right)
        passes = [1 - math.comb(n - c, k) / math.comb(n, k) for k in ks]
        votes = [np.mean([majority(read[i : i + k]) == truth for i in range(0, n, k)]) for k in ks]
        assert problems["majority"][row] == (majority(read) == truth)
        values[benchmark].append(passes + votes)
        lengths[benchmark] += [(len(t), w, a == "") for t, w, a in zip(tokens, cut, read, strict=True)]
    random = np.random.default_rng(5)
    means, resampled = [], []
    for benchmark in (0, 1):
        own = np.array(values[benchmark])
        means.append(own.mean(axis=0))
        resampled.append(own[random.integers(0, len(own), (10_000, len(own)))].mean(axis=1))
    means.append((means[0] + means[1]) / 2)
    resampled.append((resampled[0] + resampled[1]) / 2)
    assert len(scores["value"]) == 3 * 8
    for benchmark in range(3):
        own = scores["benchmark"] == benchmark
        assert list(scores["measure"][own]) == [0] * 4 + [1] * 4 and list(scores["k"][own]) == ks * 2
        np.testing.assert_allclose(scores["value"][own], means[benchmark], atol=1e-12)
        # Other random numbers: the share of means below an end is right within what 10,000 of them leave open.
        for end, share in (("low", 0.025), ("high", 0.975)):
            assert np.all((resampled[benchmark] < scores[end][own] - 1e-9).mean(axis=0) <= share + 0.01)
            assert np.all((resampled[benchmark] <= scores[end][own] + 1e-9).mean(axis=0) >= share - 0.01)
    rows = table(run, "benchmarks")
    assert [name.decode() for name in rows["name"]] == ["one", "Two", "average"]
    for benchmark in (0, 1):
        mean = np.array(lengths[benchmark], dtype=float).mean(axis=0)
        found = [rows[name][benchmark] for name in ("response_tokens", "truncated", "unanswered")]
        np.testing.assert_allclose(found, mean, atol=1e-12)
    assert 0.1 < means[2][0] < 0.9 and 0 < rows["truncated"][2] < 0.5  # the model does give all kinds of responses
    paper = next(line for line in text.splitlines() if line.startswith("| model"))
    assert [cell.strip() for cell in paper.strip("|").split("|")] == ["model", "one", "Two", "average"]
    assert f"{100 * means[2][0]:.2f}" in text and text.endswith((run / "table.md").read_text())


def samples_of(run):
    problems, samples = table(run, "problems"), table(run, "samples")
    return [
        (problems["id"][p], s, o, t)
        for p, s, o, t in zip(*(samples[c] for c in ("problem", "sample", "outcome", "tokens")), strict=True)
    ]


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_the_work_and_answer_alike(place, done, tmp_path, ranks):
    launch(ranks, *options(place), "--run", tmp_path / "run")
    assert samples_of(tmp_path / "run") == samples_of(done[1])
    assert (tmp_path / "run/table.md").read_bytes() == (done[1] / "table.md").read_bytes()
    with h5py.File(tmp_path / "run/run.h5", "r") as file:
        assert file.attrs["state"].decode() == "finished" and len(file["parts"]) == ranks
    launch(1, "check", tmp_path / "run")


def test_samples_do_not_depend_on_what_else_is_evaluated(place, done, tmp_path):
    launch(1, *options(place), "--run", tmp_path / "run", "--set", 'evaluate.benchmarks=["two.jsonl"]', "--set",
           "evaluate.names=[]")  # fmt: skip
    assert samples_of(tmp_path / "run") == [row for row in samples_of(done[1]) if row[0].startswith(b"b")]
    assert [name.decode() for name in table(tmp_path / "run", "benchmarks")["name"]] == ["two"]


def test_a_resume_reads_finished_problems_back(place, done, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(done[1], run)
    report = launch(2, *options(place), "--run", run, "--resume", "--set", "evaluate.ks=[1,8]")
    assert "14 of 14 problems need not be answered again" in report.stderr
    assert samples_of(run) == samples_of(done[1]) and "Pass@4" not in report.stdout
    # A part that lacks half of the problems, as a kill leaves it: only these are answered.
    part = next((run / "parts").glob("s0000-a01-*.h5"))
    with h5py.File(part, "r+", libver="latest") as file:
        for column in file["trees"].values():
            column.resize((6,))
    for later in (run / "parts").glob("*-a02-*.h5"):
        later.unlink()
    report = launch(1, *options(place), "--run", run, "--resume")
    assert "6 of 14 problems need not be answered again" in report.stderr
    assert samples_of(run) == samples_of(done[1])
    assert (run / "table.md").read_bytes() == (done[1] / "table.md").read_bytes()


def test_problems_of_a_damaged_part_are_answered_again(place, done, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(done[1], run)
    part = next((run / "parts").glob("s0000-a01-*.h5"))
    part.write_bytes(part.read_bytes()[:-2000])
    report = launch(2, *options(place), "--run", run, "--resume")
    lines = [line for line in report.stderr.splitlines() if "its problems are answered again" in line]
    assert len(lines) == 1 and part.name in lines[0], report.stderr
    assert "0 of 14 problems need not be answered again" in report.stderr
    assert samples_of(run) == samples_of(done[1])
    whole_file = (run / "run.h5").read_bytes()
    (run / "run.h5").write_bytes(whole_file[: len(whole_file) // 2])
    assert "run.h5" in error(*options(place), "--run", run, "--resume")


@pytest.mark.parametrize(("ranks", "sent"), [(2, signal.SIGUSR1), (1, signal.SIGTERM), (1, signal.SIGKILL)])
def test_a_stopped_evaluation_goes_on(place, tmp_path, ranks, sent):
    many = ("--set", "evaluate.samples=4096", "--set", "evaluate.in_flight=1", "--set", "evaluate.progress_seconds=0.1")
    whole = place / "whole"
    if not (whole / "table.md").exists():
        launch(1, *options(place), *many, "--run", whole, "--force")
    own = (*options(place), *many, "--run", tmp_path / "run")
    with started(command(ranks, *own)) as process:
        for line in process.stdout:
            if re.match(r"evaluating: [2-9]", line):
                process.send_signal(sent)  # mpirun passes SIGUSR1 on
                break
        said = process.communicate(timeout=60)[1]
    if sent == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 75 and re.search(r"after \d+ of 14 problems: --resume goes on", said), said
        with h5py.File(tmp_path / "run/run.h5", "r", swmr=True) as file:
            assert "evaluation" not in file and file.attrs["state"].decode() == "interrupted"
    report = launch(1, *own, "--resume")
    assert 0 < int(re.search(r"(\d+) of 14 problems need not be answered again", report.stderr)[1]) < 14
    assert samples_of(tmp_path / "run") == samples_of(whole)
    repair = ["--repair"] if sent == signal.SIGKILL else []
    launch(1, "check", *repair, tmp_path / "run")


def test_what_does_not_fit_is_refused(place, done, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(done[1], run)
    own = (*options(place), "--run", run)
    assert "--resume" in error(*own)
    for key, value in (("evaluate.temperature", "0.5"), ("evaluate.samples", "4"), ("problems.prompt_suffix", '"?"')):
        said = error(*own, "--resume", "--set", f"{key}={value}")
        assert key in said and "another evaluation" in said
    random_model(tmp_path / "other")
    other = list(own)
    other[other.index("--model") + 1] = tmp_path / "other"
    assert "model.path" in error(*other, "--resume") and (run / "table.md").exists()
    shutil.copytree(place, tmp_path / "moved", ignore=shutil.ignore_patterns("run"))
    (tmp_path / "moved/two.jsonl").write_text((place / "two.jsonl").read_text().replace("Another", "A further"))
    moved = [tmp_path / "moved" if o == place else o for o in own]
    assert "evaluate.benchmarks" in error(*moved, "--resume")
    fresh = (*options(place), "--run", tmp_path / "fresh")
    assert "[evaluate].ks" in error(*fresh, "--set", "evaluate.ks=[9]")
    assert "[evaluate].names" in error(*fresh, "--set", 'evaluate.names=["a"]')
    assert "three.jsonl" in error(*fresh, "--set", 'evaluate.benchmarks=["three.jsonl","one.jsonl"]')
    assert "either --model or --checkpoint" in error(*fresh, "--checkpoint", place)
    assert "[store].level" in error(*fresh, "--set", "store.level=metrics")
    assert not (tmp_path / "fresh").exists()


def test_the_analysis_reads_it(place, done, monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.syspath_prepend(str(REPOSITORY / "analysis"))
    from deepsearch_analysis import Run
    from deepsearch_analysis.evaluation import responses, scores
    from deepsearch_analysis.summary import summary

    written = responses_of(done[1])
    problems = table(done[1], "problems")
    with Run(done[1]) as run:
        frame = responses(run)
        found = scores(run)
        assert "Pass@1 of average" in summary(run)
    expected = [
        text_of(tokens)
        for key, index in zip(problems["key"], problems["index"], strict=True)
        for tokens in written[int(key), int(index)]
    ]
    special = re.compile(r"<\|[a-z_]+\|>")
    assert [special.sub("", text) for text in frame["text"]] == expected
    assert list(frame["id"][::8]) == [name.decode() for name in problems["id"]] and len(found) == 24


def test_the_job_script_ends_and_goes_on(place, tmp_path):
    script = [REPOSITORY / "jobs/evaluate.sh", place / "config.toml", "--run", tmp_path / "run"]
    start = [*map(str, script), "--ranks", "2", "--model", str(place / "model"), "--benchmarks", str(place)]
    environment = {**os.environ, "DEEPSEARCH": DEEPSEARCH}
    environment.pop("SLURM_JOB_ID", None)
    for _ in range(2):
        report = subprocess.run(start, capture_output=True, text=True, timeout=100, check=False, env=environment)
        assert report.returncode == 0, report.stdout + report.stderr
    assert "done already" in report.stdout and (tmp_path / "run/log/done").exists()
    assert "| Two " in (tmp_path / "run/table.md").read_text()
    assert "| Two " in (tmp_path / "run/log/latest/output.txt").read_text()


def test_stop_strings_end_a_response(place, tmp_path):
    # Keys of learning need not fit a short response: nothing is learned.
    launch(1, *options(place), "--run", tmp_path / "run", "--set", 'engine.stop=["}"]', "--set",
           "learn.overlong_buffer=1000000")  # fmt: skip
    texts = [text_of(tokens) for group in responses_of(tmp_path / "run").values() for tokens in group]
    assert all("}" not in text[:-1] for text in texts) and sum(text.endswith("}") for text in texts) > len(texts) / 2


def test_held_out_problems_of_an_embedded_task(tmp_path):
    run = tmp_path / "train"
    small = [f"model.{key}" for key in ("hidden_size=16", "n_layers=1", "n_heads=2", "n_kv_heads=1")]
    small += ["model.intermediate_size=24", "task.sizes=[2]", "search.step_tokens=0", "search.max_depth=0"]
    small += ["learn.steps=1", "learn.problems=2", "learn.minibatch_problems=2", "learn.overlong_penalty=0"]
    small += ["eval.problems=2", "eval.samples=2", "task.name=bag"]
    launch(1, "train", "--run", run, *(part for key in small for part in ("--set", key)))
    report = launch(2, "evaluate", "--checkpoint", run, "--run", tmp_path / "run", "--set", "evaluate.problems=6",
                    "--set", "evaluate.samples=4")  # fmt: skip
    assert "| bag " in report.stdout
    assert list(table(tmp_path / "run", "problems")["samples"]) == [4] * 6


def test_what_only_training_minds_is_not_asked_of_an_evaluation_nor_changed(place, tmp_path):
    keys = ("search.when=group_failed", "search.hand_over_gain=2", "learn.rescue=group", "learn.overlong=penalty")
    words = [*options(place), "--run", tmp_path / "run", *(f"--set={key}" for key in keys)]
    launch(1, *words)
    written = (tmp_path / "run" / "config.toml").read_text()
    for line in ('when = "group_failed"', "hand_over_gain = 2.0", 'rescue = "group"', 'overlong = "penalty"'):
        assert line in written
    # Nothing of it decides a sample, but for [search]'s.
    launch(1, *words[:-1], "--set=learn.overlong=none", "--set=evaluate.resamples=500", "--resume")
    assert "search.when was" in error(*words[:-4], "--resume")


def test_an_evaluation_that_was_killed_while_its_model_was_read_goes_on_or_is_replaced(place, done, tmp_path):
    for how in ("--resume", "--force"):
        run = tmp_path / how
        run.mkdir()
        for name in ("config.toml", "evaluation.json"):
            shutil.copy(done[1] / name, run / name)
        launch(1, *options(place), "--run", run, how)
        assert (run / "table.md").read_text() == (done[1] / "table.md").read_text()


@pytest.mark.skipif(not (SHARED / "data/benchmarks").is_dir(), reason="needs the shared benchmarks")
def test_the_six_benchmarks_of_the_paper(tmp_path):
    random_model(tmp_path / "model")
    report = launch(
        3, "evaluate", CONFIGS / "eval/paper.toml", "--model", tmp_path / "model", "--benchmarks",
        SHARED / "data/benchmarks", "--run", tmp_path / "run", "--set", "evaluate.samples=2", "--set",
        "evaluate.problems=3", "--set", "evaluate.max_tokens=64", "--set", "problems.max_prompt_tokens=1500", "--set",
        "problems.chat_template=auto",
    )  # fmt: skip
    paper = next(line for line in report.stdout.splitlines() if line.startswith("| model"))
    assert paper.split()[1::2] == ["model", "AIME24", "AIME25", "AMC23", "MATH", "Minerva", "Olympiad", "average"]
    assert len(table(tmp_path / "run", "samples")["tokens"]) == 6 * 3 * 2
    with h5py.File(tmp_path / "run/run.h5", "r") as file:
        first = file["problems/prompt"][0].decode()
    source = json.loads((SHARED / "data/benchmarks/aime24.jsonl").read_text().splitlines()[0])
    assert (source["problem"] + SUFFIX).encode()[:256].decode("utf-8", "ignore") == first
