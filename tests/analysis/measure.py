"""Prints how long the reader and the tree page take at their target sizes (no test: machines differ).

python tests/analysis/measure.py [FOLDER FOR THE FILES]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "analysis")]

from browser import CHROMIUM, drive  # noqa: E402
from deepsearch_analysis.reader import Run  # noqa: E402
from deepsearch_analysis.tree_page import write_tree_pages  # noqa: E402
from tree_maker import make_large_run  # noqa: E402


def best_of(times: int, work: Callable[[], object]) -> str:
    """Wall and processor seconds of the quickest; on a busy machine the latter says more."""
    found = []
    for _ in range(times):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - wall, time.process_time() - processor))
    return "{:.3f} s ({:.3f} s of processor)".format(*min(found))


def open_trees(folder: Path) -> int:
    with Run(folder) as run:
        return len(run.trees)


def load_nodes(folder: Path) -> int:
    with Run(folder) as run:
        return len(run.nodes())


def main(folder: Path) -> None:
    many = make_large_run(folder / "many", parts=8, trees=125, nodes=1000)
    count = open_trees(many)
    seconds = best_of(5, lambda: open_trees(many))
    print(f"open a run of {count:,} trees in 8 parts, its /trees as one table: {seconds}")
    count = load_nodes(many)
    seconds = best_of(5, lambda: load_nodes(many))
    print(f"all columns of {count:,} nodes as one table: {seconds}")
    large = make_large_run(folder / "large", parts=1, trees=1, nodes=10_000, tokens_per_node=12, events=True)
    with Run(large) as run:
        page = write_tree_pages(run, ["largest"], folder, 0)[0]
    print(f"page of a tree of 10,000 nodes: {page.stat().st_size / 1e6:.1f} MB")
    if CHROMIUM is None:
        print("no chromium here: rendering is not measured")
        return
    script = """
      const d = window.deepsearch, start = performance.now();
      for (let i = 0; i < 10; ++i) { d.view.zoom(1.1, 500, 300); d.drawNow(); }
      const frame = (performance.now() - start) / 10, half = performance.now();
      const slider = document.getElementById("slider");
      slider.value = Math.floor(d.model.last / 2);
      slider.dispatchEvent(new Event("input"));
      d.drawNow();
      return {nodes: d.model.n, first: d.renderMs, frame, replay: performance.now() - half,
              navigation: performance.now()};"""
    seen = drive(page, script, folder, folder / "large.png")
    print(f"Chromium, {seen['nodes']:,} nodes: first drawn {seen['first']:.0f} ms after the script began, zooming "
          f"{seen['frame']:.0f} ms a frame, jump in the replay {seen['replay']:.0f} ms")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="for the files; default: a temporary one")
    folder = parser.parse_args().folder
    if folder:
        main(folder)
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
