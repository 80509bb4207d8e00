"""Checks the built-in chat templates against transformers' apply_chat_template with the published Jinja texts.

    chat_oracle.py --test-binary build/.../test_tokenizer

The texts lie in tests/tokenizer/templates/NAME.jinja. The binary answers a file of questions that
DEEPSEARCH_CHAT_ORACLE names. Exit code 0: all the same; 1: a difference.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

TEMPLATES = Path(__file__).resolve().parents[1] / "tokenizer" / "templates"
BEGIN = {"llama3": "<|begin_of_text|>", "deepseek-r1": "<｜begin▁of▁sentence｜>"}
TEXTS = [
    "What is 2+2?", "", "  spaces around \n", "line\n\nline", "<think>\nhm\n</think>\n\n4",
    "\n<think>a</think>b</think>c",
    "<think>\n\n</think>", "\x1c 日本語\u3000", "<tool_response>\nx\n</tool_response>", "</think>", "{{ x }} {% if %}",
    "<think>one<think>two\n\n</think>\n\nthree\n",
]  # fmt: skip


def conversations(rng: random.Random) -> list[list[dict]]:
    made = [[{"role": "user", "content": text}] for text in TEXTS]
    for _ in range(300):
        roles = rng.choices(["system", "user", "assistant"], weights=[1, 3, 3], k=rng.randrange(1, 7))
        made.append([{"role": role, "content": rng.choice(TEXTS)} for role in roles])
    return made


def main(arguments: list[str]) -> int:
    if len(arguments) != 3 or arguments[1] != "--test-binary":
        print(__doc__, file=sys.stderr)
        return 1
    rng = random.Random(3)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    questions, expected = [], []
    for path in sorted(TEMPLATES.glob("*.jinja")):
        jinja = path.read_text(encoding="utf-8")
        tokenizer.bos_token = BEGIN.get(path.stem)
        for messages in conversations(rng):
            options = {"add_generation_prompt": rng.random() < 0.7, "enable_thinking": rng.random() < 0.7}
            questions.append({"jinja": jinja, "messages": messages, **options})
            text = tokenizer.apply_chat_template(messages, chat_template=jinja, tokenize=False, **options)
            expected.append({"name": path.stem, "text": text})
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "questions.jsonl"
        file.write_text("".join(json.dumps(question) + "\n" for question in questions), encoding="utf-8")
        command = [arguments[2], "--gtest_filter=ChatOracle.*", "--gtest_brief=1"]
        subprocess.run(command, env={**os.environ, "DEEPSEARCH_CHAT_ORACLE": str(file)}, check=True, timeout=120)
        answers = (Path(scratch) / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    ours = [json.loads(answer) for answer in answers]
    problems = 0
    for question, theirs, answer in zip(questions, expected, ours, strict=True):
        if theirs != answer:
            problems += 1
            if problems <= 5:
                print(f"{question['messages']}: transformers gives {theirs}, we {answer}", file=sys.stderr)
    names = {item["name"] for item in expected}
    print(f"{len(names)} templates, {len(questions)} conversations, {problems} differences")
    return 1 if problems or len(names) < 5 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
