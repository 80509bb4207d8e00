"""What a file's numbers mean, and the one error for files that are not what they should be."""

from __future__ import annotations

MAJOR_VERSION = 1  # kSchemaMajor of src/store/schema.h
RUN_SCHEMA, PART_SCHEMA = "deepsearch-run", "deepsearch-part"

# The enums of src/data/verdict.h and src/data/tree_record.h.
CORRECT, WRONG, INCOMPLETE, NOT_JUDGED = 0, 1, 2, 255
OUTCOMES = {CORRECT: "correct", WRONG: "wrong", INCOMPLETE: "incomplete", NOT_JUDGED: "none"}
KIND_TREE, KIND_ROLLOUTS, KIND_REPLAY, KIND_BRANCH = 0, 1, 2, 3
KINDS = {KIND_TREE: "tree", KIND_ROLLOUTS: "rollouts", KIND_REPLAY: "replay", KIND_BRANCH: "branch"}
STOP_REASONS = {0: "running", 1: "enough", 2: "exhausted", 3: "budget", 4: "solved", 5: "cancelled"}
EVENTS = ("expand", "pick", "backup", "select_local", "select_frontier", "select_uct", "select_deepest", "leftover",
          "stop")  # fmt: skip
EXPAND, PICK, BACKUP, LEFTOVER, STOP = 0, 1, 2, 7, 8
SELECTS = (3, 4, 5, 6)


class RunError(Exception):
    """The folder or file is not what it should be. The text is one line for people."""
