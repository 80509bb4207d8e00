"""deepsearch verify as its user runs it: case files, responses to problems, an explanation, and bad input."""

import base64
import json
import os
import subprocess

import pytest

DEEPSEARCH = os.environ["DEEPSEARCH"]


def run(*arguments, code=0, stdin=None):
    report = subprocess.run(
        [DEEPSEARCH, "verify", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        input=stdin,
    )
    assert report.returncode == code, f"{report.stdout}\n{report.stderr}"
    return report


def error(*arguments):
    lines = run(*arguments, code=2).stderr.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def write(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_cases_with_pieces_base64_and_config(tmp_path):
    cases = write(
        tmp_path / "cases.jsonl",
        {"id": "a", "gold": "\\frac{1}{2}", "pred": "\\boxed{0.5}", "expected": True},
        {"id": "b", "gold": "5", "pred_parts": [["so ", 3], ["\\boxed{5}", 1]], "expected": True},
        {"id": "c", "gold": "5", "pred_b64": base64.b64encode(b"\xff\\boxed{6}").decode(), "expected": False},
        {"id": "d", "gold": "A", "pred": "Answer: A", "config": {"extract": ["string"]}, "expected": True},
    )
    report = run("--cases", cases, "--out", tmp_path / "out.jsonl")
    assert "4 of 4 as expected" in report.stderr
    rows = lines_of(tmp_path / "out.jsonl")
    assert [(row["id"], row["verdict"]) for row in rows] == [("a", True), ("b", True), ("c", False), ("d", True)]
    assert rows[2]["extracted"] == "6"
    assert all(row["seconds"] >= 0 for row in rows)


def test_responses_are_judged_by_the_problems_marks(tmp_path):
    def problem(name, answer, **marks):
        return {"id": name, "source": "s", "problem": "p", "answer": answer, **marks}

    problems = write(
        tmp_path / "p.jsonl",
        problem("plain", "1, 2"),
        problem("ordered", "1, 2", ordered=True),
        problem("list", "1,234", list=True),
        problem("near", "300", tolerance=0.01),
    )
    answers = [("plain", "2, 1"), ("ordered", "2, 1"), ("list", "234, 1"), ("near", "299"), ("near", "310")]
    responses = write(
        tmp_path / "r.jsonl",
        *({"id": name, "response": f"So \\boxed{{{answer}}}."} for name, answer in answers),
        {"id": "near", "response": "we add", "ended": False},
    )
    report = run("--problems", problems, "--responses", responses, "--out", tmp_path / "v.jsonl")
    verdicts = [row["verdict"] for row in lines_of(tmp_path / "v.jsonl")]
    assert verdicts == ["correct", "wrong", "correct", "correct", "wrong", "incomplete"]
    assert "6 responses: 3 correct, 2 wrong, 1 incomplete" in report.stderr


def test_explain_shows_both_sides():
    text = run("--explain", "\\frac{1}{2}", "0.5").stdout
    assert text.count("read as") == 2
    assert "verdict    correct" in text


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", "cases.jsonl:2"),
        ({"gold": "5", "pred": "5", "config": {"boxed": True}}, 'config key "boxed" is unknown'),
        ({"gold": "5", "pred": "5", "config": {"strict": 3}}, "another type"),
        ({"gold": "5", "pred_b64": "a*b"}, "not base64"),
        ({"gold": "5"}, 'needs "pred"'),
        ({"gold": "5", "pred_parts": [["a", 10**12]]}, "MiB"),
    ],
)
def test_a_bad_case_is_one_line_and_nothing_is_written(tmp_path, row, says):
    cases = write(tmp_path / "cases.jsonl", {"gold": "5", "pred": "5"}, row)
    message = error("--cases", cases, "--out", tmp_path / "out.jsonl")
    assert says in message
    assert "cases.jsonl:2" in message
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        ({"list": 1}, 'key "list" is a number; it must be true or false'),
        ({"ordered": "yes"}, 'key "ordered" is a string'),
        ({"tolerance": 0}, 'key "tolerance" is 0'),
        ({"tolerance": 0.9}, "not above 0.5"),
        ({"tolerance": True}, "it must be a number"),
    ],
)
def test_a_bad_mark_names_file_line_and_key(tmp_path, mark, says):
    problems = write(tmp_path / "p.jsonl", {"id": "a", "source": "s", "problem": "p", "answer": "1", **mark})
    responses = write(tmp_path / "r.jsonl", {"id": "a", "response": "1"})
    message = error("--problems", problems, "--responses", responses, "--out", tmp_path / "v.jsonl")
    assert "p.jsonl:1" in message
    assert says in message
    assert not (tmp_path / "v.jsonl").exists()


def test_missing_files_and_forms(tmp_path):
    assert "none.jsonl" in error("--cases", tmp_path / "none.jsonl")
    problems = write(tmp_path / "p.jsonl", {"id": "a", "source": "s", "problem": "p", "answer": "1"})
    stray = write(tmp_path / "r.jsonl", {"id": "b", "response": "1"})
    assert 'r.jsonl:1: problem "b" is not in' in error("--problems", problems, "--responses", stray)
    odd = write(tmp_path / "o.jsonl", {"id": "a", "response": "1", "ended": "no"})
    assert '"ended" must be true or false' in error("--problems", problems, "--responses", odd)
    assert "give --problems with --responses" in error("--problems", problems)
    assert "unknown" in error("--extract", "box", "--problems", problems, "--responses", stray)
