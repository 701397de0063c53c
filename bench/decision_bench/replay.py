"""Traffic through a decider: what the cache service does around it, without the service."""

import enum
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from decision_bench.world import Prompt, Stored, World

from penstock_cache.decision.candidate import Candidate
from penstock_cache.decision.decider import Decider
from penstock_cache.decision.decision import DecisionKind
from penstock_cache.decision.label import Label

_NUM_CANDIDATES = 8
_MAX_STORED_OF_FAMILY = 64


class Outcome(enum.IntEnum):
    """What became of a request. Exact hits are not part of error and hit rates."""

    EXACT = 0
    MISS = 1
    EXPLORED = 2
    SERVED = 3


@dataclass
class Result:
    """One row a request, in order."""

    outcome: list[int] = field(default_factory=list)
    klass: list[int] = field(default_factory=list)
    is_wrong: list[bool] = field(default_factory=list)  # served and wrong
    could_serve: list[bool] = field(default_factory=list)  # a right candidate was there
    score: list[float] = field(default_factory=list)  # of the verifier's best candidate; nan without one
    best_is_right: list[bool] = field(default_factory=list)  # that one

    def add(self, outcome: Outcome, klass: int, **facts: float) -> None:
        """Notes a request."""
        self.outcome.append(outcome)
        self.klass.append(klass)
        self.is_wrong.append(bool(facts.get("is_wrong", False)))
        self.could_serve.append(bool(facts.get("could_serve", False)))
        self.score.append(facts.get("score", float("nan")))
        self.best_is_right.append(bool(facts.get("best_is_right", False)))


@dataclass(frozen=True, slots=True)
class Change:
    """Answers to a share of the classes change at a request."""

    at_request: int
    classes: frozenset[int]


class Cache:
    """Stored answers, found by prompt and by family."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._exact: dict[int, Stored] = {}
        self._of_family: dict[int, list[Stored]] = defaultdict(list)
        self._num_clusters = 0

    def exact(self, prompt: Prompt) -> Stored | None:
        """The answer to the very same prompt."""
        return self._exact.get(prompt.number)

    def near(self, prompt: Prompt) -> list[tuple[float, Stored]]:
        """Candidates with their scores, best first."""
        stored = self._of_family[self._world.family(prompt.klass)]
        if not stored:
            return []
        scores = self._world.scores(prompt, stored)
        return [(float(scores[i]), stored[i]) for i in np.argsort(-scores)[:_NUM_CANDIDATES]]

    def put(self, prompt: Prompt, version: int, cluster: str | None, now_s: float) -> None:
        """Stores an answer."""
        if cluster is None:
            self._num_clusters += 1
            cluster = f"c{self._num_clusters}"
        entry = Stored(prompt, version, cluster, now_s)
        self._exact[prompt.number] = entry
        family = self._of_family[self._world.family(prompt.klass)]
        family.append(entry)
        if len(family) > _MAX_STORED_OF_FAMILY:
            del family[0]


def replay(
    decider: Decider,
    world: World,
    requests: Iterable[Prompt],
    *,
    max_error_rate: float,
    clock: "SteppingClock",
    change: Change | None = None,
    label_noise: float = 0.0,
    noise_rng: np.random.Generator | None = None,
) -> Result:
    """Sends requests through a cache that begins empty."""
    cache, result = Cache(world), Result()
    version = 0
    for number, prompt in enumerate(requests):
        clock.now_s += 1.0
        if change and number == change.at_request:
            version = 1
        truth = version if change and prompt.klass in change.classes else 0
        stored = cache.exact(prompt)
        if stored is not None and stored.version == truth:
            result.add(Outcome.EXACT, prompt.klass)
            continue
        near = cache.near(prompt)
        if not near:
            cache.put(prompt, truth, None, clock.now_s)
            result.add(Outcome.MISS, prompt.klass)
            continue
        candidates = [Candidate(entry.cluster, score, entry.created_s) for score, entry in near]
        right = [entry.prompt.klass == prompt.klass and entry.version == truth for _, entry in near]
        decision = decider.decide(
            candidates, max_error_rate=max_error_rate, prompt_key=prompt.number.to_bytes(8, "little")
        )
        chosen = near[decision.index][1]
        is_right = right[decision.index]
        facts = {"could_serve": any(right), "score": near[0][0], "best_is_right": right[0]}
        if decision.kind is DecisionKind.SERVE:
            result.add(Outcome.SERVED, prompt.klass, is_wrong=not is_right, **facts)
            continue
        is_flipped = noise_rng is not None and noise_rng.random() < label_noise
        label = is_right != is_flipped
        decider.learn(Label(chosen.cluster, near[decision.index][0], label, decision.propensity, clock.now_s))
        cache.put(prompt, truth, chosen.cluster if label else None, clock.now_s)
        result.add(Outcome.EXPLORED, prompt.klass, **facts)
    return result


class SteppingClock:
    """A second a request."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """The time now."""
        return self.now_s


def zipf(world: World, num_requests: int, *, exponent: float, rng: np.random.Generator) -> list[Prompt]:
    """Requests whose classes follow a Zipf law."""
    weights = 1 / np.arange(1, world.num_classes + 1) ** exponent
    order = rng.permutation(world.num_classes)
    classes = order[rng.choice(world.num_classes, size=num_requests, p=weights / weights.sum())]
    return [world.prompt(int(klass), rng) for klass in classes]


def shuffled(prompts: Sequence[Prompt], rng: np.random.Generator) -> list[Prompt]:
    """Each prompt once."""
    return [prompts[i] for i in rng.permutation(len(prompts))]
