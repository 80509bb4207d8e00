"""Whole runs of `deepsearch train`, started as a user would. Needs DEEPSEARCH (the binary) and MPIEXEC."""

import os
import re
import shutil
import signal
import subprocess

import h5py
import numpy as np
import pytest
from whole_runs import (
    DEEPSEARCH,
    SMALL,
    ended,
    error_of,
    launched,
    process_of,
    started,
    trees_of,
    wait_for_step,
    weights_of,
)


def train(folder, ranks, *more, config=SMALL):
    path = folder / "config.toml"
    path.write_text(config)
    name = f"run{len(list(folder.glob('run*')))}"
    report = ended(launched(ranks, "train", path, "--run", folder / name, *more))
    return report, folder / name


@pytest.mark.parametrize(("ranks", "learners"), [(1, 1), (2, 1), (3, 1), (5, 1), (5, 2), (2, "all"), (3, "all")])
def test_layouts_all_train(tmp_path, ranks, learners):
    layout = "ranks.mode=colocated" if learners == "all" else f"ranks.learners={learners}"
    report, run = train(tmp_path, ranks, "--set", layout)
    assert report.returncode == 0, report.stderr
    assert re.search(r"held-out Pass@1: base \d\.\d{3} -> trained \d\.\d{3} \(6 problems, 2 samples\)", report.stdout)
    with h5py.File(run / "run.h5", "r") as file:
        assert list(file["metrics/eval/step"]) == [0, 1, 2]
        assert list(file["metrics/learner/step"]) == [1, 2]
        assert np.all(np.isfinite(file["metrics/learner/loss"]))
        searchers = ranks if learners == "all" else max(1, ranks - learners)
        assert len(file["metrics/search/step"]) == 2 * searchers
    assert len(trees_of(run)) == 16
    summary = subprocess.run([DEEPSEARCH, "inspect", run, "--list"], capture_output=True, text=True, check=True)
    assert "finished" in summary.stdout and "base policy" in summary.stdout
    tree = subprocess.run([DEEPSEARCH, "inspect", run, "--tree", "largest"], capture_output=True, text=True, check=True)
    assert "N " in tree.stdout and "H " in tree.stdout


def test_repeats_same_seed_same_trees_same_parameters(tmp_path):
    first = train(tmp_path, 3)
    second = train(tmp_path, 3)
    other = train(tmp_path, 3, "--set", "run.seed=2")
    assert [report.returncode for report, _ in (first, second, other)] == [0, 0, 0]
    assert trees_of(first[1]) == trees_of(second[1])
    assert weights_of(first[1]) == weights_of(second[1])
    assert trees_of(first[1]) != trees_of(other[1])


def test_repeats_ranks_that_search_and_learn_make_the_same_trees(tmp_path):
    apart, apart_run = train(tmp_path, 2)
    runs = [train(tmp_path, 2, "--set", "ranks.mode=colocated") for _ in range(2)]
    assert [report.returncode for report, _ in [(apart, apart_run), *runs]] == [0, 0, 0]
    assert trees_of(runs[0][1]) == trees_of(runs[1][1])
    assert weights_of(runs[0][1]) == weights_of(runs[1][1])
    # The sum of two learners' gradients is rounded in another order, so only the first step's trees are the same bits.
    first = {key: tree for key, tree in trees_of(apart_run).items() if key[0] == 1}
    assert first == {key: tree for key, tree in trees_of(runs[0][1]).items() if key[0] == 1}


@pytest.mark.parametrize("staleness", [1, 3])
def test_layouts_search_runs_ahead_of_the_learner(tmp_path, staleness):
    report, run = train(tmp_path, 3, "--set", f"learn.max_staleness={staleness}", "--set", "learn.steps=6")
    assert report.returncode == 0, report.stderr
    with h5py.File(run / "run.h5", "r") as file:
        learner = {name: file["metrics/learner"][name][...] for name in ("step", "trees", "staleness")}
    assert list(learner["step"]) == [1, 2, 3, 4, 5, 6]
    assert list(learner["trees"]) == [8] * 6
    assert np.all(learner["staleness"] <= staleness) and np.any(learner["staleness"] > 0)


@pytest.mark.parametrize("staleness", [0, 1])
def test_layouts_evaluations_are_no_part_of_the_search_table(tmp_path, staleness):
    keys = (f"learn.max_staleness={staleness}", "learn.steps=6", "search.when=group_failed", "search.group=2")
    report, run = train(tmp_path, 3, *(f"--set={key}" for key in keys))
    assert report.returncode == 0, report.stderr
    with h5py.File(run / "run.h5", "r") as file:
        reported = {
            name: int(file["metrics/search"][name][...].sum()) for name in ("trees", "groups", "tokens_generated")
        }
    written = {"trees": 0, "groups": 0, "tokens_generated": 0}
    for path in (run / "parts").glob("*.h5"):
        with h5py.File(path, "r") as part:
            kinds = part["trees/kind"][...]
            written["trees"] += int(np.sum(kinds == 0))
            written["groups"] += int(np.sum(kinds != 0))
            written["tokens_generated"] += int(part["trees/tokens_generated"][...].sum())
    assert reported == written


def test_repeats_trees_do_not_depend_on_the_number_of_search_ranks(tmp_path):
    runs = [
        train(tmp_path, ranks, "--set", "search.when=group_failed", "--set", "search.group=2") for ranks in (1, 2, 4)
    ]
    assert [report.returncode for report, _ in runs] == [0, 0, 0]
    assert trees_of(runs[0][1]) == trees_of(runs[1][1]) == trees_of(runs[2][1])
    assert weights_of(runs[0][1]) == weights_of(runs[1][1]) == weights_of(runs[2][1])


def test_repeats_where_trees_do_not_pay_only_probes_are_handed_over(tmp_path):
    keys = ("search.when=group_failed", "search.group=2", "search.hand_over_gain=1e6", "learn.steps=3")
    runs = [train(tmp_path, ranks, *(f"--set={key}" for key in keys)) for ranks in (1, 3)]
    assert [report.returncode for report, _ in runs] == [0, 0]
    assert trees_of(runs[0][1]) == trees_of(runs[1][1])
    grown = {1: set(), 2: set(), 3: set()}
    for part in (runs[0][1] / "parts").glob("*.h5"):
        with h5py.File(part, "r") as file:
            table = {name: file["trees"][name][...] for name in ("kind", "step", "problem_index")}
        for kind, step, place in zip(table["kind"], table["step"], table["problem_index"], strict=True):
            if kind == 0:
                grown[step].add(place)
    assert len(grown[1]) > 4, "nothing is known of trees before the first ones"
    assert grown[2] <= {0} and grown[3] <= {0}
    with h5py.File(runs[0][1] / "run.h5", "r") as file:
        ratios = list(file["metrics/learner/hand_over_ratio"][...])
    assert ratios[0] == -1 and 0 < ratios[1] < 1e6


def test_repeats_trees_do_not_depend_on_who_makes_their_steps(tmp_path):
    """Two problems for four ranks, in steps of one token: two of the ranks can only help."""
    steps = ["learn.problems=2", "learn.minibatch_problems=2", "search.step_tokens=1", "search.max_depth=24"]
    rollouts = ["search.when=never", "search.group=768", "model.hidden_size=32"]
    trees = ["search.frontier_batch=4", "search.trajectories=60"]
    for more in (rollouts, trees):
        words = [word for setting in ("task.sizes=[6]", *steps, *more) for word in ("--set", setting)]
        alone, alone_run = train(tmp_path, 2, *words)
        shared, shared_run = train(tmp_path, 5, *words)
        split, split_run = train(tmp_path, 3, *words, "--set", "ranks.share=false")
        assert [report.returncode for report in (alone, shared, split)] == [0, 0, 0], shared.stderr
        assert trees_of(alone_run) == trees_of(shared_run) == trees_of(split_run)
        assert weights_of(alone_run) == weights_of(shared_run) == weights_of(split_run)
        with h5py.File(shared_run / "run.h5", "r") as file:
            lent, helped = (np.sum(file[f"metrics/search/expansions_{what}"]) for what in ("lent", "helped"))
            assert (lent > 0 and helped > 0) or more is trees  # trees of this size may be done before help arrives
        with h5py.File(split_run / "run.h5", "r") as file:
            assert np.sum(file["metrics/search/expansions_lent"]) == 0


BAD = [
    (["--set", "search.widht=3"], 'unknown key.*"width"'),
    (["--set", "search.width=fast"], "search.*width"),
    (["--set", "search.width=0"], "width"),
    (["--set", "ranks.learners=3"], "learners"),
    (["--set", "learn.problems=1", "--set", "learn.minibatch_problems=1", "--set", "ranks.learners=1"], "search ranks"),
    (["--set", "task.name=chess"], "chess"),
    (["--set", "learn.max_staleness=1", "--set", "ranks.mode=colocated"], "max_staleness"),
    (["--set", "learn.stale_trees=drop"], "stale_trees"),
    (["--set", "rounds.count=2", "--set", "learn.max_staleness=1"], "rounds.*max_staleness"),
    (["--set", "rounds.count=3"], "rounds.*does not divide"),
    (["--set", "rounds.count=2", "--set", "rounds.steps=3"], "set it to 6"),
    (["--set", "rounds.count=2", "--set", "search.temperature=0.7"], "rounds.*temperature"),
    (["--set", "rounds.count=2", "--set", "rounds.cache_file=no/such/cache"], "no/such/cache"),
    (["--set", "learn.budget=cost"], "budget_amount"),
    (["--set", "model.path=no/such/model"], "no/such/model"),
    (["--set", "model.max_positions=10"], "max_positions"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    report, run = train(tmp_path, 3, *arguments)
    line = error_of(report)
    assert re.search(message, line), line
    assert not run.exists()


def test_bad_input_problem_file_is_named_with_its_line(tmp_path):
    problems = tmp_path / "problems.jsonl"
    subprocess.run(
        [DEEPSEARCH, "problems", "--set", "task.sizes=[2]", "--count", "9", "--out", problems],
        check=True,
        capture_output=True,
    )
    report, _ = train(tmp_path, 3, "--set", f"problems.train_file={problems}")
    assert report.returncode == 0, report.stderr
    lines = problems.read_text().splitlines()
    lines[6] = lines[6].replace('"answer"', "answer")
    problems.write_text("\n".join(lines) + "\n")
    report, run = train(tmp_path, 3, "--set", f"problems.train_file={problems}")
    assert report.returncode == 2
    assert "problems.jsonl:7:" in report.stderr
    assert not run.exists()


def test_bad_input_existing_run_is_refused_unless_forced(tmp_path):
    report, run = train(tmp_path, 2)
    assert report.returncode == 0, report.stderr
    before = (run / "run.h5").read_bytes()
    again = ended(launched(2, "train", tmp_path / "config.toml", "--run", run))
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert (run / "run.h5").read_bytes() == before
    assert ended(launched(2, "train", tmp_path / "config.toml", "--run", run, "--force")).returncode == 0


def test_bad_input_model_of_wrong_shape_names_the_tensor(tmp_path):
    report, run = train(tmp_path, 2)
    assert report.returncode == 0, report.stderr
    model = tmp_path / "model"
    shutil.copytree(max((run / "checkpoints").glob("step-*")), model)
    config = (model / "config.json").read_text()
    (model / "config.json").write_text(re.sub(r'"intermediate_size": *24', '"intermediate_size": 32', config))
    report, _ = train(tmp_path, 3, "--set", f"model.path={model}")
    assert report.returncode == 2
    assert "mlp" in report.stderr and "32" in report.stderr
    (model / "config.json").write_text(config)
    whole = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(whole[:-100])
    report, _ = train(tmp_path, 3, "--set", f"model.path={model}")
    assert report.returncode == 2
    assert "model.safetensors" in report.stderr


@pytest.mark.parametrize("how", ["launcher", "one rank"])
def test_stops_cleanly_and_files_are_valid(tmp_path, how):
    (tmp_path / "config.toml").write_text(SMALL.replace("steps = 2", "steps = 100000"))
    run = tmp_path / "run"
    with started(launched(3, "train", tmp_path / "config.toml", "--run", run)) as job:
        wait_for_step(run, 3)
        if how == "launcher":
            job.send_signal(signal.SIGTERM)
        else:
            os.kill(process_of(job, 0), signal.SIGTERM)
        out, errors = job.communicate(timeout=60)
    assert job.returncode != 0, out
    with h5py.File(run / "run.h5", "r") as file:
        assert len(file["metrics/learner/step"]) >= 3
    assert len(trees_of(run)) >= 24
    summary = subprocess.run([DEEPSEARCH, "inspect", run], capture_output=True, text=True, check=True)
    assert "interrupted" in summary.stdout, summary.stdout + errors


def test_stops_when_a_rank_is_killed(tmp_path):
    (tmp_path / "config.toml").write_text(SMALL.replace("steps = 2", "steps = 100000"))
    run = tmp_path / "run"
    with started(launched(3, "train", tmp_path / "config.toml", "--run", run)) as job:
        wait_for_step(run, 2)
        os.kill(process_of(job, 0), signal.SIGKILL)
        job.communicate(timeout=60)
    assert job.returncode != 0
    summary = subprocess.run([DEEPSEARCH, "inspect", run], capture_output=True, text=True, check=True)
    assert "running or killed" in summary.stdout
