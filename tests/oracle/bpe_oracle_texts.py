"""The texts and token lists of bpe_oracle.py: shared problem files, random Unicode, every code point."""

import json
import random
from pathlib import Path

import tokenizers

SURROGATES = range(0xD800, 0xE000)

# Blocks to draw characters from: Latin, combining marks, Greek, Cyrillic, Hebrew, Arabic, Devanagari, Thai, Hangul
# jamo, spaces and joiners, mathematical signs, CJK, kana, Hangul, private use, presentation forms, mathematical
# letters, emoji, CJK extensions, tags.
BLOCKS = [
    (0x20, 0x7F), (0x80, 0x250), (0x300, 0x370), (0x370, 0x400), (0x400, 0x530), (0x590, 0x600), (0x600, 0x700),
    (0x900, 0x980), (0xE00, 0xE80), (0x1100, 0x1200), (0x2000, 0x2070), (0x2100, 0x2400), (0x3000, 0x3100),
    (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0xE000, 0xE020), (0xF900, 0xFB00), (0xFB00, 0xFF00), (0xFF00, 0xFFF0),
    (0x1D400, 0x1D800), (0x1F300, 0x1FAFF), (0x20000, 0x20100), (0x31350, 0x31400), (0xE0000, 0xE0080),
]  # fmt: skip

PIECES = [
    " ", "  ", "   ", " " * 17, "\n", "\r\n", "\n\n\n", "\t", "\u00a0", "\u3000", "\u2028", "\u0085", "\u180e",
    "\u200b", "'s", "'LL", "'\u017f", "don't", "I'VE", "1", "12", "1234567", "3.14", "٣٤", "²½", "x_y", "__", "!!",
    "?!.",
    "$x^2$",
    "\\frac{1}{2}", "<", "<|", "|>", "</s", "<s>", "é", "e\u0301", "e\u0323\u0301", "Å", "\u212b", "ﬁ", "İ", "ß", "Σς",
    "👨\u200d👩\u200d👧", "🏳\ufe0f\u200d🌈", "🇩🇪", "日本語", "カタカナ", "한글", "\u1112\u1161\u11ab", "שלום",
    "مرحبا", "हिन्दी", "▁", "▁▁", "Ġ", "Ċ", "\u0000", "\ufffd", "\U0001e95e", "\u1c89", "\u0897", "<0x0A>", "-", "--",
]  # fmt: skip


def shared_texts(data: Path) -> list[str]:
    """Problem and answer of every row of the problem files below `data`."""
    texts = []
    for path in sorted(data.rglob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            texts += [row[key] for key in ("problem", "answer", "response") if isinstance(row.get(key), str)]
    return texts


def random_character(rng: random.Random) -> str:
    if rng.random() < 0.1:
        point = rng.randrange(0x110000)
        return "?" if point in SURROGATES else chr(point)
    first, last = rng.choice(BLOCKS)
    return chr(rng.randrange(first, last))


def fuzz_texts(rng: random.Random, special: list[str], count: int) -> list[str]:
    """Random text, with whole special tokens and fragments of them."""
    texts = ["", " ", "\n", "a"]
    for _ in range(count):
        text = ""
        for _ in range(rng.randrange(1, 25)):
            draw = rng.random()
            if draw < 0.35:
                text += rng.choice(PIECES)
            elif draw < 0.75:
                text += "".join(random_character(rng) for _ in range(rng.randrange(1, 6)))
            elif draw < 0.85 and special:
                token = rng.choice(special)
                text += token[: rng.randrange(1, len(token) + 1)] if rng.random() < 0.4 else token
            elif draw < 0.88:
                text += rng.choice([" ", "\n", "7", "ab", "\t "]) * rng.randrange(2, 200)
            else:
                text += rng.choice([" ", ""]) + rng.choice(["The", "of", "value", "find", "Let", "number"])
        texts.append(text)
    return texts


def code_point_texts() -> list[str]:
    """Every code point, between letters, digits, spaces and marks, in texts of 512."""
    texts = []
    points = [point for point in range(0x110000) if point not in SURROGATES]
    points = [p for p in points if p < 0x3400 or 0xA000 <= p < 0xAC00 or 0xD7A4 <= p < 0xE010 or 0xF900 <= p < 0x14700
              or 0x16000 <= p < 0x18D00 or 0x1AFF0 <= p < 0x20010 or 0xE0000 <= p < 0xE0200 or p % 97 == 0]  # fmt: skip
    for start in range(0, len(points), 512):
        block = [chr(point) for point in points[start : start + 512]]
        texts.append("".join(f"a{c}b1{c}2 {c} -{c}- {c}" for c in block))
        texts.append("".join(f"a{c}\u0334\u0301" for c in block))
    return texts


def fuzz_ids(rng: random.Random, tokenizer: tokenizers.Tokenizer, texts: list[str]) -> list[list[int]]:
    """Encodings, whole and with pieces missing, and ids at random."""
    size = tokenizer.get_vocab_size()
    lists = []
    for text in rng.sample(texts, min(800, len(texts))):
        try:
            ids = tokenizer.encode(text).ids
        except Exception:  # a text that the model cannot express
            continue
        lists += [ids, [token for token in ids if rng.random() < 0.7]]
    fallback = [token for text, token in tokenizer.get_vocab().items() if text.startswith("<0x")]
    for _ in range(1000):
        ids = [rng.randrange(size) for _ in range(rng.randrange(1, 12))]
        if fallback:
            ids = [rng.choice(fallback) if rng.random() < 0.5 else token for token in ids]
        lists.append(ids)
    return [*(ids for ids in lists if ids), [size + 5, 0, size + 9]]
