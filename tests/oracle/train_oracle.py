#!/usr/bin/env python3
"""Compares training with PyTorch's own: the same rows, three updates, equal parameters.

    train_oracle.py --test-binary build/.../test_learn [--keep DIR]

A case is a small random model of transformers and three minibatches of rows: prompts and responses, an advantage and a
behaviour log-probability for each response token; some rows begin alike, as the trajectories of a tree do. Here the
loss of algorithm.md, section 3, is written out in PyTorch over transformers' network, each row a text of its own, with
torch.optim.AdamW (decay on matrices only), torch's clip_grad_norm_ and a linear warm-up. The binary trains on the same
rows, packed and not (tests/learn/train_oracle_test.cpp).

After the last update the parameters must agree to 1e-6 (largest |difference| over largest |parameter|) in fp32, and
what training changed to 1e-3 (norm of the difference over norm of the change); loss and gradient norm to 1e-5. Needs
torch and transformers; never touches the network. Exit code 0: all agree; 1: not.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch  # noqa: E402
import transformers  # noqa: E402
from model_oracle import FAMILIES  # noqa: E402

PARAMETER_TOLERANCE = 1e-6
CHANGE_TOLERANCE = 1e-3
STATS_TOLERANCE = 1e-5
CLIP_LOW, CLIP_HIGH, DUAL_CLIP = 0.2, 0.28, 10.0

SHAPE = {
    "vocab_size": 37,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.15,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LEARN = {
    "packing": "tree",
    "tokens_per_microbatch": 150,
    "loss_aggregation": "token_mean",
    "clip_low": CLIP_LOW,
    "clip_high": CLIP_HIGH,
    "dual_clip": DUAL_CLIP,
    "kl_coef": 0.0,
    "entropy_coef": 0.0,
    "epochs": 1,
    "threads": 1,
}
OPTIMIZER = {
    "lr": 1e-4,
    "warmup_steps": 2,
    "weight_decay": 0.1,
    "max_grad_norm": 1.0,
    "epsilon": 1e-6,  # AdamW divides by it where a gradient is all rounding error: with 1e-8 such a one moves by lr
}

# name: (family, shape, [learn], [learn.optimizer], scale of the advantages)
CASES = {
    "llama_tree": ("llama", {}, {}, {}, 1.0),
    "llama_none": ("llama", {}, {"packing": "none"}, {}, 1.0),
    "llama_clipped_gradient": ("llama", {}, {}, {}, 30.0),
    "llama_one_piece": ("llama", {}, {"tokens_per_microbatch": 100000}, {}, 1.0),
    "qwen2_tree": ("qwen2", {"tie_word_embeddings": True}, {}, {}, 1.0),
    "qwen2_none": ("qwen2", {"tie_word_embeddings": True}, {"packing": "none"}, {}, 1.0),
    "qwen3_sequences_tree": (
        "qwen3",
        {"head_dim": 12},
        {"loss_aggregation": "seq_mean_token_mean"},
        {},
        1.0,
    ),
    "qwen3_sequences_none": (
        "qwen3",
        {"head_dim": 12},
        {"loss_aggregation": "seq_mean_token_mean", "packing": "none"},
        {},
        1.0,
    ),
    "kl_and_entropy": ("llama", {}, {"kl_coef": 0.05, "entropy_coef": 0.01}, {}, 1.0),
    "two_epochs": ("llama", {}, {"epochs": 2}, {"lr": 1e-3, "epsilon": 1e-5}, 1.0),
}


def make_model(family, shape, seed):
    torch.manual_seed(seed)
    make_config, make = FAMILIES[family]
    model = make(make_config(**{**SHAPE, **shape}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.normal_(0.0, 0.2)
            elif parameter.dim() == 1:
                parameter.normal_(1.0, 0.2)
    return model


def make_tokens(rng):
    """Token lists with the prompts' lengths: trees whose trajectories branch at any place, and rows on their own."""
    vocabulary = SHAPE["vocab_size"]
    rows = []
    for _ in range(4):
        prompt = [rng.randrange(vocabulary) for _ in range(rng.randint(2, 9))]
        first = prompt + [rng.randrange(vocabulary) for _ in range(rng.randint(10, 40))]
        rows.append((first, len(prompt)))
        for _ in range(rng.randint(0, 4)):
            parent = rng.choice([tokens for tokens, n_prompt in rows if tokens[: len(prompt)] == prompt])
            keep = rng.randint(len(prompt), len(parent) - 1)
            new = [rng.randrange(vocabulary) for _ in range(rng.randint(1, 25))]
            rows.append((parent[:keep] + new, len(prompt)))
    rows.append(rows[0])  # twice the same text, with other advantages
    rng.shuffle(rows)
    return rows


def make_rows(rng, model, scale):
    rows = []
    for tokens, n_prompt in make_tokens(rng):
        with torch.no_grad():
            found = logprobs_of(model, tokens, n_prompt)[0].tolist()
        # Ratios around 1, a few clipped, and now and then one beyond the dual clip.
        behaviour = [value + rng.gauss(0, 0.2) - (4.0 if rng.random() < 0.03 else 0.0) for value in found]
        advantages = [scale * rng.gauss(0, 1) for _ in found]
        rows.append({"tokens": tokens, "n_prompt": n_prompt, "advantages": advantages, "behaviour": behaviour})
    return rows


def logprobs_of(model, tokens, n_prompt):
    """Of the response's tokens: log-probabilities, and the entropies of the distributions they were drawn from."""
    logits = model(input_ids=torch.tensor([tokens])).logits[0, n_prompt - 1 : -1]
    every = logits.log_softmax(-1)
    chosen = every.gather(1, torch.tensor(tokens[n_prompt:]).unsqueeze(1)).squeeze(1)
    return chosen, -(every.exp() * every).sum(-1)


def minibatch_loss(model, reference, rows, learn):
    total, n_tokens = 0.0, sum(len(row["advantages"]) for row in rows)
    for row in rows:
        logprobs, entropies = logprobs_of(model, row["tokens"], row["n_prompt"])
        advantages = torch.tensor(row["advantages"])
        ratio = (logprobs - torch.tensor(row["behaviour"])).exp()
        clipped = ratio.clamp(1 - learn["clip_low"], 1 + learn["clip_high"])
        losses = -torch.minimum(ratio * advantages, clipped * advantages)
        losses = torch.where(advantages < 0, torch.minimum(losses, -learn["dual_clip"] * advantages), losses)
        if learn["kl_coef"] > 0:
            with torch.no_grad():
                start = logprobs_of(reference, row["tokens"], row["n_prompt"])[0]
            losses = losses + learn["kl_coef"] * ((start - logprobs).exp() - (start - logprobs) - 1)
        losses = losses - learn["entropy_coef"] * entropies
        if learn["loss_aggregation"] == "token_mean":
            total = total + losses.sum() / n_tokens
        else:
            total = total + losses.mean() / len(rows)
    return total


def train(model, reference, steps, learn, optimizer):
    """Means over each step's updates, as the binary's stats.json has them."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    adam = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": optimizer["weight_decay"]},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=optimizer["lr"],
        betas=(0.9, 0.999),
        eps=optimizer["epsilon"],
    )
    warm_up = torch.optim.lr_scheduler.LambdaLR(adam, lambda n: min(1.0, (n + 1) / optimizer["warmup_steps"]))
    stats = []
    for minibatches in steps:
        losses, norms = [], []
        for _ in range(learn["epochs"]):
            for rows in minibatches:
                adam.zero_grad()
                loss = minibatch_loss(model, reference, rows, learn)
                loss.backward()
                norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), optimizer["max_grad_norm"]).item())
                losses.append(loss.item())
                adam.step()
                warm_up.step()
        stats.append({"loss": sum(losses) / len(losses), "grad_norm": sum(norms) / len(norms)})
    return stats


def toml_of(learn, optimizer):
    def lines(table):
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())

    return f"[learn]\n{lines(learn)}[learn.optimizer]\n{lines(optimizer)}"


def settings(name):
    _, _, learn, optimizer, _ = CASES[name]
    return {**LEARN, **learn}, {**OPTIMIZER, **optimizer}


def write_case(folder, name):
    family, shape, _, _, scale = CASES[name]
    model = make_model(family, shape, seed=len(name)).eval()
    model.save_pretrained(folder / "model")
    rng = random.Random(family)  # cases of one family train on the same rows
    steps = [[make_rows(rng, model, scale), make_rows(rng, model, scale)], [make_rows(rng, model, scale)]]
    (folder / "steps.json").write_text(json.dumps(steps))
    (folder / "learn.toml").write_text(toml_of(*settings(name)))


def load(family, folder):
    return FAMILIES[family][1].from_pretrained(folder, dtype=torch.float32).eval()


def check_case(folder, name):
    """Errors (as text), and how far apart the two are."""
    family = CASES[name][0]
    start, model = load(family, folder / "model"), load(family, folder / "model")
    expected = train(model, start, json.loads((folder / "steps.json").read_text()), *settings(name))
    found = json.loads((folder / "stats.json").read_text())
    ours = dict(load(family, folder / "trained").named_parameters())
    begin = dict(start.named_parameters())
    worst, largest, apart, moved = 0.0, 0.0, 0.0, 0.0
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            difference = (ours[key].double() - parameter.double()).abs()
            worst = max(worst, difference.max().item())
            largest = max(largest, parameter.abs().max().item())
            apart += difference.square().sum().item()
            moved += (parameter.double() - begin[key].double()).square().sum().item()
    change = (apart / moved) ** 0.5
    errors = []
    if not worst / largest <= PARAMETER_TOLERANCE:
        errors.append(f"parameters differ by {worst / largest:.2g} of the largest")
    if not change <= CHANGE_TOLERANCE:
        errors.append(f"what training changed differs by {change:.2g}")
    for number, (step, other) in enumerate(zip(expected, found, strict=True)):
        for key, value in step.items():
            if not abs(other[key] - value) <= STATS_TOLERANCE * max(1.0, abs(value)):
                errors.append(f"{key} of step {number}: {other[key]}, PyTorch has {value}")
    norms = " ".join(f"{step['grad_norm']:.3g}" for step in expected)
    print(
        f"{name}: parameters {worst / largest:.2g} of the largest, changes {change:.2g} apart; gradient norms {norms}"
    )
    return errors


def run_binary(binary, folder):
    report = subprocess.run(
        [binary, "--gtest_filter=TrainOracle.TrainsOnTheGivenRows"],
        env={**os.environ, "DEEPSEARCH_TRAIN_ORACLE": str(folder)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if report.returncode != 0 or "[  PASSED  ] 1 test" not in report.stdout:
        sys.exit(f"{binary} did not pass:\n{report.stdout}{report.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test-binary", required=True, type=Path, help="the program test_learn")
    parser.add_argument("--keep", type=Path, help="leave the cases in this folder")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    errors = []
    with tempfile.TemporaryDirectory(prefix="deepsearch-oracle-") as work:
        root = args.keep or Path(work)
        for name in CASES:
            (root / name).mkdir(parents=True)
            write_case(root / name, name)
        run_binary(str(args.test_binary.resolve()), root)
        for name in CASES:
            errors += [f"{name}: {error}" for error in check_case(root / name, name)]
    for error in errors:
        print(f"FAILED {error}", file=sys.stderr)
    print("all agree" if not errors else f"{len(errors)} disagreement(s)")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
