"""A soak: the run's coordinator and search ranks as real processes over simulated engines, for thousands of steps of
tiny trees. Memory and open files stay flat, and every message sent is received.

SOAK_HOURS is the cluster time to simulate (default 0.75; 6 in about two minutes and a half).
"""

import json
import os
import subprocess
import time
from pathlib import Path

from whole_runs import DEEPSEARCH, launched, sets

HOURS = float(os.environ.get("SOAK_HOURS", "0.75"))
STEP_SECONDS = 20  # simulated, about
SCALE = 0.006
SEARCH_RANKS = 2
SETTINGS = {
    "cluster.search_ranks": SEARCH_RANKS,
    "cluster.problems": 16,
    "cluster.steps": max(20, round(HOURS * 3600 / STEP_SECONDS)),
    "workload.median_tokens": 300,
    "workload.token_scale": 64,
    "search.width": 4,
    "search.trajectories": 4,
    "real.time_scale": SCALE,
}


def soaking(marker):
    """Process ids of the ranks: those of the program whose command line names `marker`."""
    pids = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].decode() == DEEPSEARCH and marker.encode() in words:
            pids.append(int(folder.name))
    return sorted(pids)


def sample(pid):
    """Resident memory in MB and open files, or None when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024, files
    return None


def run_and_sample(out):
    settings = sets(*(f"{key}={value}" for key, value in SETTINGS.items()))
    words = launched(SEARCH_RANKS + 1, "simulate", "--real", "--only-sharing", "--json", out, *settings)
    series = {}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as job:
        while job.poll() is None:
            for pid in soaking(str(out)):
                if one := sample(pid):
                    series.setdefault(pid, []).append(one)
            time.sleep(0.25)
        output = job.stdout.read()
    assert job.returncode == 0, output
    return series, output


def test_memory_files_and_messages_stay_flat(tmp_path):
    out = tmp_path / "soak.json"
    series, output = run_and_sample(out)
    figures = json.loads(out.read_text())
    real = figures["figures"]["sharing, real"]
    print(output)
    print(f"{real['step_seconds'] * figures['steps'] / 3600:.2f} hours of cluster time, {figures['steps']} steps")
    assert len(series) == SEARCH_RANKS + 1
    for samples in series.values():
        # From a third of the time on, when every pool has its size, to the last sample but those of the end.
        settled = samples[len(samples) // 3 : -4]
        first, last = settled[0], settled[-1]
        print(f"{len(samples)} samples: {first[0]:.1f} -> {last[0]:.1f} MB, {first[1]} -> {last[1]} files")
        assert len(settled) > 10
        assert last[0] - first[0] < 3, "memory grows"
        assert last[1] == first[1], "open files grow"
    sent, received = real["messages"], real["messages_received"]
    print(f"{sent * figures['steps']:.0f} messages sent, {received * figures['steps']:.0f} received")
    assert sent == received
    simulated = figures["figures"]["sharing"]["messages"]
    assert 0.5 < real["messages"] / simulated < 3  # heartbeats and reports come on top
