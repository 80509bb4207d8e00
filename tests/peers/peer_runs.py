"""One peer's share of side_by_side.py, in a process of its own: `peer_runs.py JOB.json RESULT.json`.

Each peer has three methods: logprobs(tokens) of the token after these, generate(prompts, new_tokens), and
branch(prefix, children, new_tokens). prepare() comes before, untimed, with the sizes to make room for and one of
VARIANTS, the settings of which the faster one counts.
"""

import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


class Transformers:
    VARIANTS = ("",)

    def __init__(self, path: str) -> None:
        import torch
        import transformers

        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        self.torch = torch
        self.transformers = transformers
        self.version = transformers.__version__
        self.model = transformers.LlamaForCausalLM.from_pretrained(path, dtype=torch.float32).eval()

    def prepare(self, *_: object) -> None:
        pass

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        logits = self.model(self.torch.from_numpy(tokens[None])).logits[0, -1]
        return logits.log_softmax(-1).numpy()

    def _sample(self, prompts: "np.ndarray", new_tokens: int, **options: object) -> np.ndarray:
        ids = self.torch.from_numpy(prompts)
        out = self.model.generate(
            ids,
            attention_mask=self.torch.ones_like(ids),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=new_tokens,
            pad_token_id=0,
            **options,
        )
        return out[:, prompts.shape[1] :].numpy()

    def generate(self, prompts: np.ndarray, new_tokens: int) -> np.ndarray:
        return self._sample(prompts, new_tokens)

    def branch(self, prefix: np.ndarray, children: int, new_tokens: int) -> np.ndarray:
        # generate() wants at least one token that is not in the cache.
        cache = self.transformers.DynamicCache(config=self.model.config)
        self.model(self.torch.from_numpy(prefix[None, :-1]), past_key_values=cache, logits_to_keep=1)
        cache.batch_repeat_interleave(children)
        return self._sample(np.repeat(prefix[None], children, 0), new_tokens, past_key_values=cache)


class CTranslate2:
    VARIANTS = ("",)

    def __init__(self, path: str) -> None:
        import ctranslate2

        self.version = ctranslate2.__version__
        self.storage = ctranslate2.StorageView
        self.generator = ctranslate2.Generator(path, device="cpu", inter_threads=1, intra_threads=1)

    def prepare(self, *_: object) -> None:
        pass

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        inputs = self.storage.from_array(tokens[None].astype(np.int32))
        lengths = self.storage.from_array(np.array([len(tokens)], np.int32))
        return np.array(self.generator.forward_batch(inputs, lengths, return_log_probs=True))[0, -1]

    def _sample(self, prompts: list[list[str]], new_tokens: int, **options: object) -> np.ndarray:
        results = self.generator.generate_batch(
            prompts,
            sampling_topk=0,  # all of them
            sampling_temperature=1.0,
            min_length=new_tokens,
            max_length=new_tokens,
            include_prompt_in_result=False,
            **options,
        )
        return np.array([ids for result in results for ids in result.sequences_ids])

    def generate(self, prompts: np.ndarray, new_tokens: int) -> np.ndarray:
        return self._sample([[str(token) for token in prompt] for prompt in prompts], new_tokens)

    def branch(self, prefix: np.ndarray, children: int, new_tokens: int) -> np.ndarray:
        # Several hypotheses of one prompt: it is computed once.
        return self._sample([[str(token) for token in prefix]], new_tokens, num_hypotheses=children)


class LlamaCpp:
    EXACT = "fp32 cache"
    DEFAULT = "flash attention, fp16 cache"
    VARIANTS = (EXACT, DEFAULT)

    def __init__(self, path: str) -> None:
        import llama_cpp

        self.api = llama_cpp
        self.version = llama_cpp.__version__
        self.silent = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self.silent, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self.vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.context = None
        self.random = np.random.default_rng(2)

    def prepare(self, variant: str, sequences: int, tokens: int, shared: int = 0) -> None:
        """Room for `sequences` of `tokens` each after a common prefix of `shared`."""
        if self.context:
            self.api.llama_free(self.context)
        params = self.api.llama_context_default_params()
        params.n_seq_max = sequences
        params.kv_unified = shared > 0  # otherwise each sequence attends to its own cells only
        params.n_ctx = shared + sequences * tokens if shared else sequences * (-(-tokens // 256) * 256)
        params.n_batch = 2048
        params.n_threads = params.n_threads_batch = 1
        exact = variant == self.EXACT
        params.flash_attn_type = (
            self.api.LLAMA_FLASH_ATTN_TYPE_DISABLED if exact else self.api.LLAMA_FLASH_ATTN_TYPE_ENABLED
        )
        params.type_k = params.type_v = self.api.GGML_TYPE_F32 if exact else self.api.GGML_TYPE_F16
        params.no_perf = True
        self.context = self.api.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError(f"llama.cpp cannot make room for {sequences} sequences")
        self.n_batch = self.api.llama_n_batch(self.context)

    def _forget(self) -> None:
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), False)

    def _decode(
        self, tokens: np.ndarray, positions: np.ndarray, sequences: np.ndarray, wanted: np.ndarray
    ) -> np.ndarray:
        """Logits [rows, vocab] of the wanted ones, valid until the next call."""
        api = self.api
        n = len(tokens)
        tokens, positions, sequences = (np.ascontiguousarray(a, np.int32) for a in (tokens, positions, sequences))
        wanted = np.ascontiguousarray(wanted, np.int8)
        ones = np.ones(n, np.int32)
        addresses = sequences.ctypes.data + 4 * np.arange(n, dtype=np.uint64)

        def pointer(array: np.ndarray, kind: type) -> ctypes.c_void_p:
            return ctypes.cast(array.ctypes.data, kind)

        int32 = ctypes.POINTER(ctypes.c_int32)
        batch = api.llama_batch(
            n_tokens=n,
            token=pointer(tokens, int32),
            pos=pointer(positions, int32),
            n_seq_id=pointer(ones, int32),
            seq_id=pointer(addresses, ctypes.POINTER(int32)),
            logits=pointer(wanted, ctypes.POINTER(ctypes.c_int8)),
        )
        status = api.llama_decode(self.context, batch)
        if status != 0:
            raise RuntimeError(f"llama_decode of {n} tokens: status {status}")
        rows = int(wanted.sum())
        return np.ctypeslib.as_array(api.llama_get_logits(self.context), (rows, self.vocab)) if rows else np.empty((0,))

    def _prompts(self, prompts: np.ndarray) -> np.ndarray:
        """The first sampled token of each prompt; prompt i becomes sequence i."""
        sequences, length = prompts.shape
        at_once = max(1, self.n_batch // length)
        sampled = []
        for first in range(0, sequences, at_once):
            some = prompts[first : first + at_once]
            positions = np.tile(np.arange(length), len(some))
            numbers = np.repeat(np.arange(first, first + len(some)), length)
            sampled.append(self._draw(self._decode(some.ravel(), positions, numbers, positions == length - 1)))
        return np.concatenate(sampled)

    def _draw(self, logits: np.ndarray) -> np.ndarray:
        """In NumPy for all rows: quicker than a call of llama.cpp's own sampler for each."""
        weights = logits - logits.max(1, keepdims=True)
        np.exp(weights, out=weights)
        np.cumsum(weights, 1, out=weights)
        thresholds = self.random.random(len(weights), np.float32) * weights[:, -1]
        return np.minimum(np.count_nonzero(weights <= thresholds[:, None], axis=1), self.vocab - 1)

    def _continue(self, sampled: np.ndarray, position: int, new_tokens: int) -> np.ndarray:
        out = [sampled]
        numbers = np.arange(len(sampled))
        wanted = np.ones(len(sampled))
        for step in range(new_tokens - 1):
            positions = np.full(len(sampled), position + step)
            out.append(self._draw(self._decode(out[-1], positions, numbers, wanted)))
        return np.stack(out, 1)

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        self.prepare(self.EXACT, 1, len(tokens) + 1)
        n = len(tokens)
        positions = np.arange(n)
        logits = self._decode(tokens, positions, np.zeros(n), positions == n - 1)[0].astype(np.float64)
        return logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())

    def generate(self, prompts: np.ndarray, new_tokens: int) -> np.ndarray:
        self._forget()
        return self._continue(self._prompts(prompts), prompts.shape[1], new_tokens)

    def branch(self, prefix: np.ndarray, children: int, new_tokens: int) -> np.ndarray:
        self._forget()
        n = len(prefix)
        positions = np.arange(n)
        logits = self._decode(prefix, positions, np.zeros(n), positions == n - 1)
        sampled = self._draw(np.repeat(logits, children, 0))
        memory = self.api.llama_get_memory(self.context)
        for child in range(1, children):
            self.api.llama_memory_seq_cp(memory, 0, child, -1, -1)
        return self._continue(sampled, n, new_tokens)


PEERS = {"transformers": Transformers, "ctranslate2": CTranslate2, "llama.cpp": LlamaCpp}


def timed(run: Callable[[np.ndarray], np.ndarray], inputs: list[np.ndarray], shape: tuple[int, int]) -> list[float]:
    """Seconds of each input but the first, which warms up; every output must have `shape`."""
    seconds = []
    for one in inputs:
        start = time.perf_counter()
        out = run(one)
        seconds.append(time.perf_counter() - start)
        if out.shape != shape:
            raise RuntimeError(f"{shape} tokens were asked for, {out.shape} came")
    return seconds[1:]


class Measurement:
    """A job's measurements of one peer."""

    def __init__(self, job: dict) -> None:
        self.job = job
        self.peer = PEERS[job["peer"]](job["model"])
        self.random = np.random.default_rng(1)

    def tokens(self, *shape: int) -> np.ndarray:
        return self.random.integers(0, self.job["vocab"], shape)

    def fastest(self, room: tuple[int, ...], measure: Callable[[], list[float]]) -> dict:
        """{"seconds": its median, "variant": which one}."""
        found = []
        for variant in self.peer.VARIANTS:
            self.peer.prepare(variant, *room)
            found.append((statistics.median(measure()), variant))
        seconds, variant = min(found)
        return {"seconds": seconds, "variant": variant}

    def batch(self, size: int) -> dict:
        context, new_tokens = self.job["context"], self.job["new_tokens"]
        prompts = [self.tokens(size, context) for _ in range(self.job["repetitions"] + 1)]
        return self.fastest(
            (size, context + new_tokens),
            lambda: timed(lambda one: self.peer.generate(one, new_tokens), prompts, (size, new_tokens)),
        )

    def prefix(self, tokens: int, children: int, new_tokens: int) -> dict:
        prefixes = [self.tokens(tokens) for _ in range(self.job["repetitions"] + 1)]
        return self.fastest(
            (children, new_tokens, tokens),
            lambda: timed(lambda one: self.peer.branch(one, children, new_tokens), prefixes, (children, new_tokens)),
        )


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    measurement = Measurement(job)
    result = {"version": measurement.peer.version, "figures": {}}
    check = np.random.default_rng(2).integers(0, job["vocab"], job["context"])
    result["logprobs"] = [float(x) for x in measurement.peer.logprobs(check)]
    for size in job["batches"]:
        result["figures"][f"batch {size}"] = measurement.batch(size)
    if "prefix" in job:
        result["figures"]["prefix"] = measurement.prefix(**job["prefix"])
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
