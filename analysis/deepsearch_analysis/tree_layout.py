"""Where the nodes of a drawn tree go: a tidy layout (Reingold and Tilford's rule) in O(nodes · depth).

Depth runs along x; y is in units of one node's room, so that no two nodes of one depth are closer than 1.
"""

from __future__ import annotations

import numpy as np


def children_of(parent: np.ndarray) -> list[list[int]]:
    """Children in creation order. A parent is created before its children; anything else is not a tree."""
    children: list[list[int]] = [[] for _ in parent]
    for node in range(1, len(parent)):
        above = int(parent[node])
        if not 0 <= above < node:
            raise ValueError(f"node {node} has parent {above}")
        children[above].append(node)
    return children


def tidy_layout(parent: np.ndarray) -> np.ndarray:
    """y of every node; the root of each subtree sits midway between its outermost children."""
    n = len(parent)
    children = children_of(parent)
    offset = np.zeros(n)  # of a node from its parent
    contours: list[tuple[list[float], list[float]]] = [([], []) for _ in range(n)]  # (lowest, highest) by level
    for node in range(n - 1, -1, -1):
        low: list[float] = []
        high: list[float] = []
        places: list[float] = []
        for child in children[node]:
            child_low, child_high = contours[child]
            shift = max((high[i] + 1.0 - child_low[i] for i in range(min(len(high), len(child_low)))), default=0.0)
            places.append(shift)
            low += [v + shift for v in child_low[len(low) :]]
            high = [v + shift for v in child_high] + high[len(child_high) :]
            contours[child] = ([], [])
        middle = (places[0] + places[-1]) / 2 if places else 0.0
        for child, place in zip(children[node], places, strict=True):
            offset[child] = place - middle
        contours[node] = ([0.0] + [v - middle for v in low], [0.0] + [v - middle for v in high])
    y = np.zeros(n)
    for node in range(1, n):
        y[node] = y[int(parent[node])] + offset[node]
    return y - y.min() if n else y
