"""Compares verdicts of `deepsearch verify` with Math-Verify's on answers made from the shared reference answers.

    python verify_oracle.py --deepsearch build/release/deepsearch --data ../shared/data [--pairs 2000]

Each reference answer gives rewritten forms that are equal and disturbed ones that are not. Printed are the classes of
disagreement with counts. Fails when ours is wrong about a pair whose truth is known by construction and Math-Verify is
right. Exit code 77: Math-Verify (the package math-verify) or the data are not here.
"""

import argparse
import collections
import json
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path


def spaced(text):
    return " " + re.sub(r"([+=,])", r" \1 ", text) + " "


def rewritten(gold):
    """(class, text) of forms that mean the same."""
    yield "same", gold
    yield "spaces", spaced(gold)
    if r"\frac" in gold:
        yield "dfrac", gold.replace(r"\frac", r"\dfrac")
    if re.fullmatch(r"-?\d{4,}", gold):
        yield "thousands", f"{int(gold):,}"
    if re.fullmatch(r"-?\d{1,6}", gold):
        yield "assignment", f"x = {gold}"
        yield "decimal zero", f"{gold}.0"
        yield "sum", f"{int(gold) - 3} + 3"
        yield "product", rf"{int(gold)} \cdot 1"
    simple = re.fullmatch(r"\\d?frac\{(\d+)\}\{(\d+)\}", gold)
    if simple:
        top, bottom = map(int, simple.groups())
        yield "slash", f"{top}/{bottom}"
        yield "unreduced", rf"\frac{{{3 * top}}}{{{3 * bottom}}}"
    if re.fullmatch(r"\([^()]*\)|\[[^\[\]]*\]", gold):
        yield "left right", rf"\left{gold[0]}{gold[1:-1]}\right{gold[-1]}"
    if re.fullmatch(r"[A-Za-z ]+", gold) and len(gold) > 1:
        yield "text", rf"\text{{{gold}}}"


def disturbed(gold):
    """(class, text) of forms that mean something else."""
    digit = re.search(r"\d", gold)
    if digit:
        other = "8" if digit.group() == "9" else str(int(digit.group()) + 1)
        yield "digit", gold[: digit.start()] + other + gold[digit.end() :]
    if re.fullmatch(r"-?[1-9]\d*", gold) or gold.startswith(r"\frac{"):
        yield "sign", gold[1:] if gold.startswith("-") else f"-{gold}"
    if re.fullmatch(r"\[[^\[\],]+,[^\[\],]+\]", gold):
        yield "open end", f"({gold[1:]}"
    if re.fullmatch(r"[1-9]\d*", gold):
        yield "near", f"{gold}.001"
        yield "and another", f"{gold}, {int(gold) + 1}"


def make_pairs(data, wanted):
    golds = []
    for path in sorted([*(data / "benchmarks").glob("*.jsonl"), *(data / "deepmath").glob("*.jsonl")]):
        golds += [json.loads(line)["answer"] for line in path.read_text().splitlines()]
    golds = sorted(set(golds))
    random.Random(7).shuffle(golds)
    pairs = []
    for gold in golds:
        pairs += [(gold, text, f"equal: {name}", True) for name, text in rewritten(gold)]
        pairs += [(gold, text, f"different: {name}", False) for name, text in disturbed(gold)]
        if len(pairs) >= wanted:
            break
    return pairs[:wanted]


def ours(program, pairs):
    with tempfile.TemporaryDirectory() as folder:
        cases = Path(folder) / "cases.jsonl"
        out = Path(folder) / "out.jsonl"
        rows = ({"gold": gold, "pred": rf"So $\boxed{{{text}}}$."} for gold, text, _, _ in pairs)
        cases.write_text("".join(json.dumps(row) + "\n" for row in rows))
        subprocess.run([program, "verify", "--cases", cases, "--out", out], check=True, capture_output=True)
        return [json.loads(line)["verdict"] for line in out.read_text().splitlines()]


def theirs(pairs):
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    verdicts = []
    for gold, text, _, _ in pairs:
        left = parse(rf"\boxed{{{gold}}}", [LatexExtractionConfig()])
        right = parse(rf"So $\boxed{{{text}}}$.", [LatexExtractionConfig(), ExprExtractionConfig()])
        verdicts.append(bool(verify(left, right)))
    return verdicts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deepsearch", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--show", type=int, default=3, help="examples of each class")
    arguments = parser.parse_args()
    try:
        import math_verify  # noqa: F401
    except ImportError:
        print("math-verify is not installed")
        return 77
    pairs = make_pairs(arguments.data, arguments.pairs) if arguments.data.exists() else []
    if not pairs:
        print(f"{arguments.data}: no reference answers here")
        return 77
    mine = ours(arguments.deepsearch, pairs)
    other = theirs(pairs)
    classes = collections.defaultdict(list)
    for (gold, text, name, truth), a, b in zip(pairs, mine, other, strict=True):
        if a != b:
            classes[name, "ours" if a == truth else "Math-Verify"].append((gold, text))
    total = sum(map(len, classes.values()))
    print(f"{len(pairs)} pairs, {total} disagreements")
    print(f"as constructed: ours {sum(a == p[3] for a, p in zip(mine, pairs, strict=True))}", end=", ")
    print(f"Math-Verify {sum(b == p[3] for b, p in zip(other, pairs, strict=True))}")
    for (name, right), examples in sorted(classes.items()):
        print(f"{len(examples):5}  {name}: {right} is as constructed")
        for gold, text in examples[: arguments.show]:
            print(f"         {gold!r}  against  {text!r}")
    return 1 if any(right == "Math-Verify" for _, right in classes) else 0


if __name__ == "__main__":
    sys.exit(main())
