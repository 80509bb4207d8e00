#!/usr/bin/env python3
"""Compares our model folders and network with transformers, in both directions.

    model_oracle.py --test-binary build/.../test_model

1. The binary writes folders; each must open with AutoModelForCausalLM (and AutoTokenizer where it holds a tokenizer)
   and give the recorded logits to 1e-4.
2. transformers saves random Llama models; the binary must load them and find transformers' logits to 1e-4.

Needs torch, transformers and tokenizers; never touches the network. Exit code 0: all agree; 1: not.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch  # noqa: E402
import transformers  # noqa: E402

TOLERANCE = 1e-4
N_CASES_WRITTEN = 5  # oracle_shapes() of tests/model/oracle_test.cpp


def run_binary(binary, test, **environment):
    """Runs one case of the test binary; a skipped or failed one is an error."""
    report = subprocess.run(
        [binary, f"--gtest_filter={test}"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    for line in report.stdout.splitlines():
        if line.startswith("read "):
            print(line)
    if report.returncode != 0 or "[  PASSED  ] 1 test" not in report.stdout:
        sys.exit(f"{test} of {binary} did not pass:\n{report.stdout}{report.stderr}")


def logits_of(model, rows):
    with torch.no_grad():
        return [model(input_ids=torch.tensor([row])).logits[0].tolist() for row in rows]


def worst_difference(found, expected):
    worst = 0.0
    for found_row, expected_row in zip(found, expected, strict=True):
        difference = (torch.tensor(found_row) - torch.tensor(expected_row)).abs().max().item()
        worst = math.nan if math.isnan(difference) else max(worst, difference)
    return worst


def check_written(folder):
    """Errors (as text) in one folder that the binary wrote."""
    model, report = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    model.eval()
    rows = json.loads((folder / "tokens.json").read_text())
    worst = worst_difference(logits_of(model, rows), json.loads((folder / "logits.json").read_text()))
    errors = [f"{key}: {report[key]}" for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[key]]
    if not worst <= TOLERANCE:
        errors.append(f"logits differ by {worst}")
    if model.dtype != torch.float32:
        errors.append(f"dtype is {model.dtype}")
    ours = json.loads((folder / "config.json").read_text())
    theirs = model.config.to_dict()
    for key in ("eos_token_id", "bos_token_id", "pad_token_id", "head_dim", "tie_word_embeddings", "rms_norm_eps"):
        if theirs[key] != ours[key]:
            errors.append(f"config {key}: wrote {ours[key]}, transformers reads {theirs[key]}")
    theta = theirs.get("rope_theta") or (theirs.get("rope_parameters") or {}).get("rope_theta")
    if theta != ours["rope_theta"]:
        errors.append(f"config rope_theta: wrote {ours['rope_theta']}, transformers reads {theta}")
    with_tokenizer = ""
    if (folder / "tokenizer.json").exists():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        text = "w3 w1 w7"
        ids = tokenizer(text)["input_ids"]
        if ids != [3, 1, 7] or tokenizer.decode(ids) != text:
            errors.append(f"tokenizer: {text!r} became {ids} and {tokenizer.decode(ids)!r}")
        if tokenizer.eos_token_id not in (ours["eos_token_id"], *_as_list(ours["eos_token_id"])):
            errors.append(f"tokenizer: eos is {tokenizer.eos_token_id}, config says {ours['eos_token_id']}")
        with_tokenizer = ", tokenizer opens"
    print(f"written {folder.name}: max |difference| of logits {worst:.3g}{with_tokenizer}")
    return errors


def _as_list(value):
    return value if isinstance(value, list) else [value]


def write_theirs(folder, seed, **shape):
    """A random model saved by transformers, with tokens and logits beside it."""
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=31,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.3,
        **shape,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    rows = [torch.randint(0, 31, (length,)).tolist() for length in (1, 13, 64)]
    (folder / "tokens.json").write_text(json.dumps(rows))
    (folder / "logits.json").write_text(json.dumps(logits_of(model, rows)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test-binary", required=True, type=Path, help="the program test_model")
    binary = str(parser.parse_args().test_binary.resolve())
    torch.set_num_threads(1)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, tolerance {TOLERANCE}")

    errors = []
    with tempfile.TemporaryDirectory(prefix="deepsearch-oracle-") as work:
        ours, theirs = Path(work, "ours"), Path(work, "theirs")
        run_binary(binary, "ModelOracle.WritesFolders", DEEPSEARCH_ORACLE_OUT=str(ours))
        folders = sorted(ours.glob("case*"))
        if len(folders) != N_CASES_WRITTEN:
            errors.append(f"the binary wrote {len(folders)} folders, expected {N_CASES_WRITTEN}")
        for folder in folders:
            errors += [f"{folder.name}: {error}" for error in check_written(folder)]

        write_theirs(theirs / "plain", 1)
        write_theirs(theirs / "grouped", 2, num_key_value_heads=2, rope_theta=5e5, rms_norm_eps=1e-5)
        write_theirs(theirs / "tied", 3, num_key_value_heads=1, tie_word_embeddings=True, eos_token_id=[2, 4])
        write_theirs(theirs / "wide", 4, head_dim=14, pad_token_id=0, bos_token_id=None)
        run_binary(binary, "ModelOracle.ReadsFolders", DEEPSEARCH_ORACLE_IN=str(theirs))

    for error in errors:
        print(f"FAILED {error}", file=sys.stderr)
    print("all agree" if not errors else f"{len(errors)} disagreement(s)")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
