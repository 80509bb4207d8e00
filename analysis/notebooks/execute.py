"""Runs a notebook's code cells in order and keeps their outputs in it; no Jupyter is needed.

    python analysis/notebooks/execute.py analysis/notebooks/first-look.ipynb RUN

RUN stands in for the run's path that the notebook names.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "Agg")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import matplotlib.pyplot as plt  # noqa: E402

NAMED_RUN = "../../runs/quickstart"


def _pictures() -> list[dict[str, Any]]:
    found = []
    for number in plt.get_fignums():
        out = io.BytesIO()
        plt.figure(number).savefig(out, format="png", dpi=70, bbox_inches="tight", metadata={"Software": None})
        picture = {"image/png": base64.b64encode(out.getvalue()).decode()}
        found.append({"output_type": "display_data", "data": picture, "metadata": {}})
    plt.close("all")
    return found


def run_cell(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """Outputs as Jupyter keeps them: what was printed, the last expression's value, figures."""
    body = ast.parse(source)
    last = body.body.pop() if body.body and isinstance(body.body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(body, f"<cell {number}>", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), f"<cell {number}>", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(True)})
    pictures = _pictures()
    if value is not None and not pictures:
        data = {"text/plain": repr(value).splitlines(True)}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = value._repr_html_().splitlines(True)
        outputs.append({"output_type": "execute_result", "execution_count": number, "data": data, "metadata": {}})
    return outputs + pictures


def execute(notebook: dict[str, Any], run: str | Path) -> dict[str, Any]:
    """The notebook with fresh outputs. An error in a cell is raised."""
    names: dict[str, Any] = {"__name__": "__main__"}
    number = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            number += 1
            source = "".join(cell["source"]).replace(NAMED_RUN, str(run))
            cell["outputs"], cell["execution_count"] = run_cell(source, names, number), number
    return notebook


if __name__ == "__main__":
    path = Path(sys.argv[1])
    done = execute(json.loads(path.read_text(encoding="utf-8")), sys.argv[2])
    path.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
