"""Draws the pictures of docs/gallery.md and README.md anew, from real runs:

    python docs/gallery.py --run runs/quickstart [--sweep runs/search-table] [--out docs/images]

The sweep is what jobs/search-table.sh leaves. Pages are photographed by Chromium (jobs/setup.sh --with-browser).
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "analysis"))

from deepsearch_analysis.__main__ import main as analysis  # noqa: E402
from deepsearch_analysis.groups import find_runs  # noqa: E402
from deepsearch_analysis.reader import Run  # noqa: E402
from deepsearch_analysis.tree_page import write_tree_pages  # noqa: E402
from PIL import Image  # noqa: E402  (comes with matplotlib)

MOST_BYTES = 200_000
MOST_WIDTH = 1400


def save(picture: Image.Image, path: Path) -> None:
    """As a PNG of 256 colours, made smaller until it is small enough."""
    picture = picture.convert("RGB")
    width = min(picture.width, MOST_WIDTH)
    while True:
        small = picture.resize((width, picture.height * width // picture.width), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        small.quantize(256, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() < MOST_BYTES:
            break
        width = width * 9 // 10
    path.write_bytes(out.getvalue())
    print(f"{path}: {small.width} x {small.height}, {out.tell() // 1000} kB")


def photograph(page: Path, folder: Path, size: tuple[int, int]) -> Image.Image:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("error: no Chromium on the path: jobs/setup.sh --with-browser installs Debian's")
    shot = folder / "shot.png"
    command = [
        chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-extensions", "--disable-background-networking", "--hide-scrollbars", f"--screenshot={shot}",
        f"--user-data-dir={folder / 'profile'}", f"--window-size={size[0]},{size[1]}", page.resolve().as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return Image.open(shot)


def run_analysis(*arguments: object) -> None:
    if analysis([str(a) for a in arguments]) != 0:
        sys.exit(1)


# Opens the step before the answer, as a click on it would.
LOOK = """<script>
const d = window.deepsearch, leaf = d.model.recorded.find((n) => d.model.outcome[n] === 0) ?? d.model.recorded[0];
d.drawNow();
const [x, y] = d.view.place(leaf), box = d.view.canvas.getBoundingClientRect();
d.view.canvas.dispatchEvent(new MouseEvent("click", {clientX: box.left + x, clientY: box.top + y, bubbles: true}));
d.drawNow();
</script>"""


def draw_tree(folder: Path, out: Path) -> Path:
    """The page of a tree that found what rollouts did not, else of any."""
    with Run(folder) as run:
        trees = run.trees[run.trees["kind"].astype(str) == "tree"]
        solved = trees[trees["n_correct"] > 0]
        chosen = (solved if len(solved) else trees).sort_values("n_nodes").iloc[-1]["name"]
        page = write_tree_pages(run, [chosen], out)[0]
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", LOOK + "</body>"), encoding="utf-8")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a finished run")
    parser.add_argument("--sweep", type=Path, help="a sweep's folder; without it its pictures stay as they are")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        run_analysis("report", options.run, "--out", folder)
        tree = draw_tree(options.run, folder)
        save(photograph(folder / "report.html", folder, (1280, 1500)), options.out / "gallery-report.png")
        save(photograph(tree, folder, (1500, 900)), options.out / "gallery-tree.png")
        save(Image.open(folder / "report.png"), options.out / "quickstart.png")  # README's
        names = ["report-search", "report-timeline"]
        if options.sweep is not None:
            run_analysis("sweep", options.sweep, "--out", folder)
            runs = [run for run in find_runs(options.sweep) if "-uct-" in run.name or "-log-" in run.name]
            run_analysis("compare", *runs, "--by", "search.order", "--out", folder)
            names += ["compare-curves", "sweep-effects", "sweep-parallel"]
        for name in names:
            save(Image.open(folder / f"{name}.png"), options.out / f"gallery-{name.removeprefix('report-')}.png")


if __name__ == "__main__":
    main()
