"""Runs that are stopped or killed and go on by --resume: the same bits as a run that was left alone. Needs DEEPSEARCH
(the binary) and MPIEXEC."""

import json
import re
import shutil
import signal
import time

import h5py
import numpy as np
import pytest
from whole_runs import (
    FEW_SOLVED,
    LONG,
    ROUNDS,
    STEPS,
    Training,
    assert_same,
    begun,
    elapsed_of,
    ended,
    error_of,
    kill,
    newest,
    train_policy,
)

RUNS = Training()
LAYOUTS = [(1, 1), (3, 1), (4, 2)]


def train(ranks, run, *more):
    return ended(RUNS.words(ranks, run, *more))


def layout(learners):
    return ("--set", f"ranks.learners={learners}")


@pytest.fixture(scope="module", autouse=True)
def base(tmp_path_factory):
    RUNS.base = train_policy(tmp_path_factory.mktemp("base"), LONG, "sft.steps=500", *FEW_SOLVED)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of each layout that nobody stopped."""
    runs = {}

    def get(ranks, learners):
        if (ranks, learners) not in runs:
            run = tmp_path_factory.mktemp("whole") / "run"
            report = train(ranks, run, *layout(learners))
            assert report.returncode == 0, report.stderr
            with h5py.File(run / "run.h5", "r") as file:
                assert np.all(file["metrics/learner/grad_norm"][...] > 0.01)
                assert np.all(file["metrics/learner/uniform_fraction"][...] < 1)
            runs[ranks, learners] = run
        return runs[ranks, learners]

    return get


def stop(ranks, run, seconds, how, *more):
    """Starts or resumes a run and sends its launcher a signal after `seconds` of work; its exit code."""
    with begun(RUNS.words(ranks, run, *more), run) as job:
        time.sleep(seconds)
        if how == signal.SIGKILL:
            kill(job)
        elif job.poll() is None:
            job.send_signal(how)
        _, errors = job.communicate(timeout=60)
    if job.returncode == -how and f"step {STEPS}: saved" in errors:
        return 0, errors  # the ranks were through; the signal met a launcher that no longer handles it
    return job.returncode, errors


@pytest.mark.parametrize(("ranks", "learners"), LAYOUTS)
@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL])
def test_stopped_again_and_again_gives_the_same_bits(tmp_path, whole, ranks, learners, how):
    run = tmp_path / "run"
    stop_twice(ranks, run, how, whole(ranks, learners), *layout(learners))
    assert_same(run, whole(ranks, learners))


def stop_twice(ranks, run, how, whole_run, *more):
    """A run that is stopped at two random moments and then left to end."""
    random = np.random.default_rng([ranks, int(how)])
    duration = elapsed_of(whole_run)[-1]
    stopped = 0
    while stopped < 2:
        code, errors = stop(ranks, run, duration * random.uniform(0, 0.4), how, *more, "--resume")
        if code == 0 and stopped > 0:
            break
        if code == 0:  # it ended before: again, and sooner
            shutil.rmtree(run)
            duration /= 2
            continue
        stopped += 1
        if how == signal.SIGUSR1:
            assert code == 75, errors
            assert "--resume goes on" in errors
    report = train(ranks, run, *more, "--resume")
    assert report.returncode == 0, report.stderr


VARIANTS = {
    "hand over": ("search.when=group_failed", "search.group=2", "learn.skip_uniform=true", "learn.refill_waves=2"),
    "bf16, cosine": ("learn.compute=bf16", "learn.optimizer.schedule=cosine", "learn.bucket_mb=0.01"),
    "hand over where it pays": (
        *("search.when=group_failed", "search.group=2", "search.hand_over_gain=0.3", "learn.credit=siblings"),
        *("learn.rollout_credit=edge", "learn.merge_prefixes=true", "learn.skip_dead=true"),
    ),
    "branches": ("search.when=group_failed", "search.group=2", "search.branch_rollouts=4"),
    "unsharded": ("learn.shard_optimizer=false", "learn.epochs=2"),
    "rounds": ROUNDS,
    "budget": ("learn.budget=cost", "learn.budget_amount=60000", "learn.optimizer.schedule=cosine"),
    "no copy held": ("run.hold_state=false", "store.level=metrics"),
}


@pytest.mark.parametrize("keys", VARIANTS.values(), ids=VARIANTS)
def test_variants_give_the_same_bits(tmp_path, keys):
    ranks, learners = (1, 1) if "run.hold_state=false" in keys else (4, 2)
    more = (*layout(learners), *(f"--set={key}" for key in keys))
    alone = tmp_path / "alone" / "run"
    alone.parent.mkdir()
    assert train(ranks, alone, *more).returncode == 0
    run = tmp_path / "run"
    stop_twice(ranks, run, signal.SIGUSR1, alone, *more)
    assert_same(run, alone)


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    run = tmp_path_factory.mktemp("rounds") / "run"
    report = train(1, run, *(f"--set={key}" for key in ROUNDS))
    assert report.returncode == 0, report.stderr
    with h5py.File(run / "run.h5", "r") as file:
        filters = {name: file["metrics/rounds"][name][...] for name in ("round", "step", "problems", "hard_problems")}
        learner = {
            name: file["metrics/learner"][name][...]
            for name in ("round", "replayed_groups", "replayed_tokens", "cached_trajectories", "dropped_trajectories")
        }
    assert list(filters["round"]) == [0, 1, 2] and list(filters["step"]) == [0, 2, 4]
    assert list(filters["problems"][1:]) == list(filters["hard_problems"][:-1])
    assert np.all(filters["hard_problems"] < filters["problems"])
    assert list(learner["round"]) == [0, 0, 1, 1, 2, 2]
    assert np.sum(learner["replayed_groups"][:2]) == 0 < np.sum(learner["replayed_groups"][2:])
    assert np.all(learner["cached_trajectories"] >= learner["replayed_groups"])
    assert np.sum(learner["replayed_tokens"]) > 0 and np.sum(learner["dropped_trajectories"]) > 0
    return run


@pytest.mark.parametrize(("ranks", "how"), [(1, signal.SIGUSR1), (3, signal.SIGKILL), (4, signal.SIGUSR1)])
def test_rounds_go_on_from_any_moment(tmp_path, rounds, ranks, how):
    """The whole run was on one rank: other numbers of search ranks give its bits too."""
    run = tmp_path / "run"
    keys = [f"--set={key}" for key in ROUNDS]
    duration = elapsed_of(rounds)[-1]
    for part in (0.03, 0.25, 0.45):  # in the first filter, in a round, wherever
        if stop(ranks, run, part * duration, how, *keys, "--resume")[0] == 0:
            break
    report = train(ranks, run, *keys, "--resume")
    assert report.returncode == 0, report.stderr
    assert_same(run, rounds)


def test_rounds_refuse_a_cache_of_another_model(tmp_path, rounds):
    cache = newest(rounds) / "resume" / "replay_cache.bin"
    keys = [*(f"--set={key}" for key in ROUNDS), "--set", f"rounds.cache_file={cache}"]
    (tmp_path / "same").mkdir()
    report = train(1, tmp_path / "same" / "run", *keys, "--set", "learn.budget_amount=1")
    assert report.returncode == 0, report.stderr
    with h5py.File(tmp_path / "same" / "run" / "run.h5", "r") as file:
        assert file["metrics/rounds/cached_problems"][0] > 0
    for change, message in [("task.name=chain", "another tokenizer"), ("model.hidden_size=32", "another model")]:
        report = train(1, tmp_path / "run", *keys, "--set", change, "--set", 'model.path=""', "--set", "task.sizes=[]")
        assert report.returncode == 2
        assert message in report.stderr
        assert not (tmp_path / "run").exists()


def test_rounds_end_well_without_a_hard_problem(tmp_path):
    run = tmp_path / "run"
    keys = ("rounds.count=3", "rounds.pool=20", "rounds.max_pass_rate=0", "rounds.filter_samples=64", "task.sizes=[1]")
    report = train(1, run, *(f"--set={key}" for key in keys))
    assert report.returncode == 0, report.stderr
    assert "the hard set of round 0 is empty" in report.stderr
    with h5py.File(run / "run.h5", "r") as file:
        assert file.attrs["state"] == b"finished"


def test_a_run_that_reached_its_target_can_go_on(tmp_path):
    run = tmp_path / "run"
    report = train(1, run, "--set", "eval.stop_at=0.001")
    assert report.returncode == 0, report.stderr
    assert re.search(r"after \d of 6 steps: held-out Pass@1 is", report.stderr)
    report = train(1, run, "--resume", "--set", "eval.stop_at=0")
    assert report.returncode == 0, report.stderr
    alone = tmp_path / "alone" / "run"
    alone.parent.mkdir()
    assert train(1, alone).returncode == 0
    assert_same(run, alone)


def test_finished_trees_are_not_grown_again(tmp_path):
    run = tmp_path / "run"
    alone = tmp_path / "alone" / "run"
    alone.parent.mkdir()
    # Most of the time is search, and trees finish one after another.
    keys = [f"--set={key}" for key in ("eval.problems=300", "eval.samples=8", "ranks.problems_in_flight=3")]
    assert train(1, alone, *keys).returncode == 0
    kept = 0
    for part in np.linspace(0.02, 0.25, 10):
        code, _ = stop(1, run, part * elapsed_of(alone)[-1], signal.SIGUSR1, *keys, "--resume")
        if code == 0:
            break
        kept += (newest(run) / "resume" / "trees.bin").exists()
    assert kept > 0
    assert train(1, run, *keys, "--resume").returncode == 0
    assert_same(run, alone)
    seen = []
    for path in sorted((run / "parts").glob("*.h5")):
        with h5py.File(path, "r") as file:
            columns = [file["trees"][name][...].tolist() for name in ("step", "problem_index", "attempt", "kind")]
            seen += list(zip(*columns, strict=True))
    # A stop while learning keeps all trees of the step, one while searching those that had finished.
    assert len(seen) == len(set(seen)), "a finished tree was grown twice"


def test_number_of_search_ranks_may_change(tmp_path, whole):
    run = tmp_path / "run"
    assert train(1, run, "--set", "learn.steps=2").returncode == 0
    report = train(4, run, "--set", "learn.steps=4", "--resume")
    assert report.returncode == 0, report.stderr
    report = train(3, run, "--resume")
    assert report.returncode == 0, report.stderr
    assert "resumed from checkpoints/step-000004" in report.stderr
    # Runs of 2 and of 4 steps end where the long one evaluates anyway.
    assert_same(run, whole(3, 1))


def values_in(run, step):
    data = (run / "checkpoints" / f"step-{step:06}" / "model.safetensors").read_bytes()
    return np.frombuffer(data, dtype=np.float32, offset=8 + int.from_bytes(data[:8], "little"))


def test_number_of_learners_may_change(tmp_path):
    run = tmp_path / "run"
    assert train(4, run, *layout(2), "--set", "learn.steps=4").returncode == 0
    for learners in (1, 3):
        shutil.copytree(run, tmp_path / f"with{learners}")
        report = train(4, tmp_path / f"with{learners}", *layout(learners), "--set", "learn.steps=5", "--resume")
        assert report.returncode == 0, report.stderr
        assert f"2 learner ranks before, {learners} now" in report.stderr
    report = train(4, run, *layout(2), "--set", "learn.steps=5", "--resume")
    assert report.returncode == 0, report.stderr
    # The same trees; only the order of sums differs. A moment in a wrong place would show in the size of lr, 1e-3.
    assert np.max(np.abs(values_in(run, 5) - values_in(run, 4))) > 1e-3
    for learners in (1, 3):
        np.testing.assert_allclose(values_in(tmp_path / f"with{learners}", 5), values_in(run, 5), rtol=0, atol=2e-5)


CHANGED = [
    (("search.width=2",), 2, "search.width was 4 and is now 2"),
    (("run.seed=2",), 2, "run.seed was 1 and is now 2"),
    (("learn.optimizer.lr=1e-4",), 2, "learn.optimizer.lr"),
    (("learn.steps=1",), 2, "2 steps are done"),
    (('run.log_level="debug"', "learn.threads=1", "ranks.stuck_seconds=30.0"), 0, "run.log_level was"),
]


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    run = tmp_path_factory.mktemp("short") / "run"
    assert train(1, run, "--set", "learn.steps=3", "--set", "learn.problems=60").returncode == 0
    return run


@pytest.mark.parametrize(("keys", "code", "message"), CHANGED)
def test_changed_keys_are_refused_by_name(tmp_path, short, keys, code, message):
    run = tmp_path / "run"
    shutil.copytree(short, run)
    shutil.rmtree(run / "checkpoints" / "step-000003")
    arguments = [word for key in ("learn.steps=3", "learn.problems=60", *keys) for word in ("--set", key)]
    before = (run / "run.h5").read_bytes()
    report = train(1, run, *arguments, "--resume")
    assert report.returncode == code, report.stderr
    assert message in report.stderr
    if code != 0:
        assert (run / "run.h5").read_bytes() == before
        error_of(report)


def damage_truncate(file):
    file.write_bytes(file.read_bytes()[:-7])


def damage_flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 64
    file.write_bytes(data)


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, lambda file: file.unlink()])
@pytest.mark.parametrize(
    "name", ["manifest.json", "model.safetensors", "resume/run.json", "resume/learner-00-of-01.safetensors"]
)
def test_a_broken_checkpoint_is_passed_over_by_name(tmp_path, short, name, damage):
    run = tmp_path / "run"
    shutil.copytree(short, run)
    damage(run / "checkpoints" / "step-000003" / name)
    report = train(1, run, "--set", "learn.steps=3", "--set", "learn.problems=60", "--resume")
    assert report.returncode == 0, report.stderr
    assert "passed over" in report.stderr and "step-000003" in report.stderr
    assert "resumed from checkpoints/step-000002" in report.stderr
    for path in (short / "checkpoints" / "step-000003").glob("*.safetensors"):
        assert (run / "checkpoints" / "step-000003" / path.name).read_bytes() == path.read_bytes()


def test_no_whole_checkpoint_is_one_line(tmp_path, short):
    run = tmp_path / "run"
    shutil.copytree(short, run)
    for folder in (run / "checkpoints").iterdir():
        damage_truncate(folder / "model.safetensors")
    report = train(1, run, "--set", "learn.steps=3", "--set", "learn.problems=60", "--resume")
    assert report.returncode == 2
    assert "no checkpoint is whole" in report.stderr and "--force" in report.stderr


def test_leftovers_go_and_old_checkpoints_too(tmp_path, short):
    run = tmp_path / "run"
    shutil.copytree(short, run)
    folder = run / "checkpoints"
    shutil.copytree(folder / "step-000002", folder / "tmp-step-000004")
    (folder / "step-000003").rename(folder / "step-000003.tmp")  # a kill while it was being replaced
    arguments = ["--set", "learn.steps=6", "--set", "learn.problems=60", "--set", "learn.checkpoint_every=1"]
    report = train(1, run, *arguments, "--set", "run.keep_checkpoints=2", "--set", "run.keep_every=3", "--resume")
    assert report.returncode == 0, report.stderr
    assert "resumed from checkpoints/step-000003" in report.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["step-000003", "step-000005", "step-000006"]


def test_the_time_limit_ends_a_run_that_can_go_on(tmp_path, whole):
    run = tmp_path / "run"
    code = 75
    for _ in range(5):
        report = train(1, run, "--set", 'run.time_limit="2"', "--resume")
        code = report.returncode
        if code != 75:
            break
        assert "time limit" in report.stderr
    if code == 75:  # a slow machine
        assert train(1, run, "--resume").returncode == 0
    assert_same(run, whole(1, 1))
    report = train(1, run, "--set", 'run.time_limit="soon"', "--resume")
    assert report.returncode == 2
    assert "run.time_limit" in report.stderr.replace("[run].time_limit", "run.time_limit")


def test_a_manifest_lists_every_file(short):
    folder = short / "checkpoints" / "step-000003"
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == files
    assert all((folder / name).stat().st_size == entry["bytes"] for name, entry in manifest["files"].items())


def grown(run):
    """Every finished tree and group of a run: (step, place, kind), and the oldest policy that took part."""
    found = []
    for part in sorted((run / "parts").glob("*.h5")):
        with h5py.File(part, "r", libver="latest", swmr=True) as file:
            trees = {name: column[...] for name, column in file["trees"].items()}
        names = ("step", "problem_index", "kind", "policy_version", "stop_reason")
        found += [tuple(int(trees[name][row]) for name in names) for row in range(len(trees["n_events"]))]
    return [line for line in found if line[-1] != 5]  # cancelled


@pytest.mark.parametrize("stale_trees", ["finish", "drop"])
def test_a_run_that_is_ahead_goes_on_where_it_was(tmp_path, stale_trees):
    """Not the same bits, since they depend on timing; but every problem once, and nothing too old."""
    run = tmp_path / "run"
    more = ("--set", "learn.max_staleness=2", "--set", f"learn.stale_trees={stale_trees}")
    for _ in range(3):
        code, errors = stop(3, run, 0.4, signal.SIGUSR1, *more, "--resume")
        assert code in {0, 75}, errors
    report = train(3, run, *more, "--resume")
    assert report.returncode == 0, report.stderr
    with h5py.File(run / "run.h5", "r") as file:
        rows = {name: file["metrics/learner"][name][...] for name in ("step", "trees", "staleness", "dropped_problems")}
    assert list(rows["step"]) == list(range(1, STEPS + 1))
    assert np.all(rows["trees"] == 240)
    assert np.all(rows["staleness"] <= 2) and np.any(rows["staleness"] > 0)
    assert stale_trees == "drop" or not np.any(rows["dropped_problems"])
    trees = grown(run)
    assert len({line[:3] for line in trees}) == len(trees) >= 240 * STEPS - np.sum(rows["dropped_problems"])
