"""Tokens as text: the pieces of a tokenizer.json, read without the tokenizers package."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _byte_of_letter() -> dict[str, int]:
    """GPT-2's table: printable bytes stand for themselves, the others for letters from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(b): b for b in plain}
    for place, byte in enumerate(b for b in range(256) if b not in set(plain)):
        table[chr(256 + place)] = byte
    return table


@dataclass(frozen=True)
class Pieces:
    """Text of token ids. Empty when a run's folder has no vocabulary: ids are shown as #12 then."""

    pieces: dict[int, str] = field(default_factory=dict)
    kind: str = "words"  # words: blanks between; bytes: byte-level BPE; plain: pieces say where blanks are

    def piece(self, token: int) -> str:
        """One token's text, as it is shown alone; half a character of a byte-level piece reads as �."""
        raw = self.pieces.get(int(token))
        if raw is None:
            return f"#{int(token)}"
        return _bytes(raw).decode("utf-8", "replace") if self.kind == "bytes" else raw.replace("▁", " ")

    def text(self, tokens: Iterable[int]) -> str:
        ids = [int(t) for t in tokens]
        if self.kind == "bytes":
            return b"".join(
                _bytes(self.pieces[t]) if t in self.pieces else f"#{t}".encode() for t in ids
            ).decode("utf-8", "replace")  # fmt: skip
        return ("" if self.kind == "plain" and self.pieces else " ").join(self.piece(t) for t in ids)


def _bytes(piece: str) -> bytes:
    table = _byte_of_letter()
    return b"".join(bytes([table[c]]) if c in table else c.encode() for c in piece)


def _mentions(part: Any, kind: str) -> bool:  # noqa: ANN401 (JSON)
    if isinstance(part, dict):
        return part.get("type") == kind or any(_mentions(v, kind) for v in part.values())
    return isinstance(part, list) and any(_mentions(v, kind) for v in part)


def read_pieces(path: Path) -> Pieces:
    """Throws OSError or ValueError when the file is no tokenizer.json."""
    whole = json.loads(path.read_text(encoding="utf-8"))
    try:
        vocab = whole["model"]["vocab"]
        pairs = vocab.items() if isinstance(vocab, dict) else ((p[0], i) for i, p in enumerate(vocab))
        pieces = {int(i): str(word) for word, i in pairs}
        pieces |= {int(t["id"]): str(t["content"]) for t in whole.get("added_tokens") or ()}
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path}: no vocabulary inside: {error}") from None
    if _mentions([whole.get("decoder"), whole.get("pre_tokenizer")], "ByteLevel"):
        return Pieces(pieces, "bytes")
    return Pieces(pieces, "words" if whole["model"].get("type", "WordLevel") == "WordLevel" else "plain")


def find_pieces(run: Path, model: str) -> Pieces:
    """The newest checkpoint's; else the base policy's, whose path is relative to where the run was started."""
    places = sorted(run.glob("checkpoints/*/tokenizer.json"), reverse=True)
    if model:
        roots = (Path(), *run.resolve().parents)
        places += [path for root in roots if (path := root / model / "tokenizer.json").is_file()]
    for path in places:
        try:
            return read_pieces(path)
        except (OSError, ValueError):
            continue
    return Pieces()
