#!/usr/bin/env python3
"""Compares our model folders and network with transformers, in both directions.

    model_oracle.py --test-binary build/.../test_network

1. The binary writes folders (every family; fp32 and bf16; whole and sharded); each must open with AutoModelForCausalLM
   (and AutoTokenizer where it holds a tokenizer) without a key too many or too few, and give the recorded logits.
2. transformers saves random models of every family, tiny and of about 0.1 billion parameters; the binary must load them
   and find transformers' logits and rotary frequencies.

Logits are compared in fp32 to 2e-4: both sides sum in different orders, and the logits are up to about 10. Needs torch,
transformers and tokenizers; never touches the network. Exit code 0: all agree; 1: not.
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

TOLERANCE = 2e-4
N_CASES_WRITTEN = 15  # oracle_cases() of tests/learn/network/oracle_test.cpp

FAMILIES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
}
TINY = {
    "vocab_size": 31,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LARGE = {  # about 0.1 billion parameters
    "vocab_size": 32000,
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 9,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
    "initializer_range": 0.05,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e4,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN_GIVEN = {
    **YARN,
    "factor": 3.0,
    "attention_factor": 1.2,
    "beta_fast": 4.0,
    "beta_slow": 0.5,
    "truncate": False,
}
YARN_DEEPSEEK = {**YARN, "mscale": 1.0, "mscale_all_dim": 0.5}

# name: (family, changes of the shape, options)
THEIRS = {
    "plain": ("llama", {}, {}),
    "grouped": (
        "llama",
        {"num_key_value_heads": 2, "rope_theta": 5e5, "rms_norm_eps": 1e-5},
        {},
    ),
    "tied": (
        "llama",
        {"num_key_value_heads": 1, "tie_word_embeddings": True, "eos_token_id": [2, 4]},
        {},
    ),
    "wide": ("llama", {"head_dim": 14, "pad_token_id": 0, "bos_token_id": None}, {}),
    "biased": ("llama", {"attention_bias": True}, {"shard": "9KB"}),
    "linear": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
        {},
    ),
    "llama3": ("llama", {"rope_parameters": LLAMA3, "num_key_value_heads": 2}, {}),
    "yarn": ("llama", {"rope_parameters": YARN}, {}),
    "yarn_given": ("qwen3", {"rope_parameters": YARN_GIVEN, "head_dim": 16}, {}),
    "yarn_deepseek": ("llama", {"rope_parameters": YARN_DEEPSEEK}, {}),
    "bf16": ("llama", {"num_key_value_heads": 2}, {"dtype": torch.bfloat16}),
    "fp16": ("qwen2", {"num_key_value_heads": 2}, {"dtype": torch.float16}),
    "sharded": (
        "qwen3",
        {"head_dim": 12, "tie_word_embeddings": True},
        {"shard": "9KB", "dtype": torch.bfloat16},
    ),
    "qwen2": ("qwen2", {"num_key_value_heads": 2, "max_window_layers": 1}, {}),
    "qwen2_tied": (
        "qwen2",
        {"num_key_value_heads": 1, "tie_word_embeddings": True},
        {},
    ),
    "qwen2_yarn": ("qwen2", {"rope_parameters": YARN}, {}),
    "qwen3": ("qwen3", {"num_key_value_heads": 2, "head_dim": 12}, {}),
    "qwen3_biased": (
        "qwen3",
        {"head_dim": 8, "attention_bias": True, "tie_word_embeddings": True},
        {},
    ),
    "version4": ("llama", {"rope_parameters": LLAMA3}, {"old_keys": True}),
    "large_llama": (
        "llama",
        {
            **LARGE,
            "rope_parameters": {**LLAMA3, "original_max_position_embeddings": 1024},
        },
        {},
    ),
    "large_qwen2": (
        "qwen2",
        {**LARGE, "tie_word_embeddings": True},
        {"dtype": torch.bfloat16, "shard": "60MB"},
    ),
    "large_qwen3": (
        "qwen3",
        {**LARGE, "head_dim": 128, "tie_word_embeddings": True},
        {"dtype": torch.float16},
    ),
}


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
    ours = json.loads((folder / "config.json").read_text())
    stored = transformers.AutoModelForCausalLM.from_pretrained(folder)
    errors = []
    if str(stored.dtype) != f"torch.{ours['dtype']}":
        errors.append(f"dtype is {stored.dtype}, config.json says {ours['dtype']}")
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    model.eval()
    errors += [f"{key}: {report[key]}" for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[key]]
    rows = json.loads((folder / "tokens.json").read_text())
    worst = worst_difference(logits_of(model, rows), json.loads((folder / "logits.json").read_text()))
    if not worst <= TOLERANCE:
        errors.append(f"logits differ by {worst}")
    errors += check_config(ours, model.config.to_dict())
    if model.generation_config.eos_token_id != ours["eos_token_id"]:
        errors.append(f"generation config: eos is {model.generation_config.eos_token_id}")
    with_tokenizer = ""
    if (folder / "tokenizer.json").exists():
        errors += check_tokenizer(folder, ours)
        with_tokenizer = ", tokenizer opens"
    print(f"written {folder.name}: {type(model).__name__}, max |difference| of logits {worst:.3g}{with_tokenizer}")
    return errors


def check_config(ours, theirs):
    errors = []
    for key in (
        "eos_token_id",
        "bos_token_id",
        "pad_token_id",
        "head_dim",
        "tie_word_embeddings",
        "rms_norm_eps",
    ):
        if theirs[key] != ours[key]:
            errors.append(f"config {key}: wrote {ours[key]}, transformers reads {theirs[key]}")
    rope = theirs.get("rope_parameters") or {
        "rope_theta": theirs.get("rope_theta"),
        **(theirs["rope_scaling"] or {}),
    }
    for key, value in ours["rope_parameters"].items():
        if rope.get(key) != value:
            errors.append(f"config {key}: wrote {value}, transformers reads {rope.get(key)}")
    return errors


def check_tokenizer(folder, ours):
    errors = []
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = "w3 w1 w7"
    ids = tokenizer(text)["input_ids"]
    if ids != [3, 1, 7] or tokenizer.decode(ids) != text:
        errors.append(f"tokenizer: {text!r} became {ids} and {tokenizer.decode(ids)!r}")
    if tokenizer.eos_token_id not in (
        ours["eos_token_id"],
        *_as_list(ours["eos_token_id"]),
    ):
        errors.append(f"tokenizer: eos is {tokenizer.eos_token_id}, config says {ours['eos_token_id']}")
    return errors


def _as_list(value):
    return value if isinstance(value, list) else [value]


def write_theirs(folder, seed, family, shape, dtype=torch.float32, shard="5GB", old_keys=False):
    """A random model saved by transformers, with tokens, logits and rotary frequencies beside it.

    The logits are those of the saved values, computed in fp32. Biases and norms start as zeros and ones, which would
    hide mistakes, so they are drawn too. `old_keys`: config.json as transformers 4 writes it.
    """
    torch.manual_seed(seed)
    make_config, make_model = FAMILIES[family]
    config = make_config(**{**TINY, **shape})
    model = make_model(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.normal_(0.0, 0.2)
            elif parameter.dim() == 1:
                parameter.normal_(1.0, 0.2)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    n_files = len(list(folder.glob("*.safetensors")))
    if (n_files > 1) != (shard != "5GB"):
        sys.exit(f"{folder.name}: {n_files} weight files")
    if old_keys:
        document = json.loads((folder / "config.json").read_text())
        rope = document.pop("rope_parameters")
        document["rope_theta"] = rope.pop("rope_theta")
        document["rope_scaling"] = rope
        document["torch_dtype"] = document.pop("dtype")
        (folder / "config.json").write_text(json.dumps(document))
    model = make_model.from_pretrained(folder, dtype=torch.float32).eval()
    lengths = (5, 1) if config.vocab_size > 1000 else (1, 13, 64)
    rows = [torch.randint(0, config.vocab_size, (length,)).tolist() for length in lengths]
    (folder / "tokens.json").write_text(json.dumps(rows))
    (folder / "logits.json").write_text(json.dumps(logits_of(model, rows)))
    rotary = model.model.rotary_emb
    frequencies = {
        "inverse": rotary.inv_freq.tolist(),
        "attention_factor": float(rotary.attention_scaling),
    }
    (folder / "rope.json").write_text(json.dumps(frequencies))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test-binary", required=True, type=Path, help="the program test_network")
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

        for seed, (name, (family, shape, options)) in enumerate(THEIRS.items()):
            write_theirs(theirs / name, seed, family, shape, **options)
        run_binary(binary, "ModelOracle.ReadsFolders", DEEPSEARCH_ORACLE_IN=str(theirs))

    for error in errors:
        print(f"FAILED {error}", file=sys.stderr)
    print("all agree" if not errors else f"{len(errors)} disagreement(s)")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
