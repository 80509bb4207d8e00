"""deepsearch plan as its user runs it."""

import json
import os
import subprocess
from pathlib import Path

DEEPSEARCH = os.environ["DEEPSEARCH"]
CONFIGS = Path(__file__).parents[2] / "configs"
# The published run: Qwen2 1.5B, 256 problems of 8 trajectories up to 16k tokens, 16 H100.
PUBLISHED = ("--shape", "qwen2-1.5b", "--hardware", "h100", "--ranks", 16, "--prompt-tokens", 300)
PUBLISHED += ("--set", "ranks.learners=8", "--set", "learn.compute=bf16")


def plan(*arguments, code=0):
    report = subprocess.run(
        [DEEPSEARCH, "plan", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert report.returncode == code, f"{report.stdout}\n{report.stderr}"
    return report


def test_the_published_run_fits_and_takes_a_plausible_time(tmp_path):
    out = tmp_path / "plan.json"
    table = plan(*PUBLISHED, "--json", out).stdout
    figures = json.loads(out.read_text())
    assert figures["fits"]
    assert 1.5e9 < figures["parameters"] < 1.6e9
    # 330 GPU-hours are published; a plan knows no stragglers, no idle batches and reads common prefixes together.
    assert 20 < figures["device_hours"] < 330
    step = figures["step"]
    parts = sum(step[part] for part in ("generation", "learning", "optimizer", "gradient_sync", "broadcast"))
    assert abs(parts - step["seconds"]) < 1e-9
    assert step["generation"] > step["learning"]
    for part in ("weights, bf16", "activations of a micro-batch", "KV cache", "generation", "GPU-hours"):
        assert part in table


def test_the_shipped_config_of_the_published_run_fits_two_nodes_of_eight():
    table = plan(CONFIGS / "deepsearch-1.5b.toml", *PUBLISHED[:6], "--devices", 16, "--prompt-tokens", 300).stdout
    assert "8 search and 8 learner ranks on 16 h100" in table
    assert "50 steps" in table


def test_what_cannot_fit_is_one_line_with_the_key_to_change():
    tight = (*PUBLISHED, "--hardware-set", "memory_gb=40")
    report = plan(*tight, code=2)
    assert report.stderr.count("\n") == 1
    assert "[learn].checkpoint_activations = true would fit" in report.stderr
    plan(*tight, "--set", "learn.checkpoint_activations=true")


def test_this_machine_and_the_quickstart():
    report = plan(CONFIGS / "quickstart.toml", "--json", "-")
    figures = json.loads(report.stdout)
    assert figures["fits"]
    assert figures["memory"][0]["used"] < figures["memory"][0]["available"]
    assert "one rank that searches and learns" in plan(CONFIGS / "quickstart.toml").stdout
    assert "leaves none to search" in plan("--ranks", 2, "--set", "ranks.learners=2", code=2).stderr
    assert "--hardware abacus" in plan("--hardware", "abacus", code=2).stderr
