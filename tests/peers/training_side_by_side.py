"""Measures our training on one CPU core beside PyTorch's eager Llama and TRL's GRPOTrainer: processor seconds a step.

    training_side_by_side.py --binary build/release/src/deepsearch [--models m1,m2] [--measures rows,prefix,step]
                             [--core N] [--repetitions 3] [--json FILE]

The peers: a Python environment with both requirement files, torch as for the other oracles:

    python3 -m venv ENV && ENV/bin/pip install -r jobs/requirements/peers.txt
    ENV/bin/pip install --no-deps -r jobs/requirements/peers-train.txt
    PYTHONPATH=~/.cache/deepsearch/libtorch-2.11.0 ENV/bin/python tests/peers/training_side_by_side.py --binary ...

What is not installed is left out, and that is said. Models: those of side_by_side.py, random weights, fp32.

  rows    a training step on 32 rows of 192 random tokens. PyTorch: transformers' Llama, scaled_dot_product_attention,
          cross-entropy, gradient clipping, torch.optim.AdamW, as it is and fused, of which the faster counts. Ours: the
          whole policy-gradient update with its statistics.
  prefix  8 rows of 192 tokens whose first 96, a prompt, are the same. PyTorch trains on the rows as they are, and on
          the prefix once with a dense mask over all tokens; ours packs them.
  step    (m1) a whole GRPO step: 8 prompts of 16 tokens, 8 samples of 128 tokens each, one update. TRL's GRPOTrainer
          with transformers' generate() and a constant reward, no vLLM.

One process after the other, each pinned to the same core, one thread; the first step warms up, of the rest the median
counts. Seconds are of processor time, which other work on the machine spoils least; each process has one thread.
PyTorch computes logits where a token is predicted only, as we do. Peak memory is the process', its libraries
included. Exit code 0: measured; 1: a peer failed; 2: nothing to measure.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from peer_models import SHAPES
from side_by_side import BUSY, Pinned, one_of

MEASURES = ("rows", "prefix", "step")
STEP_MODELS = ("m1",)
MODULES = {"rows": ("torch", "transformers"), "prefix": ("torch", "transformers"), "step": ("torch", "trl", "datasets")}
OURS = "deepsearch"


def job_of(measure: str, model: str, repetitions: int) -> dict:
    shape = SHAPES[model]
    names = ("layers", "hidden", "heads", "intermediate", "vocab")
    job = {"repetitions": repetitions, "shape": {name: getattr(shape, name) for name in names}}
    if measure == "step":
        return job | {"kind": "grpo", "prompts": 8, "samples": 8, "prompt": 16, "new_tokens": 128}
    if measure == "rows":
        return job | {"kind": "rows", "rows": 32, "length": 192, "prompt": 1}
    return job | {"kind": "tree", "rows": 8, "length": 192, "prompt": 96}


def measure_ours(pinned: Pinned, binary: Path, measure: str, model: str, repetitions: int) -> dict[str, dict]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--shape", model, "--cases", measure, "--repetitions", repetitions, "--json", report]
        core = pinned.run([binary, "bench", "learn", *options, "--threads", "1"])
        (found,) = json.loads(report.read_text(encoding="utf-8"))
    if measure == "step":
        return {OURS: {"seconds": found["cpu_seconds"], "peak_bytes": found["peak_bytes"], "core": core}}
    figures = {}
    for name, label in (("packed", OURS), ("unpacked", f"{OURS}, unpacked")):
        figures[label] = {"seconds": found[name]["cpu_seconds"], "peak_bytes": found[name]["peak_bytes"], "core": core}
    return figures


def measure_peer(pinned: Pinned, measure: str, model: str, repetitions: int) -> dict[str, dict]:
    with tempfile.TemporaryDirectory() as folder:
        order, answer = Path(folder) / "job.json", Path(folder) / "result.json"
        order.write_text(json.dumps(job_of(measure, model, repetitions)), encoding="utf-8")
        core = pinned.run([sys.executable, Path(__file__).parent / "peer_train_runs.py", order, answer])
        found = json.loads(answer.read_text(encoding="utf-8"))
    common = {"peak_bytes": found["peak_bytes"], "core": core}
    return {f"{found['version']}, {name}": {"seconds": value} | common for name, value in found["seconds"].items()}


def print_table(title: str, figures: dict[str, dict]) -> float | None:
    """Returns the best peer's seconds over ours."""
    print(f"\n{title}\n")
    for name, found in figures.items():
        mark = "" if found["core"] >= BUSY else f"   * had {100 * found['core']:.0f} % of its core"
        print(f"{name:<32} {found['seconds']:>9.3f} s {found['peak_bytes'] / 1e6:>8.0f} MB{mark}")
    peers = [found["seconds"] for name, found in figures.items() if not name.startswith(OURS)]
    if not peers:
        return None
    ratio = min(peers) / figures[OURS]["seconds"]
    print(f"{'best peer / ours':<32} {ratio:>9.2f}x")
    return ratio


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="our deepsearch")
    parser.add_argument("--models", type=one_of(tuple(SHAPES)), default=list(SHAPES))
    parser.add_argument("--measures", type=one_of(MEASURES), default=list(MEASURES))
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the one to run on")
    parser.add_argument("--repetitions", type=int, default=3, help="the median counts")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    sys.stdout.reconfigure(line_buffering=True)
    pinned, report = Pinned(args.core), {"core": args.core, "measures": []}
    try:
        for measure in args.measures:
            missing = [name for name in MODULES[measure] if importlib.util.find_spec(name) is None]
            if missing:
                print(f"{measure}: no peer, for there is no Python module {' nor '.join(missing)}")
            for model in args.models:
                if measure == "step" and model not in STEP_MODELS:
                    continue
                load = os.getloadavg()[0]
                figures = measure_ours(pinned, args.binary, measure, model, args.repetitions)
                if not missing:
                    figures |= measure_peer(pinned, measure, model, args.repetitions)
                ratio = print_table(f"{measure}, {model}", figures)
                entry = {"measure": measure, "model": model, "figures": figures, "best_peer_to_ours": ratio}
                report["measures"].append(entry | {"load_average_before": load})
                if args.json:
                    args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(map(str, error.cmd))} failed ({error.returncode}):\n{error.output}", file=sys.stderr)
        return 1
    return 0 if report["measures"] else 2


if __name__ == "__main__":
    sys.exit(main())
