#!/usr/bin/env python3
"""Problems in verl's Parquet layout, as DeepSearch publishes its training and validation files, as JSON Lines
(docs/problems.md). Needs pyarrow.

  jobs/import_parquet.py FILE.parquet… --out PROBLEMS.jsonl [--source NAME] [--suffix TEXT] [--pass-rate X] [--round N]

A row has one user message in `prompt`, the answer in `reward_model.ground_truth`, and may have `extra_info` with
`index`, `difficulty` and `topic`. The suffix is taken off the message's end, so that the problem and
[problems].prompt_suffix make the same bytes again. Rows that repeat a problem and its answer become one; rows without
an answer are left out. Both are counted. With several files (the 0 % and the 25 % part of a training set) --pass-rate
has a value for each.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUFFIX = " Let's think step by step and output the final answer within \\boxed{}."


class BadInputError(Exception):
    pass


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise BadInputError(f"{path}: cannot be read as Parquet: {error}") from None
    missing = {"prompt", "reward_model"} - set(file.schema_arrow.names)
    if missing:
        raise BadInputError(f"{path}: no column {', '.join(sorted(missing))}; has {', '.join(file.schema_arrow.names)}")
    for batch in file.iter_batches(1024):
        yield from batch.to_pylist()


def problem_of(row: dict[str, Any], place: str, options: argparse.Namespace) -> dict[str, Any]:
    """The row in the keys of a problem file; "answer" may be empty."""
    messages = row["prompt"] or []
    if len(messages) != 1 or messages[0].get("role") != "user":
        raise BadInputError(f"{place}: prompt is not one user message")
    text = messages[0]["content"]
    if not text.endswith(options.suffix):
        raise BadInputError(f'{place}: the prompt does not end with "{options.suffix}"; --suffix says with what')
    extra = row.get("extra_info") or {}
    source = options.source or row.get("data_source") or "parquet"
    problem: dict[str, Any] = {
        "id": f"{source}-{extra['index']}" if extra.get("index") is not None else "",
        "source": source,
        "problem": text[: len(text) - len(options.suffix)],
        "answer": str((row["reward_model"] or {}).get("ground_truth") or "").strip(),
    }
    difficulty = extra.get("difficulty")
    if isinstance(difficulty, int | float) and difficulty >= 0:
        problem["level"] = difficulty
    if extra.get("topic"):
        problem["subject"] = extra["topic"]
    return problem


def read(options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, int]]:
    problems: dict[str, dict[str, Any]] = {}
    places: dict[str, str] = {}
    counts = {"rows": 0, "repeats": 0, "without an answer": 0}
    for file, path in enumerate(options.files):
        for number, row in enumerate(rows_of(path)):
            place = f"{path}: row {number}"
            counts["rows"] += 1
            problem = problem_of(row, place, options)
            if not problem["answer"]:
                counts["without an answer"] += 1
                continue
            if options.pass_rate:
                problem["pass_rate"] = options.pass_rate[file]
            if options.round is not None:
                problem["round"] = options.round
            problem["id"] = problem["id"] or f"{problem['source']}-{counts['rows'] - 1}"
            other = problems.get(problem["id"])
            if other is None:
                problems[problem["id"]] = problem
                places[problem["id"]] = place
            elif all(other[key] == problem[key] for key in ("problem", "answer")):
                counts["repeats"] += 1
            else:
                raise BadInputError(f"{place}: id {problem['id']} is that of {places[problem['id']]}, another problem")
    return list(problems.values()), counts


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--source", default="", help="instead of data_source")
    parser.add_argument("--suffix", default=SUFFIX, help="of every prompt (default: DeepSearch's)")
    parser.add_argument("--pass-rate", type=float, nargs="+", default=[], help="of each file's problems")
    parser.add_argument("--round", type=int, default=None)
    options = parser.parse_args(arguments)
    try:
        if options.pass_rate and len(options.pass_rate) != len(options.files):
            raise BadInputError(f"--pass-rate has {len(options.pass_rate)} values for {len(options.files)} files")
        problems, counts = read(options)
        if not problems:
            raise BadInputError("no problem in it")
    except BadInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = "".join(json.dumps(problem, ensure_ascii=False) + "\n" for problem in problems)
    partial = options.out.with_name(options.out.name + ".tmp")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(options.out)
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "rows")
    print(f"{options.out}: {len(problems)} problems ({said})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
