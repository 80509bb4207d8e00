"""The models of side_by_side.py: random weights in Hugging Face's layout, and the same ones as GGUF and CTranslate2."""

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np

GGML_PRECISIONS = {"fp32": "F32", "int8": "Q8_0"}
CT2_PRECISIONS = {"fp32": "float32", "int8": "int8_float32"}


@dataclasses.dataclass(frozen=True)
class Shape:
    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocab: int
    batches: tuple[int, ...]


SHAPES = {
    "m1": Shape(layers=4, hidden=128, heads=4, intermediate=352, vocab=64, batches=(1, 8, 64, 256)),
    "m2": Shape(layers=8, hidden=512, heads=8, intermediate=1376, vocab=32000, batches=(1, 8, 64)),
}


def make_hugging_face(shape: Shape, folder: Path) -> None:
    """Weights of variance 1/hidden: attention and logits then spread as in a trained model, so errors show."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=2048,
        initializer_range=shape.hidden**-0.5,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def rotary_pairs_together(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key projection in GGUF's order: the two of a rotated pair are neighbours."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows, columns)


def gguf_name(name: str) -> str:
    layer = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    outer = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    stem = name.removesuffix(".weight")
    if stem in outer:
        return f"{outer[stem]}.weight"
    _, _, number, part = stem.split(".", 3)
    return f"blk.{number}.{layer[part]}.weight"


def make_gguf(shape: Shape, source: Path, target: Path, precision: str) -> None:
    """All matrices in `precision`, the norms' vectors in fp32; no vocabulary, for tokens go in and out as ids."""
    import gguf
    from safetensors.numpy import load_file

    kind = gguf.GGMLQuantizationType[GGML_PRECISIONS[precision]]
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_context_length(2048)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.intermediate)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(shape.hidden // shape.heads)
    writer.add_vocab_size(shape.vocab)
    writer.add_tokenizer_model("no_vocab")
    writer.add_file_type(
        gguf.LlamaFileType[f"{'ALL' if precision == 'fp32' else 'MOSTLY'}_{GGML_PRECISIONS[precision]}"]
    )
    for name, weight in load_file(source / "model.safetensors").items():
        values = weight.astype(np.float32)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            values = rotary_pairs_together(values, shape.heads)
        if values.ndim == 2 and precision != "fp32":
            writer.add_tensor(gguf_name(name), gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(gguf_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_ctranslate2(shape: Shape, source: Path, target: Path, precision: str) -> None:
    from ctranslate2.converters import TransformersConverter

    class Converter(TransformersConverter):
        """Token i is called "i"; the converter asks for a tokenizer, which such a model has none of."""

        def load_tokenizer(self, *_: object, **__: object) -> SimpleNamespace:
            words = {str(i): i for i in range(shape.vocab)}
            return SimpleNamespace(get_vocab=lambda: words, bos_token="0", eos_token="1", unk_token="2")

    shutil.rmtree(target, ignore_errors=True)
    Converter(str(source)).convert(str(target), quantization=CT2_PRECISIONS[precision])


def make_models(folder: Path, name: str, precisions: list[str], peers: list[str]) -> dict[str, Path]:
    """Writes what is not there yet below `folder`. Returns a path for "hf" and for each peer-precision that has one."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    shape = SHAPES[name]
    paths = {"hf": folder / name / "hf"}
    if not (paths["hf"] / "model.safetensors").exists():
        make_hugging_face(shape, paths["hf"])
    for precision in precisions:
        if "llama.cpp" in peers:
            paths[f"llama.cpp-{precision}"] = path = folder / name / f"{precision}.gguf"
            if not path.exists():
                make_gguf(shape, paths["hf"], path, precision)
        if "ctranslate2" in peers:
            paths[f"ctranslate2-{precision}"] = path = folder / name / f"ctranslate2-{precision}"
            if not (path / "model.bin").exists():
                make_ctranslate2(shape, paths["hf"], path, precision)
    return paths
