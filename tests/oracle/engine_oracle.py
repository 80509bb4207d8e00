#!/usr/bin/env python3
"""Holds the program's generation to transformers, family by family, the way its user runs it.

    engine_oracle.py --deepsearch build/.../deepsearch

Random-weight checkpoints of every family are made with transformers. For each:

  score     log-probs and entropies of random texts, at every position, within 2e-4 of transformers' (fp32)
  generate  greedy continuations of 200 tokens, the same tokens
  compare   engine against the learner's network: max |d log-prob| <= 1e-5, mean <= 1e-6; on weights a quarter as large,
            where logits spread as a language model's do (with the large ones, which keep greedy choices apart, fp32
            itself is 3e-5 away from float64, transformers' as well as ours)

A greedy continuation may differ where transformers itself sees two logits closer than 1e-4: then the rest is not
compared, and at most one of a model's continuations may end that way. Needs torch and transformers; never touches the
network. Exit code 0: all agree; 1: not.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch  # noqa: E402
import transformers  # noqa: E402

TOLERANCE = 2e-4
TIE = 1e-4
NEW_TOKENS = 200
TINY = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "initializer_range": 0.25,
}
# About 0.1 B parameters: the widths of small public models, fewer layers.
LARGE = {
    "vocab_size": 32000,
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 8,
    "num_attention_heads": 12,
    "max_position_embeddings": 1024,
    "initializer_range": 0.06,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN_ROPE = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 128}


def cases(full):
    """name, config, dtype of the saved file."""
    llama, qwen2, qwen3 = transformers.LlamaConfig, transformers.Qwen2Config, transformers.Qwen3Config
    yield "llama", llama(**TINY), torch.float32
    yield "llama-grouped-bf16", llama(**TINY, num_key_value_heads=2, tie_word_embeddings=True), torch.bfloat16
    yield "llama3-rope", llama(**TINY, num_key_value_heads=2, rope_parameters=LLAMA3_ROPE), torch.float32
    yield (
        "llama-linear",
        llama(**TINY, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}),
        torch.float16,
    )
    yield "qwen2", qwen2(**TINY, num_key_value_heads=2), torch.float32
    yield (
        "qwen2-yarn-tied",
        qwen2(**TINY, num_key_value_heads=1, rope_parameters=YARN_ROPE, tie_word_embeddings=True),
        torch.float32,
    )
    yield "qwen3", qwen3(**TINY, num_key_value_heads=2, head_dim=24), torch.float32
    if full:
        yield "llama-0.1B", llama(**LARGE, num_key_value_heads=4), torch.float32
        yield "qwen2-0.1B", qwen2(**LARGE, num_key_value_heads=2, tie_word_embeddings=True), torch.bfloat16
        yield "qwen3-0.1B", qwen3(**LARGE, num_key_value_heads=4, head_dim=128), torch.float32


def random_biases(model):
    """transformers starts biases at zero and norms at one, which would hide them."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.normal_(0, 0.1)
            elif "norm" in name:
                parameter.uniform_(0.6, 1.4)


def run(*command):
    report = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=500, check=False)
    if report.returncode != 0:
        sys.exit(f"{' '.join(map(str, command[:3]))} ended with {report.returncode}:\n{report.stdout}{report.stderr}")
    return report.stdout


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def check_scores(program, folder, model, texts):
    source, result = folder / "texts.jsonl", folder / "scores.jsonl"
    source.write_text("".join(json.dumps({"tokens": text}) + "\n" for text in texts))
    run(program, "score", "--model", folder, "--tokens", source, "--out", result)
    worst = 0.0
    for text, scores in zip(texts, read_lines(result), strict=True):
        with torch.no_grad():
            everything = torch.log_softmax(model(input_ids=torch.tensor([text])).logits[0].double(), -1)
        expected = everything[:-1].gather(1, torch.tensor(text[1:]).unsqueeze(1)).squeeze(1)
        entropies = -(everything.exp() * everything).sum(-1)[:-1]
        for ours, theirs in ((scores["logprobs"], expected), (scores["entropies"], entropies)):
            difference = (torch.tensor(ours, dtype=torch.float64) - theirs).abs()
            worst = max(worst, difference.max().item() if difference.numel() else 0.0)
    return worst


def greedy(model, prompt, n):
    """Tokens, and for each how far the best logit was ahead."""
    with torch.no_grad():
        output = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),  # else a prompt's zeros count as padding
            max_new_tokens=n,
            min_new_tokens=n,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
            eos_token_id=None,
            pad_token_id=0,
        )
    leads = [(top := logits[0].topk(2).values)[0].item() - top[1].item() for logits in output.logits]
    return output.sequences[0][len(prompt) :].tolist(), leads


def check_greedy(program, folder, model, prompts, n):
    source, result = folder / "prompts.jsonl", folder / "continued.jsonl"
    source.write_text("".join(json.dumps({"tokens": prompt}) + "\n" for prompt in prompts))
    run(
        program,
        "generate",
        "--model",
        folder,
        "--prompts",
        source,
        "--out",
        result,
        "--temperature",
        0,
        "--max-tokens",
        n,
    )
    ties = 0
    for number, (prompt, line) in enumerate(zip(prompts, read_lines(result), strict=True)):
        tokens, leads = greedy(model, prompt, n)
        if line["tokens"] == tokens:
            continue
        at = next((i for i, (a, b) in enumerate(zip(line["tokens"], tokens, strict=False)) if a != b), len(tokens))
        if at < len(tokens) and leads[at] < TIE:
            ties += 1
            continue
        return f"continuation {number} differs from token {at} on ({len(line['tokens'])} tokens)"
    return f"{ties} of {len(prompts)} continuations met ties" if ties > 1 else ""


def check_compare(program, folder):
    line = run(program, "compare", "--model", folder, "--dtypes", "fp32", "--texts", 8, "--length", 100).splitlines()[
        -1
    ]
    largest, mean = float(line.split()[-3]), float(line.split()[-2])
    return largest, mean


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deepsearch", required=True, type=Path, help="the program")
    parser.add_argument("--full", action="store_true", help="also models of 0.1 B parameters (about two minutes)")
    arguments = parser.parse_args()
    program = arguments.deepsearch.resolve()
    torch.set_num_threads(1)
    errors = []
    for number, (name, config, dtype) in enumerate(cases(arguments.full)):
        config.eos_token_id = None
        config.bos_token_id = None
        torch.manual_seed(number)
        with tempfile.TemporaryDirectory(prefix="deepsearch-oracle-") as work:
            folder = Path(work, "model")
            model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
            random_biases(model)
            model.to(dtype).save_pretrained(folder, max_shard_size="40KB" if number % 2 else "5GB")
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
            large = config.vocab_size > 1000
            lengths = (1, 2, 17, 200) if large else (1, 2, 15, 16, 17, 100, 400)
            texts = [torch.randint(0, config.vocab_size, (length,)).tolist() for length in lengths]
            prompts = [
                torch.randint(0, config.vocab_size, (length,)).tolist()
                for length in ((5, 40) if large else (1, 5, 16, 33))
            ]
            worst = check_scores(program, folder, model, texts)
            wrong = check_greedy(program, folder, model, prompts, NEW_TOKENS)
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.dim() > 1:
                        parameter.mul_(0.25)
            model.save_pretrained(Path(work, "quiet"))
            largest, mean = check_compare(program, Path(work, "quiet"))
            print(
                f"{name}: scores differ by at most {worst:.2g}; greedy {wrong or f'{NEW_TOKENS} tokens identical'}; "
                f"engine against learner {largest:.2g} (mean {mean:.2g})",
                flush=True,
            )
            if not worst <= TOLERANCE:
                errors.append(f"{name}: scores differ by {worst}")
            if wrong:
                errors.append(f"{name}: greedy {wrong}")
            if not (largest <= 1e-5 and mean <= 1e-6):
                errors.append(f"{name}: engine and learner differ by {largest}, {mean} in the mean")
    for error in errors:
        print(f"FAILED {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
