"""Traffic as the cache meets it, from labelled prompts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_CANDIDATES = 8
Numbers = NDArray[np.int64]
Scorer = Callable[[int, Numbers, Sequence[str]], Sequence[float]]
"""Logits of a query's candidates, by prompt numbers and clusters."""


@dataclass(frozen=True, slots=True)
class Group:
    """A query, its nearest stored prompts, and which of them are known to share an answer."""

    query: int
    candidates: Numbers
    clusters: list[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a replay."""

    num_requests: int
    num_hits: int
    num_wrong: int


def shuffled(members: Numbers, seed: int) -> Numbers:
    """An order of traffic in which each prompt comes once."""
    return np.random.default_rng(1000 + seed).permutation(members)


def groups(members: Numbers, vectors: NDArray[np.float32], classes: Numbers, seed: int) -> Iterator[Group]:
    """A replay that serves nothing and so stores everything; the nearest candidate's label is learned."""
    order = shuffled(members, seed)
    similarity = vectors[order] @ vectors[order].T
    clusters = np.arange(len(order))
    for place in range(1, len(order)):
        nearest = np.argsort(-similarity[place, :place], kind="stable")[:NUM_CANDIDATES]
        yield Group(int(order[place]), order[nearest], [str(cluster) for cluster in clusters[nearest]])
        if classes[order[place]] == classes[order[nearest[0]]]:
            clusters[place] = clusters[nearest[0]]


def replay(
    members: Numbers, vectors: NDArray[np.float32], classes: Numbers, seed: int, *, scorer: Scorer, threshold: float
) -> Outcome:
    """A replay that serves the best candidate from a threshold on, and stores and labels what it does not serve."""
    order = shuffled(members, seed)
    similarity = vectors[order] @ vectors[order].T
    clusters = np.arange(len(order))
    stored: list[int] = [0]
    num_hits = num_wrong = 0
    for place in range(1, len(order)):
        known = np.array(stored)
        nearest = known[np.argsort(-similarity[place, known], kind="stable")[:NUM_CANDIDATES]]
        names = [str(cluster) for cluster in clusters[nearest]]
        logits = np.asarray(scorer(int(order[place]), order[nearest], names))
        best = nearest[int(logits.argmax())]
        is_right = classes[order[place]] == classes[order[best]]
        if logits.max() >= threshold:
            num_hits += 1
            num_wrong += not is_right
            continue
        stored.append(place)
        if is_right:
            clusters[place] = clusters[best]
    return Outcome(len(order), num_hits, num_wrong)
