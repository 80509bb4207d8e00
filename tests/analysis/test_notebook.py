"""The notebook's cells run one after another on a real run, and what it shows is kept small."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "analysis" / "notebooks" / "first-look.ipynb"
sys.path.insert(0, str(NOTEBOOK.parent))

from execute import NAMED_RUN, execute  # noqa: E402


def test_the_notebook_runs_from_the_first_cell_to_the_last() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert f'Run(\\"{NAMED_RUN}\\")' in text
    kept = json.loads(text)
    done = execute(json.loads(text), Path(__file__).parent / "real_run")
    assert len(done["cells"]) == len(kept["cells"]) > 10
    for before, after in zip(kept["cells"], done["cells"], strict=True):
        kinds = [[output["output_type"] for output in cell.get("outputs", [])] for cell in (before, after)]
        assert kinds[0] == kinds[1], before["source"]


def test_the_notebook_is_small_and_names_no_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 100_000
    assert "/tmp/" not in text
