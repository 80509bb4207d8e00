"""jobs/import_parquet.py, on the published validation file and on small ones of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SCRIPT = Path(__file__).parents[2] / "jobs/import_parquet.py"
SHARED = Path(os.environ.get("DEEPSEARCH_SHARED", "/nowhere")) / "data"
SUFFIX = " Let's think step by step and output the final answer within \\boxed{}."


def run(*arguments, code=0):
    report = subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert report.returncode == code, f"{report.stdout}\n{report.stderr}"
    return report


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path, rows):
    """rows: (prompt, answer, extra_info)."""
    pq.write_table(
        pa.Table.from_pylist(
            [
                {
                    "data_source": "deepmath", "prompt": [{"content": prompt, "role": "user"}],
                    "reward_model": {"ground_truth": answer, "style": "rule"}, "extra_info": extra,
                }
                for prompt, answer, extra in rows
            ]
        ),
        path,
    )  # fmt: skip
    return path


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data")
def test_the_published_validation_file(tmp_path):
    out = tmp_path / "aime25.jsonl"
    said = run(SHARED / "deepmath/aime2025_boxed_n32.parquet", "--out", out, "--source", "aime25").stdout
    assert "30 problems (960 rows, 930 repeats)" in said
    assert out.read_bytes() == (SHARED / "benchmarks/aime25.jsonl").read_bytes()
    prompts = pq.read_table(SHARED / "deepmath/aime2025_boxed_n32.parquet").slice(0, 30).to_pylist()
    for row, line in zip(prompts, lines_of(out), strict=True):
        assert (line["problem"] + SUFFIX).encode() == row["prompt"][0]["content"].encode()


def test_training_files_in_parts(tmp_path):
    first = write(
        tmp_path / "0.parquet",
        [
            ("\tau?" + SUFFIX, " 1 ", {"index": "7", "difficulty": 5.5, "topic": "A -> B"}),
            ("Which?" + SUFFIX, "", {"index": "8", "difficulty": 1.0, "topic": "A"}),
        ],
    )
    second = write(tmp_path / "1.parquet", [("Whát?" + SUFFIX, "x", {"index": "9", "difficulty": -1.0, "topic": ""})])
    out = tmp_path / "out.jsonl"
    said = run(first, second, "--out", out, "--pass-rate", "0", "0.25", "--round", 0).stdout
    assert "2 problems (3 rows, 1 without an answer)" in said
    assert lines_of(out) == [
        {"id": "deepmath-7", "source": "deepmath", "problem": "\tau?", "answer": "1", "level": 5.5, "subject": "A -> B",
         "pass_rate": 0.0, "round": 0},
        {"id": "deepmath-9", "source": "deepmath", "problem": "Whát?", "answer": "x", "pass_rate": 0.25, "round": 0},
    ]  # fmt: skip


def test_bad_input_is_one_line(tmp_path):
    out = tmp_path / "out.jsonl"
    extra = {"index": "1", "difficulty": 1.0, "topic": "A"}
    other = write(tmp_path / "other.parquet", [("A?", "1", extra)])
    assert "row 0: the prompt does not end with" in run(other, "--out", out, code=2).stderr
    twice = write(tmp_path / "twice.parquet", [("A?" + SUFFIX, "1", extra), ("B?" + SUFFIX, "1", extra)])
    assert "row 1: id deepmath-1 is that of" in run(twice, "--out", out, code=2).stderr
    (tmp_path / "text.parquet").write_text("no")
    assert "cannot be read as Parquet" in run(tmp_path / "text.parquet", "--out", out, code=2).stderr
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    assert "no column prompt, reward_model" in run(tmp_path / "a.parquet", "--out", out, code=2).stderr
    assert "--pass-rate has 2 values" in run(other, "--out", out, "--pass-rate", "0", "1", code=2).stderr
    assert not out.exists()
