"""Checks tokenizer.json of the embedded tasks against PyPI's `tokenizers` and `transformers`.

    tokenizer_oracle.py --test-binary build/.../test_data
    tokenizer_oracle.py DIR

The binary writes such a DIR when DEEPSEARCH_ORACLE_OUT names it. It holds a folder a task: tokenizer.json,
tokenizer_config.json and samples.jsonl, whose lines are either {"text", "ids", "decoded"} as our program sees them, or
{"text", "refused": true} where it refuses the text.
Exit code 0: all the same; 1: a difference; 2: nothing to check.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import tokenizers


def refuses(tokenizer: tokenizers.Tokenizer, text: str) -> bool:
    try:
        tokenizer.encode(text)
    except Exception:  # the package raises a bare Exception
        return True
    return False


def check_folder(folder: Path) -> list[str]:
    """The differences between our tokenizer and the packages', one line each."""
    from transformers import AutoTokenizer

    bare = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    wrapped = AutoTokenizer.from_pretrained(str(folder))
    pad, eos = wrapped.pad_token_id, wrapped.eos_token_id
    problems = []
    if pad != 0 or wrapped.eos_token != ".":
        problems.append(f"{folder}: pad is {pad}, end of sequence is {wrapped.eos_token!r} ({eos})")

    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    samples = [json.loads(line) for line in lines]
    accepted = [sample for sample in samples if not sample.get("refused")]
    if len(accepted) < 10 or len(accepted) == len(samples):
        problems.append(
            f"{folder}: {len(accepted)} of {len(samples)} samples are texts to encode: too few, or none to refuse"
        )
    for sample in samples:
        text = sample["text"]
        if sample.get("refused"):
            if not refuses(bare, text):
                problems.append(f"{folder}: {text!r} is encoded as {bare.encode(text).ids}, we refuse it")
            continue
        ids, decoded = sample["ids"], sample["decoded"]
        seen = {
            "tokenizers encodes": (bare.encode(text).ids, ids),
            "transformers encodes": (wrapped(text)["input_ids"], ids),
            "tokenizers decodes": (bare.decode(ids, skip_special_tokens=False), decoded),
            "transformers decodes": (wrapped.decode(ids), decoded),
        }
        if pad not in ids:
            seen["tokenizers decodes by default"] = (bare.decode(ids), decoded)
        for what, (theirs, ours) in seen.items():
            if theirs != ours:
                problems.append(f"{folder}: {text!r}: {what} {theirs!r}, we {ours!r}")
    return problems


def main(arguments: list[str]) -> int:
    if len(arguments) == 3 and arguments[1] == "--test-binary":
        with tempfile.TemporaryDirectory() as scratch:
            command = [arguments[2], "--gtest_filter=Tokenizer.*"]
            subprocess.run(command, env={**os.environ, "DEEPSEARCH_ORACLE_OUT": scratch}, check=True, timeout=120)
            return check(Path(scratch))
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    return check(Path(arguments[1]))


def check(root: Path) -> int:
    folders = sorted(path.parent for path in root.glob("*/tokenizer.json"))
    if not folders:
        print(f"{root}: no folder with a tokenizer.json", file=sys.stderr)
        return 2
    problems = [problem for folder in folders for problem in check_folder(folder)]
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    print(f"{len(folders)} tokenizers, {len(problems)} differences")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
