"""One peer's share of training_side_by_side.py, in a process of its own: `peer_train_runs.py JOB.json RESULT.json`.

The job names what is timed: "rows" and "tree" (PyTorch's eager Llama, torch.optim.AdamW) or "grpo" (TRL). The result
has seconds of processor time by variant, each the median of the repetitions after one that warms up, and peak memory.
"""

import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path


def median_seconds(step, repetitions: int) -> float:
    step()
    seconds = []
    for _ in range(repetitions):
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def make_model(shape: dict):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=shape["vocab"],
        hidden_size=shape["hidden"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["heads"],
        intermediate_size=shape["intermediate"],
        max_position_embeddings=2048,
        initializer_range=shape["hidden"] ** -0.5,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config).train()


class TorchStep:
    """Forward to the wanted places, mean cross-entropy, backward, AdamW."""

    def __init__(self, shape: dict, fused: bool) -> None:
        import torch

        self.torch = torch
        self.model = make_model(shape)
        self.adam = torch.optim.AdamW(self.model.parameters(), lr=1e-6, weight_decay=0.1, fused=fused)

    def __call__(self, tokens, places, targets, **inputs) -> float:
        hidden = self.model.model(input_ids=tokens, use_cache=False, **inputs).last_hidden_state
        logits = self.model.lm_head(hidden.flatten(0, 1)[places])
        loss = self.torch.nn.functional.cross_entropy(logits, targets)
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.adam.step()
        self.adam.zero_grad(set_to_none=False)
        return loss.item()


def rows_input(tokens, n_prompt: int) -> dict:
    """Of [rows, length]: predict everything behind the prompt."""
    import torch

    rows, length = tokens.shape
    places = (torch.arange(rows)[:, None] * length + torch.arange(n_prompt - 1, length - 1)).flatten()
    return {"tokens": tokens, "places": places, "targets": tokens[:, n_prompt:].flatten()}


def packed_input(tokens, shared: int) -> dict:
    """The same rows with their common prefix once, and a dense mask that says who sees whom."""
    import torch

    rows, length = tokens.shape
    rest = length - shared
    total = shared + rows * rest
    positions = torch.cat([torch.arange(shared), torch.arange(shared, length).repeat(rows)])
    mask = torch.zeros(total, total, dtype=torch.bool)
    mask[:, :shared] = True
    mask[:shared] &= torch.ones(shared, total, dtype=torch.bool).tril()
    for row in range(rows):
        own = slice(shared + row * rest, shared + (row + 1) * rest)
        mask[own, own] = torch.ones(rest, rest, dtype=torch.bool).tril()
    places = []
    for row in range(rows):
        places += [shared - 1, *range(shared + row * rest, shared + (row + 1) * rest - 1)]
    return {
        "tokens": torch.cat([tokens[:1, :shared], tokens[:, shared:].reshape(1, -1)], dim=1),
        "position_ids": positions[None],
        "attention_mask": mask[None, None],
        "places": torch.tensor(places),
        "targets": tokens[:, shared:].flatten(),
    }


def torch_variants(job: dict) -> dict:
    import torch

    torch.manual_seed(2)
    tokens = torch.randint(0, job["shape"]["vocab"], (job["rows"], job["length"]))
    inputs = {"rows": rows_input(tokens, job["prompt"])}
    if job["kind"] == "tree":
        tokens[:, : job["prompt"]] = tokens[0, : job["prompt"]]
        inputs = {"rows": rows_input(tokens, job["prompt"]), "dense mask": packed_input(tokens, job["prompt"])}
    found, losses = {}, []
    for name, values in inputs.items():
        losses.append(TorchStep(job["shape"], fused=False)(**values))  # of the fresh model: the same for all
        seconds = []
        for fused in (False, True):
            step = TorchStep(job["shape"], fused)
            seconds.append(median_seconds(lambda step=step, values=values: step(**values), job["repetitions"]))
        found[name] = min(seconds)
    if max(losses) - min(losses) > 1e-4:
        raise RuntimeError(f"the dense mask computes something else: losses {losses}")
    return found


def word_tokenizer(vocabulary: int):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({f"w{i}": i for i in range(vocabulary)}, unk_token="w2"))
    words.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0", eos_token="w1", unk_token="w2")


def grpo_variants(job: dict) -> dict:
    """Steps of GRPOTrainer, generation included, from the callback before to the one after."""
    import random

    import datasets
    import transformers
    from trl import GRPOConfig, GRPOTrainer

    class Watch(transformers.TrainerCallback):
        def __init__(self) -> None:
            self.seconds = []

        def on_step_begin(self, *_: object, **__: object) -> None:
            self.start = time.process_time()

        def on_step_end(self, *_: object, **__: object) -> None:
            self.seconds.append(time.process_time() - self.start)

    vocabulary, rng = job["shape"]["vocab"], random.Random(1)
    prompts = [
        " ".join(f"w{rng.randrange(3, vocabulary)}" for _ in range(job["prompt"]))
        for _ in range(job["prompts"] * (job["repetitions"] + 1))
    ]
    lengths = []

    def reward(completion_ids: list, **_: object) -> list[float]:
        lengths.extend(len(ids) for ids in completion_ids)
        return [1.0] * len(completion_ids)

    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=job["prompts"] * job["samples"],
            gradient_accumulation_steps=1,
            num_generations=job["samples"],
            max_completion_length=job["new_tokens"],
            generation_kwargs={"min_new_tokens": job["new_tokens"]},
            max_steps=job["repetitions"] + 1,
            temperature=1.0,
            beta=0.0,
            learning_rate=1e-6,
            weight_decay=0.1,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
        )
        watch = Watch()
        trainer = GRPOTrainer(
            model=make_model(job["shape"]),
            reward_funcs=reward,
            args=settings,
            train_dataset=datasets.Dataset.from_dict({"prompt": prompts}),
            processing_class=word_tokenizer(vocabulary),
            callbacks=[watch],
        )
        trainer.train()
    expected = job["prompts"] * job["samples"] * (job["repetitions"] + 1)
    if len(lengths) != expected or set(lengths) != {job["new_tokens"]}:
        raise RuntimeError(f"{len(lengths)} completions of {sorted(set(lengths))} tokens, expected {expected}")
    return {"step": statistics.median(watch.seconds[1:])}


def main() -> None:
    import torch

    torch.set_num_threads(1)
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if job["kind"] == "grpo":
        import trl

        version, seconds = f"trl {trl.__version__}", grpo_variants(job)
    else:
        version, seconds = f"torch {torch.__version__}", torch_variants(job)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {"version": version, "seconds": seconds, "peak_bytes": peak}
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
