"""Pages in headless Chromium: loaded from file://, driven by a script inside the page, read back as JSON.

No driver protocol is needed: a copy of the page gets a head script that collects errors and a tail script that acts on
it through real DOM events and leaves its results in an element, which --dump-dom prints.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium: jobs/setup.sh --with-browser installs Debian's"
)

COLLECT = """<script>
window.problems = [];
window.addEventListener("error", (e) => problems.push("error: " + e.message));
window.addEventListener("unhandledrejection", (e) => problems.push("rejection: " + e.reason));
for (const name of ["error", "warn"]) console[name] = (...words) => problems.push(name + ": " + words.join(" "));
</script>"""
FINISH = """<script>
(() => {
  let results = null;
  try { results = (() => { %s })(); } catch (error) { problems.push("test: " + error.stack); }
  const out = document.createElement("pre");
  out.id = "test-results";
  out.hidden = true;
  out.textContent = JSON.stringify({problems, results});
  document.body.append(out);
})();
</script>"""


def _chromium(page: Path, profile: Path, *options: str) -> str:
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--disable-extensions", "--disable-background-networking", "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={profile}", "--window-size=1400,900", *options, page.resolve().as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def drive(page: Path, script: str, folder: Path, screenshot: Path | None = None) -> Any:  # noqa: ANN401 (JSON)
    """Runs `script` (a function's body) in a copy of the page; its return value. Errors in the page fail the test."""
    text = page.read_text(encoding="utf-8")
    text = text.replace("<head>", "<head>" + COLLECT, 1)
    text = text.replace("</body>", FINISH % script + "</body>", 1) if "</body>" in text else text + FINISH % script
    driven = folder / f"driven-{page.name}"
    driven.write_text(text, encoding="utf-8")
    options = ["--dump-dom"]
    if screenshot is not None:
        options.append(f"--screenshot={screenshot.resolve()}")
    dom = _chromium(driven, folder / "profile", *options)
    found = re.search(r'<pre id="test-results" hidden="">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[-2000:]
    answer = json.loads(html.unescape(found.group(1)))
    assert answer["problems"] == []
    return answer["results"]
