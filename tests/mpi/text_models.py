"""Tiny model folders in the public format, with numpy alone: a byte-level tokenizer of 256 bytes and a few words, and
weights that are random, or that make the model a Markov chain over tokens whose answers are known."""

import json

import numpy as np

BOX, END, PAD = 256, 257, 258
ADDED = {BOX: "\\boxed{", END: "<|im_end|>", PAD: "<|endoftext|>", 259: "<|im_start|>"}
VOCABULARY = 320
SUFFIX = " Let's think step by step and output the final answer within \\boxed{}."


def byte_alphabet():
    """How GPT-2 writes each byte in a vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in plain}
    rest = (byte for byte in range(256) if byte not in letters)
    return letters | {byte: chr(256 + i) for i, byte in enumerate(rest)}


def text_of(tokens):
    """What the tokenizer's decode gives without special tokens."""
    raw = b"".join(
        bytes([t]) if t < 256 else ADDED[t].encode() if t == BOX else b"" for t in map(int, tokens) if t < 260
    )
    return raw.decode("utf-8", "replace")


def write_tokenizer(folder):
    def added(number, text):
        return {
            "id": number, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": number != BOX,
        }  # fmt: skip

    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    bpe = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
        "vocab": {letter: byte for byte, letter in sorted(byte_alphabet().items())}, "merges": [],
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(
        json.dumps(
            {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": [added(n, t) for n, t in ADDED.items()],
                "normalizer": None,
                "pre_tokenizer": level,
                "post_processor": None,
                "decoder": level,
                "model": bpe,
            }
        )
    )
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": ADDED[END], "pad_token": ADDED[PAD],
        "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [END, PAD], "temperature": 0.7}))
    (folder / "chat_template.jinja").write_text(
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'"
        " + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )


def write_safetensors(path, tensors):
    header, place = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [place, place + 4 * values.size]}
        place += 4 * values.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(values.astype("<f4").tobytes() for values in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def write_model(folder, hidden, weight, positions=2048):
    """A Llama of one layer; weight(name, shape) gives its values."""
    folder.mkdir(parents=True, exist_ok=True)
    inner, heads = 32, hidden // 64
    layer = "model.layers.0."
    shapes = {
        "model.embed_tokens.weight": (VOCABULARY, hidden),
        layer + "self_attn.q_proj.weight": (hidden, hidden),
        layer + "self_attn.k_proj.weight": (64, hidden),
        layer + "self_attn.v_proj.weight": (64, hidden),
        layer + "self_attn.o_proj.weight": (hidden, hidden),
        layer + "mlp.gate_proj.weight": (inner, hidden),
        layer + "mlp.up_proj.weight": (inner, hidden),
        layer + "mlp.down_proj.weight": (hidden, inner),
        layer + "input_layernorm.weight": (hidden,),
        layer + "post_attention_layernorm.weight": (hidden,),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (VOCABULARY, hidden),
    }
    write_safetensors(folder / "model.safetensors", {n: np.asarray(weight(n, s)) for n, s in shapes.items()})
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
        "intermediate_size": inner, "num_hidden_layers": 1, "num_attention_heads": heads, "num_key_value_heads": 1,
        "head_dim": 64, "vocab_size": VOCABULARY, "max_position_embeddings": positions, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False, "attention_bias": False,
        "mlp_bias": False, "bos_token_id": None, "eos_token_id": END, "pad_token_id": PAD, "torch_dtype": "float32",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    return folder


def random_model(folder, seed=1, hidden=64):
    random = np.random.default_rng(seed)

    def weight(name, shape):
        return np.ones(shape) if "norm" in name else random.normal(0, 0.05, shape)

    return write_model(folder, hidden, weight)


def answering_model(folder):
    """Writes \\boxed{DIGIT} and mostly ends, or x x x …: after "." a box (0.8), a run of x (0.1) or the end; in the box
    a digit, 0 the most likely; after it the end, or a blank and another box. All by the last token alone."""
    after = {ord("."): {BOX: 0.8, ord("x"): 0.1, END: 0.1}}
    after[BOX] = {ord("0") + d: 0.5**d for d in range(10)}
    for digit in range(10):
        after[ord("0") + digit] = {ord("}"): 1.0}
    after[ord("}")] = {END: 0.7, ord(" "): 0.3}
    after[ord(" ")] = {BOX: 1.0}
    after[ord("x")] = {ord("x"): 0.9, END: 0.1}
    hidden = VOCABULARY
    head = np.full((VOCABULARY, hidden), -30.0)
    for token, chances in after.items():
        for following, chance in chances.items():
            head[following, token] = np.log(chance)

    def weight(name, shape):
        if "norm" in name:
            return np.ones(shape)
        if name == "model.embed_tokens.weight":
            return np.eye(VOCABULARY)
        if name == "lm_head.weight":
            return head / np.sqrt(hidden)  # the norm makes √hidden of a one
        return np.zeros(shape)

    return write_model(folder, hidden, weight)


def write_problems(path, rows):
    """rows: (id, problem, answer)."""
    lines = [
        json.dumps({"id": i, "source": path.stem, "problem": problem, "answer": answer}, ensure_ascii=False)
        for i, problem, answer in rows
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
