"""What the checks of the source text share: its files, its comments, and how findings are told."""

import re
from pathlib import Path

SUFFIXES = {".h", ".hpp", ".cpp", ".cc", ".cu", ".cuh", ".inc"}


def files_of(src):
    return [path for path in sorted(src.rglob("*")) if path.suffix in SUFFIXES and path.is_file()]


def without_comments(text):
    """The text with comments blanked, line numbers kept. String and character literals are left alone:
    a "//" in one starts no comment."""
    pattern = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'|//[^\n]*|/\*.*?\*/', re.DOTALL)
    return pattern.sub(lambda m: m[0] if m[0][0] in "\"'" else re.sub(r"[^\n]", " ", m[0]), text)


def root_of(arguments, below=""):
    """The folder that a check was given, else the checkout's own."""
    return Path(arguments[0]) if arguments else Path(__file__).resolve().parents[2] / below


def told(violations, fine):
    """Prints one line a violation, or that all is fine; the exit code."""
    found = list(violations)
    print("\n".join(found) if found else fine)
    return 1 if found else 0
