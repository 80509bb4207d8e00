"""What several test files here start from."""

import pytest
from common import SWEEP, deepsearch, replaced, run, warm_start, write

# Long enough to be disturbed in the middle.
LONG = {
    "steps = 6": "steps = 40",
    "checkpoint_every = 2": "checkpoint_every = 4",
    "every = 2\nproblems": "every = 20\nproblems",
}


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    """common.CONFIG from a base policy that solves something; the policy is seen by this machine only."""
    return warm_start(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def folder():
    """On the cluster: its site profile, a configuration, and one with 40 steps."""
    from cluster import BASE, SITE

    path = BASE / "test"
    path.mkdir(parents=True)
    write(path, SITE, "site.toml")
    text = warm_start(path)
    write(path, text)
    write(path, replaced(text, LONG), "long.toml")
    return path


@pytest.fixture(scope="session")
def whole(folder):
    """A run of long.toml that nobody disturbed; here, on one rank."""
    path = folder / "whole"
    deepsearch("train", folder / "long.toml", "--run", path)
    return path


@pytest.fixture(scope="session")
def queued_sweep(folder):
    """Six points, two seeds each, of which one will fail, as a job array that runs beside the other tests: the sweep's
    file, its folder and the point's name."""
    from cluster import ONE_RANK, small_sweep, sweep_states

    sweep, out, bad = small_sweep(folder, SWEEP, "six.toml"), folder / "sweep", "w3-lr0.001-s2"
    run("scontrol", "update", "PartitionName=all", "State=DOWN")  # nothing starts before the trap is set
    site = ("--site", folder / "site.toml", *ONE_RANK)
    assert "12 points" in deepsearch("sweep", "submit", sweep, "--out", out, *site, "--most", 4).stdout
    (out / bad).mkdir()
    (out / bad / "parts").write_text("in the way")
    assert list(sweep_states(out).values()) == ["queued"] * 12
    run("scontrol", "update", "PartitionName=all", "State=UP")
    return sweep, out, bad
