"""Run folders for the tests, made once a session; tests that change one copy it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "analysis")]

from deepsearch_analysis.__main__ import main  # noqa: E402
from run_maker import make_run  # noqa: E402


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "small", steps=6, ranks=2, trees_every=2)


@pytest.fixture(scope="session")
def small_report(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with report.png and report.html of small_run."""
    out = tmp_path_factory.mktemp("report")
    assert main(["report", str(small_run), "--out", str(out)]) == 0
    return out
