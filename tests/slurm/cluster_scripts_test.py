"""What is refused before anything is queued, and whether Slurm would take every script."""

import re
import shutil

import pytest
from common import REPO, SWEEP, deepsearch, refused, replaced, run, write

from cluster import squeue, wait_for

TOO_LARGE = ("model.path=", "model.hidden_size=8192", "model.n_heads=64", "model.n_layers=200")
BAD = [
    (("--site-set", "nodes.partition=nowhere"), "nowhere|partition"),
    (("--nodes", 7), "node"),
    (("--site-set", "nodes.cpus_per_task=17"), "CPU|node configuration"),
    (("--site-set", "site.account=", "--site-set", 'site.sbatch=["--gpus=9"]'), "configuration|GRES|gres"),
    (("--set", "search.widht=1"), 'unknown key.*"width"'),
    (("--set", "ranks.learners=4"), "leaves none to search"),
    (tuple(word for key in TOO_LARGE for word in ("--set", key)), "does not fit|GB are free"),
    (("--run", "/tmp/run"), "/tmp is a node's own"),
    (("--site-set", 'site.modules=["gcc/99"]'), "module"),
    (("--time", "00:00:30"), "less than half"),
    (("--learner-nodes", 1, "--site-set", "site.launcher=mpirun"), "srun"),
    (("--stages", "train,filter"), "in this order"),
    (("--stages", "evaluate"), "--model"),
    (("--stage-set", "evaluate:search.width=3"), "--stage-set"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line_before_anything_is_queued(folder, arguments, message):
    words = ["submit", folder / "config.toml", "--site", folder / "site.toml", *arguments]
    if "--run" not in arguments:
        words += ["--run", folder / "bad"]
    assert re.search(message, refused(*words))
    assert not (folder / "bad").exists()
    assert run("squeue", "-h", "-a", "-n", "deepsearch-bad").stdout == ""


def test_bad_sweeps_leave_nothing_behind(folder):
    out = folder / "bad-sweep"
    site = ("--site", folder / "site.toml")
    two = replaced(SWEEP, {"[2, 3, 4]": "[2]", "seeds = [1, 2]": "seeds = [1]"})
    misspelt = {"search.width = ": "search.widht = ", "w{width}": "w{widht}"}
    unknown = write(folder, replaced(two, misspelt), "unknown.toml")
    assert re.search('unknown key.*"width"', refused("sweep", "submit", unknown, "--out", out, *site))
    sweep = write(folder, two, "good.toml")
    nowhere = ("--site-set", "nodes.partition=nowhere")
    assert "partition" in refused("sweep", "submit", sweep, "--out", out, *site, *nowhere)
    assert not out.exists()
    (out / "points").mkdir(parents=True)  # by a submission that was killed
    assert "not empty, and no sweep is there" in refused("sweep", "submit", sweep, "--out", out, *site)


SCRIPTS = sorted((REPO / "slurm").glob("*.sbatch"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_slurm_would_take_every_script(script):
    assert "to start at" in run("sbatch", "--test-only", script).stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--site-set", "nodes.gpus_per_node=2", "--site-set", "nodes.hardware=h100"),
        ("--learner-nodes", 1, "--site-set", "nodes.partition=first"),
        ("--pieces", 3),
        ("--site-set", "site.launcher=mpirun", "--site-set", "site.signal=TERM"),
    ],
)
def test_slurm_would_take_what_a_dry_run_prints(folder, options):
    words = ("submit", folder / "config.toml", "--run", folder / "dry", "--site", folder / "site.toml", *options)
    script = write(folder, deepsearch(*words, "--dry-run").stdout, "dry.sbatch")
    assert re.search(r"# node 1 +rank", script.read_text())
    assert "to start at" in run("sbatch", "--test-only", script).stderr
    assert not (folder / "dry").exists()


def test_gpu_check_as_a_job_says_that_there_is_no_gpu(folder):
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine may have a GPU: the whole check would run")
    out = folder / "gpu"
    words = ("sbatch", "--parsable", f"--output={folder}/gpu-%j.txt", REPO / "slurm/gpu_check.sbatch", "--out", out)
    job = run(*words, cwd=REPO).stdout.strip()
    wait_for("its end", lambda: squeue(job, "%T") not in {"PENDING", "RUNNING", "COMPLETING"})
    assert squeue(job, "%T") == "FAILED"
    assert "found no GPU" in (out / "report.txt").read_text()


def test_shellcheck_is_content():
    shellcheck = shutil.which("shellcheck")
    if not shellcheck:
        pytest.skip("shellcheck is not here (jobs/setup.sh installs it)")
    scripts = [*(REPO / "slurm").glob("*.s*h"), *(REPO / "jobs").glob("*.sh"), *(REPO / "tests/slurm").glob("*.sh")]
    run(shellcheck, "-x", *scripts, *SCRIPTS, cwd=REPO)
