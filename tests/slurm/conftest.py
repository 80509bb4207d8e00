"""What several test files here start from."""

import pytest
from common import deepsearch, replaced, warm_start, write

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
