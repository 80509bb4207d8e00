"""Measures our engine on one CPU core beside PyPI's transformers, CTranslate2 and llama.cpp: tokens a second.

    side_by_side.py --binary build/release/src/deepsearch [--models m1,m2] [--precisions fp32,int8]
                    [--peers transformers,ctranslate2,llama.cpp] [--core N] [--repetitions 3] [--work DIR] [--json FILE]

The peers: a Python environment with jobs/requirements/peers.txt (llama.cpp is compiled then, for this processor), torch
as for the other oracles:

    python3 -m venv ENV && CMAKE_ARGS=-DGGML_NATIVE=ON ENV/bin/pip install -r jobs/requirements/peers.txt
    PYTHONPATH=~/.cache/deepsearch/libtorch-2.11.0 ENV/bin/python tests/peers/side_by_side.py --binary ...

A peer that is not installed is left out, and that is said.

Models (Llama, random weights; peer_models.py writes them): m1 has 4 layers of 128 and 64 tokens, m2 8 layers of 512 and
32,000 tokens. Before a peer's figures count, its log-probabilities of the next token must be those of transformers.
Ours are held to transformers by tests/oracle/model_oracle.py and engine_oracle.py.

  batch N  N different prompts of 64 random tokens, 128 new tokens each, sampled at temperature 1 from all of the
           vocabulary, no end of sequence. New tokens over the whole time, prompts included, loading not.
  prefix   (m1) 64 continuations of 64 tokens of one prompt of 512, whose computation may be shared: transformers gets
           a repeated cache, CTranslate2 as many hypotheses, llama.cpp copied sequences of a unified cache.

One process after the other, each pinned to the same core, one thread; the first run of each measurement warms up, of
the rest the median counts. transformers is driven by generate(); llama.cpp by llama_decode over all sequences at once,
tokens drawn in NumPy, so that its Python side costs little. It is measured with an fp32 KV cache and with flash
attention over an fp16 one (its default), and the faster counts; all others keep fp32. int8: weights of 8 bits;
CTranslate2 and llama.cpp (Q8_0) also round activations to 8 bits, we do not.
It takes a quarter of an hour for each model; each precision's table and figures come out when they are there.
Exit code 0: measured; 1: a peer computes something else; 2: nothing to measure.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from peer_models import SHAPES, make_models

MODULES = {
    "transformers": ("transformers", "torch"),
    "ctranslate2": ("ctranslate2",),
    "llama.cpp": ("llama_cpp", "gguf"),
}
PRECISIONS = {"transformers": ("fp32",), "ctranslate2": ("fp32", "int8"), "llama.cpp": ("fp32", "int8")}
CONTEXT, NEW_TOKENS = 64, 128
PREFIX = {"tokens": 512, "children": 64, "new_tokens": 64}
PREFIX_TOKENS = PREFIX["children"] * PREFIX["new_tokens"]
PREFIX_MODELS = ("m1",)

# Root mean square, over the vocabulary, of the difference of log-probabilities from transformers' in fp32. fp32: sums
# in another order (seen: 3e-6; 1.1 where queries and keys are not permuted for GGUF). int8: rounding (seen: 0.04 for
# blocks of weights, 0.10 for whole rows; a prompt of one token less makes 0.3).
TOLERANCE = {"fp32": 1e-4, "int8": 0.15}

OURS = "deepsearch"
BUSY = 0.95  # below this share of its core, a process' figures are marked


class Pinned:
    """Runs commands on one core, one after the other, and sees how much of that core each one got."""

    def __init__(self, core: int) -> None:
        self.core = core
        single = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        self.environment = os.environ | dict.fromkeys(single, "1")
        self.environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}

    def run(self, command: list[str | Path]) -> float:
        """The share of the core. Raises CalledProcessError with the command's output."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        done = subprocess.run(
            ["taskset", "-c", str(self.core), *map(str, command)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seconds = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != 0:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout)
        return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / seconds


def measure_ours(pinned: Pinned, binary: Path, name: str, model: Path, precision: str, repetitions: int) -> dict:
    """{"rates": {column: tokens a second}, "core": share of the core}."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        common = ["--model", model, "--device", "cpu", "--dtype", precision, "--threads", "1"]
        common += ["--repetitions", repetitions, "--json", report]
        batches = SHAPES[name].batches
        sizes = ["--context", CONTEXT, "--new-tokens", NEW_TOKENS, "--batches", ",".join(map(str, batches))]
        core = pinned.run([binary, "bench", "decode", *common, *sizes])
        rows = json.loads(report.read_text(encoding="utf-8"))
        rates = {f"batch {row['batch']}": row["whole_tokens_per_second"] for row in rows}
        if name in PREFIX_MODELS:
            sizes = ["--prefix", PREFIX["tokens"], "--children", PREFIX["children"]]
            sizes += ["--new-tokens", PREFIX["new_tokens"]]
            core = min(core, pinned.run([binary, "bench", "prefix", *common, *sizes]))
            rates["prefix"] = PREFIX_TOKENS / prefix_seconds(json.loads(report.read_text(encoding="utf-8")))
    return {"rates": rates, "core": core}


def prefix_seconds(report: dict | list) -> float:
    return (report[0] if isinstance(report, list) else report)["shared_seconds"]


def measure_peer(
    pinned: Pinned, peer: str, name: str, model: Path, repetitions: int, only_logprobs: bool = False
) -> dict:
    job = {"peer": peer, "model": str(model), "vocab": SHAPES[name].vocab, "context": CONTEXT, "new_tokens": NEW_TOKENS}
    job |= {"repetitions": repetitions, "batches": [] if only_logprobs else SHAPES[name].batches}
    if name in PREFIX_MODELS and not only_logprobs:
        job["prefix"] = PREFIX
    with tempfile.TemporaryDirectory() as folder:
        order, answer = Path(folder) / "job.json", Path(folder) / "result.json"
        order.write_text(json.dumps(job), encoding="utf-8")
        core = pinned.run([sys.executable, Path(__file__).parent / "peer_runs.py", order, answer])
        result = json.loads(answer.read_text(encoding="utf-8"))
    rates, variants = {}, {}
    for column, figure in result["figures"].items():
        n_tokens = PREFIX_TOKENS if column == "prefix" else int(column.removeprefix("batch ")) * NEW_TOKENS
        rates[column] = n_tokens / figure["seconds"]
        variants[column] = figure["variant"]
    return {
        "rates": rates,
        "variants": variants,
        "core": core,
        "version": result["version"],
        "logprobs": np.array(result["logprobs"]),
    }


def print_table(title: str, columns: list[str], figures: dict[str, dict]) -> dict[str, float]:
    """Returns our ratio to the best peer by column."""
    print(f"\n{title}: new tokens a second\n")
    print(f"{'':<24}" + "".join(f"{column:>12}" for column in columns))
    for engine, found in figures.items():
        label = f"{engine} {found.get('version', '')}".rstrip() + ("" if found["core"] >= BUSY else " *")
        print(f"{label:<24}" + "".join(f"{found['rates'][column]:>12.0f}" for column in columns))
    peers = [found["rates"] for engine, found in figures.items() if engine != OURS]
    if not peers:
        return {}
    ratios = {column: figures[OURS]["rates"][column] / max(rates[column] for rates in peers) for column in columns}
    print(f"{'ours / best peer':<24}" + "".join(f"{ratios[column]:>11.2f}x" for column in columns))
    shared = min(found["core"] for found in figures.values())
    if shared < BUSY:
        print(
            f"* shared its core with other processes (had {100 * shared:.0f} % of it or more): measure again when quiet"
        )
    return ratios


def measure_model(args: argparse.Namespace, pinned: Pinned, name: str, peers: list[str], report: dict) -> list[str]:
    """Adds each precision to `report` and saves that when measured. Returns what is wrong."""
    paths = make_models(args.work, name, args.precisions, peers)
    truth = measure_peer(pinned, "transformers", name, paths["hf"], 1, only_logprobs=True)["logprobs"]
    columns = [f"batch {batch}" for batch in SHAPES[name].batches] + (["prefix"] if name in PREFIX_MODELS else [])
    problems = []
    for precision in args.precisions:
        load = os.getloadavg()[0]
        figures = {OURS: measure_ours(pinned, args.binary, name, paths["hf"], precision, args.repetitions)}
        for peer in peers:
            if precision not in PRECISIONS[peer]:
                continue
            path = paths["hf"] if peer == "transformers" else paths[f"{peer}-{precision}"]
            found = measure_peer(pinned, peer, name, path, args.repetitions)
            found["difference"] = float(np.sqrt(np.mean((found.pop("logprobs") - truth) ** 2)))
            if found["difference"] > TOLERANCE[precision]:
                problems.append(
                    f"{name} {precision}: log-probabilities of {peer} differ from transformers' by "
                    f"{found['difference']:.2g} (root mean square), tolerance {TOLERANCE[precision]}"
                )
            figures[peer] = found
        ratios = print_table(f"{name}, {precision}", columns, figures)
        measured = {"engines": figures, "ours_to_best_peer": ratios, "load_average_before": load}
        report["models"].setdefault(name, {})[precision] = measured
        if args.json:
            args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return problems


def installed_peers(wanted: list[str]) -> list[str]:
    found = []
    for peer in wanted:
        missing = [module for module in MODULES[peer] if importlib.util.find_spec(module) is None]
        if missing:
            print(f"{peer} is left out: no Python module {' nor '.join(missing)} (jobs/requirements/peers.txt)")
        else:
            found.append(peer)
    return found


def one_of(known: tuple[str, ...]) -> object:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: unknown; there are {', '.join(known)}")
        return names

    return parse


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="our deepsearch")
    parser.add_argument("--models", type=one_of(tuple(SHAPES)), default=list(SHAPES))
    parser.add_argument("--precisions", type=one_of(tuple(TOLERANCE)), default=list(TOLERANCE))
    parser.add_argument("--peers", type=one_of(tuple(MODULES)), default=list(MODULES))
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the one to run on")
    parser.add_argument("--repetitions", type=int, default=3, help="the median counts")
    parser.add_argument("--work", type=Path, help="keep the models here, for the next time")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    sys.stdout.reconfigure(line_buffering=True)  # a table appears when measured, in a file too
    peers = installed_peers(args.peers)
    if missing := [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]:
        print(f"the models are made with {' and '.join(missing)}, not installed: nothing to measure")
        return 2
    report, problems = {"core": args.core, "models": {}}, []
    with tempfile.TemporaryDirectory() as folder:
        args.work = args.work or Path(folder)
        pinned = Pinned(args.core)
        try:
            for name in args.models:
                problems += measure_model(args, pinned, name, peers, report)
        except subprocess.CalledProcessError as error:
            print(f"{' '.join(map(str, error.cmd))} failed ({error.returncode}):\n{error.output}", file=sys.stderr)
            return 1
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
