"""The tables of the report as frames: the paper's search table, rounds, stragglers, problems never solved."""

from __future__ import annotations

import numpy as np
import pandas as pd

from deepsearch_analysis.codes import RunError
from deepsearch_analysis.reader import Run

# Of the paper's table of the search: the means over a tree's recorded trajectories, and the tree's own effort.
SEARCH_COLUMNS = {"depth": "nodes", "entropy": "nats a token", "reward": "", "iterations": "", "seconds": "s a tree"}


def _searched(run: Run) -> pd.DataFrame:
    trees = run.trees
    return trees[trees["kind"].astype(str) == "tree"] if len(trees) and "kind" in trees else trees.iloc[:0]


def per_tree(run: Run) -> pd.DataFrame:
    """One row a searched tree: SEARCH_COLUMNS, beside its step. Empty where the run has no tree or damaged ones."""
    trees = _searched(run)
    if not len(trees):
        return pd.DataFrame()
    try:
        recorded = run.recorded(["leaf", "reward", "entropy"])
        nodes = run.nodes(["depth"])
    except RunError as error:
        run.warnings.append(str(error))
        return pd.DataFrame()
    tree_of = nodes["tree"].to_numpy()
    first = np.searchsorted(tree_of, recorded["tree"].to_numpy())
    at = first + recorded["leaf"].to_numpy()
    good = (at >= 0) & (at < len(nodes))
    recorded = recorded[good].assign(depth=nodes["depth"].to_numpy()[at[good]])
    means = recorded.groupby("tree")[["depth", "entropy", "reward"]].mean()
    means["trajectories"] = recorded.groupby("tree").size()
    return trees[["step", "iterations", "seconds"]].join(means, how="left")[["step", *SEARCH_COLUMNS, "trajectories"]]


def summary_of_trees(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, deviation and quantiles of each column of per_tree()."""
    rows = []
    for name, unit in SEARCH_COLUMNS.items() if len(table) else ():
        values = table[name].dropna().to_numpy(dtype=float)
        if len(values):
            low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
            rows.append({"per tree": f"{name}, {unit}" if unit else name, "mean": values.mean(),
                         "deviation": values.std(),
                         "5 %": low, "median": middle, "95 %": high, "trees": len(values)})  # fmt: skip
    return pd.DataFrame(rows)


def search_row(run: Run) -> dict[str, float]:
    """One row of the paper's table, by /metrics/search's rule: depth, entropy and reward are means over recorded
    trajectories, iterations and seconds over trees."""
    table = per_tree(run)
    row: dict[str, float] = {"trees": float(len(table))}
    for name in SEARCH_COLUMNS:
        weights = table["trajectories"] if len(table) and name in ("depth", "entropy", "reward") else None
        row[name] = _mean(table[name], weights) if len(table) else np.nan
    return row


def _mean(values: pd.Series, weights: pd.Series | None) -> float:
    if weights is None:
        return float(values.mean())
    good = values.notna()
    return float(np.average(values[good], weights=weights[good])) if good.any() else np.nan


def rounds(run: Run) -> pd.DataFrame:
    """By round: problems met, those with a correct trajectory, those left hard, trajectories from the cache."""
    trees = run.trees
    if not len(trees) or "round" not in trees:
        return pd.DataFrame()
    learner = run.metrics("learner")
    rows = []
    for number, own in trees.groupby("round"):
        best = own.groupby("problem_key")["n_correct"].sum()
        searched = own["kind"].astype(str) == "tree"
        cached = np.nan
        if "cached_trajectories" in learner and "round" in learner:
            cached = float(learner.loc[learner["round"] == number, "cached_trajectories"].sum())
        rows.append({"round": number, "steps": own["step"].nunique(), "problems": len(best),
                     "solved": int((best > 0).sum()),
                     "hard (unsolved)": int((best == 0).sum()), "trees": int(searched.sum()),
                     "groups of rollouts": int((~searched).sum()), "cached trajectories": cached})  # fmt: skip
    return pd.DataFrame(rows)


def _problem_names(run: Run) -> pd.Series:
    problems = run.problems
    return problems["id"] if len(problems) and "id" in problems else pd.Series(dtype=object)


def stragglers(run: Run, most: int = 12) -> pd.DataFrame:
    """The trees that took longest, against the median of their own step."""
    trees = run.trees
    if not len(trees) or "seconds" not in trees:
        return pd.DataFrame()
    worst = trees.nlargest(most, "seconds")
    median = trees.groupby("step")["seconds"].median()
    names = _problem_names(run)
    return pd.DataFrame({
        "tree": worst["name"], "problem": [str(names.get(k, k)) for k in worst["problem_key"]],
        "kind": worst["kind"].astype(str), "step": worst["step"], "seconds": worst["seconds"],
        "times the step's median": worst["seconds"] / worst["step"].map(median).clip(lower=1e-9),
        "tokens": worst["tokens_generated"], "nodes": worst["n_nodes"],
        "rank": worst.get("made_by_rank", np.nan),
    })  # fmt: skip


def never_solved(run: Run, most: int = 200) -> pd.DataFrame:
    """Problems whose trees and rollouts have all failed, the most expensive first."""
    trees = run.trees
    if not len(trees):
        return pd.DataFrame()
    own = trees.groupby("problem_key").agg(
        correct=("n_correct", "sum"), tries=("n_correct", "size"), trajectories=("n_recorded", "sum"),
        tokens=("tokens_generated", "sum"), last_step=("step", "max"),
    )  # fmt: skip
    hard = own[own["correct"] == 0].nlargest(most, "tokens")
    problems, names = run.problems, _problem_names(run)
    prompts = problems["prompt"] if len(problems) and "prompt" in problems else pd.Series(dtype=object)
    return pd.DataFrame({
        "problem": [str(names.get(k, k)) for k in hard.index], "trees and groups": hard["tries"],
        "trajectories": hard["trajectories"], "tokens": hard["tokens"], "last step": hard["last_step"],
        "prompt": [str(prompts.get(k, ""))[:120] for k in hard.index],
    })  # fmt: skip


def utilisation(run: Run) -> pd.DataFrame:
    """By rank: share of its wall time that it had work, and its worst step."""
    rows = []
    search, learner = run.metrics("search"), run.metrics("learner")
    tables = (
        [(f"search {int(rank)}", own, "seconds_waiting") for rank, own in search.groupby("rank")]
        if "rank" in search
        else []
    )
    tables += [("learner", learner, "seconds_wait")] if len(learner) else []
    for who, own, waiting in tables:
        if waiting not in own or "seconds_total" not in own:
            continue
        busy = 1 - own[waiting] / own["seconds_total"].clip(lower=1e-9)
        total = own["seconds_total"].sum()
        rows.append({"rank": who, "busy, % of the time": 100 * (1 - own[waiting].sum() / max(total, 1e-9)),
                     "seconds": total, "busy in its worst step, %": 100 * busy.min(),
                     "that step": own["step"].iloc[int(np.argmin(busy.to_numpy()))]})  # fmt: skip
    return pd.DataFrame(rows)
