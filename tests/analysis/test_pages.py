"""Pages in a real browser: they load without a complaint, and folding, replay, search and links work."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import drive, needs_browser
from deepsearch_analysis.__main__ import main
from deepsearch_analysis.reader import Run
from deepsearch_analysis.tree_page import write_tree_pages
from run_maker import make_run
from tree_maker import make_large_run

REAL = Path(__file__).parent / "real_run"  # of a training run: one step, real searches with all their events


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: $DEEPSEARCH_ARTEFACTS, to keep them, else a temporary folder."""
    kept = os.environ.get("DEEPSEARCH_ARTEFACTS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def real_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with Run(REAL) as run:
        return write_tree_pages(run, ["largest"], tmp_path_factory.mktemp("page"), 20)[0]


def test_a_tree_page_is_one_file(real_page: Path) -> None:
    page = real_page.read_text()
    assert not re.findall(r'(?:src|srcset)="|<link|@import|https?://', page)
    assert page.count("<script") == 2


def test_pages_of_one_call_link_to_each_other(small_run: Path, tmp_path: Path) -> None:
    keys = ["largest", "solved"]
    assert main(["tree", str(small_run), *keys, "--out", str(tmp_path)]) == 0
    assert "tree-solved.html" in (tmp_path / "tree-largest.html").read_text()
    assert "tree-largest.html" in (tmp_path / "tree-solved.html").read_text()


def test_text_of_a_run_cannot_end_the_script(small_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_run, tmp_path / "run"))
    vocabulary = next(folder.glob("checkpoints/*/tokenizer.json"))
    vocabulary.write_text(vocabulary.read_text().replace('"+"', '"</script><b>"'))
    assert main(["tree", str(folder), "largest", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "tree-largest.html").read_text().count("</script>") == 2


@needs_browser
def test_the_replay_ends_where_the_search_did(real_page: Path, tmp_path: Path) -> None:
    """N and q that the page works out from /events are those the search stored, node by node, in every tree."""
    trees = drive(real_page, """
      const d = window.deepsearch;
      return d.data.trees.map((_, t) => {
        d.show(t);
        const m = d.model, r = m.replayed(m.last);
        let visits = 0, value = 0;
        for (let i = 0; i < m.n; ++i) {
          visits += r.visits[i] !== m.visits[i];
          value += Math.abs(r.value[i] - m.value[i]) > 1e-5;
        }
        return {nodes: m.n, events: m.events.kind.length, visits, value};
      });""", tmp_path)  # fmt: skip
    assert len(trees) > 3
    for tree in trees:
        assert tree["nodes"] > 20
        assert tree["events"] > 10
        assert (tree["visits"], tree["value"]) == (0, 0)


@needs_browser
def test_fold_replay_search_and_links_work(real_page: Path, tmp_path: Path, artefacts: Path) -> None:
    seen = drive(real_page, """
      const d = window.deepsearch, v = d.view, el = (id) => document.getElementById(id), out = {};
      d.drawNow();
      out.ready = d.ready;
      out.all = [v.visible.length, d.model.n];
      const at = (type, node) => {
        const [x, y] = v.place(node), box = v.canvas.getBoundingClientRect();
        v.canvas.dispatchEvent(new MouseEvent(type, {clientX: box.left + x, clientY: box.top + y, bubbles: true}));
      };
      at("dblclick", 0);
      out.folded = v.visible.length;
      at("dblclick", 0);
      el("close").click();
      const open = new Set([0]);
      for (const leaf of d.model.recorded) for (let i = leaf; i >= 0; i = d.model.parent[i]) open.add(i);
      out.rest = [v.visible.length, 1 + d.model.parent.filter((p) => p >= 0 && open.has(p)).length];
      el("open").click();
      out.unfolded = v.visible.length;
      el("slider").value = 3;
      el("slider").dispatchEvent(new Event("input"));
      out.replay = [v.visible.length, d.model.created.filter((c) => c <= 3).length, v.state.visits[0]];
      out.clock = el("clock").textContent;
      el("slider").value = d.model.last;
      el("slider").dispatchEvent(new Event("input"));
      out.visits = [v.state.visits[0], d.model.visits[0]];
      const word = d.model.text(1).split(" ").slice(0, 3).join(" ");
      el("search").value = word;
      el("search").dispatchEvent(new Event("input"));
      out.found = [v.matches.size, d.model.texts().filter((t) => t.includes(word)).length];
      el("search").dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"}));
      out.selected = [v.selected, Math.min(...v.matches)];
      at("click", d.model.recorded[0]);
      out.clicked = [v.selected, d.model.recorded[0]];
      out.panel = el("side").textContent;
      out.spans = el("side").querySelectorAll(".text span[title]").length;
      out.path = d.model.path(v.selected).reduce((n, p) => n + d.model.count[p], 0);
      el("tokens").value = "logprob";
      el("tokens").dispatchEvent(new Event("change"));
      out.coloured = el("side").querySelectorAll('.text span[style*="rgba"]').length;
      out.links = el("side").querySelectorAll('a[href^="#t"]').length;
      v.zoom(2, 400, 300);
      d.drawNow();
      v.fit();
      d.drawNow();
      out.drawn = v.drawn;
      return out;""", tmp_path, artefacts / "tree.png")  # fmt: skip
    assert seen["ready"]
    assert seen["all"][0] == seen["all"][1] == seen["unfolded"] == seen["drawn"]
    assert seen["folded"] == 1
    assert 1 < seen["rest"][0] == seen["rest"][1]
    assert seen["replay"][0] == seen["replay"][1] < seen["unfolded"]
    assert seen["clock"].startswith("iteration 3 of")
    assert seen["replay"][2] < seen["visits"][0] == seen["visits"][1]
    assert seen["found"][0] == seen["found"][1] > 0
    assert seen["selected"][0] == seen["selected"][1]
    assert seen["clicked"][0] == seen["clicked"][1]
    assert seen["spans"] == seen["path"] == seen["coloured"] > 5
    assert "recorded as no. 1" in seen["panel"]
    assert seen["links"] > 3
    assert (artefacts / "tree.png").stat().st_size > 10_000


@needs_browser
def test_ten_thousand_nodes_are_drawn(tmp_path: Path, artefacts: Path) -> None:
    folder = make_large_run(tmp_path / "large", parts=1, trees=1, nodes=10_000, events=True)
    with Run(folder) as run:
        page = write_tree_pages(run, ["largest"], tmp_path, 0)[0]
    script = "const d = window.deepsearch; return [d.model.n, d.view.drawn, Math.round(d.renderMs)];"
    nodes, drawn, milliseconds = drive(page, script, tmp_path, artefacts / "tree-10000.png")
    print(f"10,000 nodes drawn {milliseconds} ms after the script began")
    assert nodes == drawn == 10_000


@needs_browser
def test_report_and_sweep_load_without_a_complaint(small_report: Path, tmp_path: Path, artefacts: Path) -> None:
    whole = "return [...document.images].map((i) => i.complete && i.naturalWidth > 0);"
    images = drive(small_report / "report.html", whole, tmp_path, artefacts / "report.png")
    assert len(images) >= 8
    for seed in ("a", "b"):
        make_run(tmp_path / "sweep" / seed, steps=3, ranks=1)
    assert main(["sweep", str(tmp_path / "sweep")]) == 0
    images = drive(tmp_path / "sweep" / "sweep.html", whole, tmp_path, artefacts / "sweep.png")
    assert images == [True]


def test_advantages_follow_the_algorithm() -> None:
    """credit = node, advantage_norm = mean: tanh of q below the terminal, the reward at it, less the group's mean."""
    with Run(REAL) as run:
        tree = run.tree("largest")
        advantages = tree.advantages(run.config)
        assert advantages is not None
        rewards = tree.recorded_columns["reward"]
        for leaf, reward in zip(tree.recorded, rewards, strict=True):
            path = tree.path_to(int(leaf))
            assert advantages[leaf] == pytest.approx(reward - rewards.mean())
            assert advantages[path[0]] == pytest.approx(np.tanh(tree.value[path[0]]) - rewards.mean())
        unused = np.setdiff1d(np.arange(len(tree)), np.concatenate([tree.path_to(int(x)) for x in tree.recorded]))
        assert np.isnan(advantages[unused]).all()
        assert tree.advantages({"learn": {"credit": "edge"}}) is None
        assert tree.advantages({"learn": {"overlong_penalty": 1.0}}) is None
