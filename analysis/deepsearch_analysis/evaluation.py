"""Of a `deepsearch evaluate` run: its scores, and every response as text beside its verdict."""

from __future__ import annotations

import numpy as np
import pandas as pd

from deepsearch_analysis.reader import Run

TABLES = ("benchmarks", "scores", "problems", "samples")


def has_evaluation(run: Run) -> bool:
    return len(run.table("evaluation/benchmarks")) > 0


def scores(run: Run) -> pd.DataFrame:
    """/evaluation/scores with each benchmark's name."""
    table = run.evaluation("scores")
    names = run.evaluation("benchmarks")["name"].to_numpy()
    table.insert(0, "name", names[table["benchmark"]])
    return table


def _texts_of_tree(run: Run, nodes: pd.DataFrame, tokens: np.ndarray, leaves: np.ndarray) -> list[str]:
    parents, counts = nodes["parent"].to_numpy(), nodes["n_tokens"].to_numpy()
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])  # tokens lie by node
    texts = []
    for leaf in leaves:
        pieces, node = [], int(leaf)
        while node > 0:
            pieces.append(tokens[starts[node] : starts[node] + counts[node]])
            node = int(parents[node])
        texts.append(run.words(np.concatenate(pieces[::-1])) if pieces else "")
    return texts


def responses(run: Run) -> pd.DataFrame:
    """One row a response, in the order of /evaluation/samples: benchmark, id, sample, outcome, extracted, answer,
    tokens, truncated, text. Texts come from the parts."""
    problems, samples = run.evaluation("problems"), run.evaluation("samples")
    names = run.evaluation("benchmarks")["name"].to_numpy()
    # The same problem in two benchmarks is told apart by `attempt`, which counts up in their order.
    places = pd.DataFrame({"problem_key": problems["key"], "problem_index": problems["index"]})
    places["attempt"] = places.groupby(["problem_key", "problem_index"]).cumcount()
    row_of = {place: row for row, place in enumerate(places.itertuples(index=False, name=None))}
    nodes, tokens, recorded = run.nodes(["parent", "n_tokens"]), run.tokens(["id"]), run.recorded(["leaf"])
    by_tree = [dict(tuple(frame.groupby("tree"))) if len(frame) else {} for frame in (nodes, tokens, recorded)]
    texts: dict[tuple[int, int], str] = {}
    for tree, line in run.trees.iterrows():
        row = row_of.get((line["problem_key"], line["problem_index"], line["attempt"]))
        own = [frames.get(tree) for frames in by_tree]
        if row is None or own[0] is None or own[2] is None:
            continue
        ids = own[1]["id"].to_numpy() if own[1] is not None else np.array([], dtype=int)
        for sample, text in enumerate(_texts_of_tree(run, own[0], ids, own[2]["leaf"].to_numpy())):
            texts[row, sample] = text
    where = samples["problem"].to_numpy()
    out = pd.DataFrame(
        {"benchmark": names[problems["benchmark"].to_numpy()[where]], "id": problems["id"].to_numpy()[where]}
    )
    for column in ("sample", "outcome", "extracted", "answer", "tokens", "truncated"):
        out[column] = samples[column]
    out["text"] = [texts.get((p, s)) for p, s in zip(where, samples["sample"], strict=True)]
    return out
