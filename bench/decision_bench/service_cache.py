"""The cache service without the service: the same lookups in one process, for the replay of `penstock bench cache`."""

from dataclasses import dataclass

import numpy as np
from decision_bench.known_scores import KnownScores
from numpy.typing import NDArray

from penstock.bench.cache.cache_client import Kept, Looked, Outcome
from penstock.bench.cache.policy import Policy, PolicyKind
from penstock_cache.decision.calibration import sigmoid
from penstock_cache.decision.candidate import Candidate
from penstock_cache.decision.decider import Decider
from penstock_cache.decision.decision import Decision, DecisionKind
from penstock_cache.decision.label import Label
from penstock_cache.semantic.encoder import UnreadablePromptError
from penstock_cache.semantic.prompt_recogniser import bond_of
from penstock_cache.semantic.prompts import EncodedPrompt

_NUM_NEIGHBOURS = 8
_MIN_SIMILARITY = 0.3


@dataclass(frozen=True, slots=True)
class Seen:
    """What a decision was made on; `texts` are the candidates' prompts."""

    prompt: str
    candidates: list[Candidate]
    texts: list[str]


@dataclass(frozen=True, slots=True)
class _Explored:
    """What was decided on."""

    cluster: str
    decision: Decision


class ServiceCache:
    """Stands in for a `CacheClient` of the service; labels come with `put`, and time goes a second a lookup.

    Args:
        decider: of the one tenant.
        prompts: all that will come, encoded.
        scores: of pairs of them.

    Attributes:
        decider: of the one tenant.
        num_semantic_lookups: as the service counts them.
        num_audits: explorations of what would have been served.
        seen: by each decision, in order.
    """

    def __init__(
        self, decider: Decider, prompts: dict[str, EncodedPrompt | UnreadablePromptError], scores: KnownScores
    ) -> None:
        self.decider = decider
        self._prompts = prompts
        self._scores = scores
        self._now_s = 0.0
        self._exact: set[str] = set()
        self._stored: list[EncodedPrompt] = []
        self._clusters: list[str] = []
        self._created_s: list[float] = []
        self._vectors = np.zeros((len(prompts), _dimension(prompts)), np.float32)
        self.num_semantic_lookups = 0
        self.num_audits = 0
        self.seen: list[Seen] = []
        self._explored: _Explored | None = None

    def look_up(self, tenant: str, prompt: str, policy: Policy) -> Looked:  # noqa: ARG002 - as the client has it
        """Decides on the nearest stored prompts. Entries are known by the prompts they answer."""
        self._now_s += 1.0
        if prompt in self._exact:
            return Looked(Outcome.EXACT_HIT, prompt, b"", "")
        encoded = self._comparable(prompt)
        if encoded is None:
            return Looked(Outcome.MISS, "", b"", "it is not compared")
        self.num_semantic_lookups += 1
        near = self._near(encoded.vector)
        if not near:
            return Looked(Outcome.MISS, "", b"", "no prompt that was answered is near")
        names = [self._clusters[place] for place in near]
        stored = [self._stored[place] for place in near]
        is_scored = policy.kind is not PolicyKind.MIN_SIMILARITY
        scores = self._scores.scores(encoded, stored, names) if is_scored else [0.0] * len(near)
        found = sorted(zip(scores, names, near, strict=True), key=lambda each: -each[0])
        if policy.kind is not PolicyKind.MAX_ERROR_RATE:
            similarities = [float(self._stored[place].vector @ encoded.vector) for *_, place in found]
            return self._by_threshold(policy, found, similarities)
        return self._by_decision(prompt, policy, found)

    def _by_decision(self, prompt: str, policy: Policy, found: list[tuple[float, str, int]]) -> Looked:
        candidates = [Candidate(name, score, self._created_s[place]) for score, name, place in found]
        self.seen.append(Seen(prompt, candidates, [self._stored[place].text for *_, place in found]))
        decision = self.decider.decide(candidates, max_error_rate=policy.value, prompt_key=prompt.encode())
        _, cluster, place = found[decision.index]
        self._explored = _Explored(cluster, decision)
        self.num_audits += decision.is_audit
        is_served = decision.kind is DecisionKind.SERVE
        return Looked(
            Outcome.SEMANTIC_HIT if is_served else Outcome.EXPLORE,
            self._stored[place].text,
            b"" if is_served else b"explore",
            decision.reason,
        )

    def _by_threshold(self, policy: Policy, found: list[tuple[float, str, int]], similarities: list[float]) -> Looked:
        values = similarities if policy.kind is PolicyKind.MIN_SIMILARITY else [sigmoid(score) for score, *_ in found]
        best = max(range(len(found)), key=lambda index: values[index])
        if values[best] < policy.value:
            return Looked(Outcome.MISS, "", b"", "below the threshold")
        return Looked(Outcome.SEMANTIC_HIT, self._stored[found[best][2]].text, b"", "")

    def put(
        self,
        tenant: str,  # noqa: ARG002 - as the client has it
        prompt: str,
        answer: str,  # noqa: ARG002
        *,
        exploration_token: bytes = b"",
        is_equivalent: bool | None = None,
    ) -> Kept:
        """Learns, and stores the prompt with its cluster."""
        cluster = prompt
        if exploration_token and self._explored and is_equivalent is not None:
            of, decision = self._explored.cluster, self._explored.decision
            self.decider.learn(Label(of, decision.score, is_equivalent, decision.propensity, self._now_s))
            cluster = of if is_equivalent else prompt
        self._exact.add(prompt)
        encoded = self._comparable(prompt)
        if encoded is not None:
            self._vectors[len(self._stored)] = encoded.vector
            self._stored.append(encoded)
            self._clusters.append(cluster)
            self._created_s.append(self._now_s)
        return Kept(prompt, is_equivalent)

    def _comparable(self, prompt: str) -> EncodedPrompt | None:
        encoded = self._prompts[prompt]
        return None if isinstance(encoded, UnreadablePromptError) or bond_of(prompt) is not None else encoded

    def _near(self, vector: NDArray[np.float32]) -> list[int]:
        similarity = self._vectors[: len(self._stored)] @ vector
        nearest = np.argsort(-similarity, kind="stable")[:_NUM_NEIGHBOURS]
        return [int(place) for place in nearest if similarity[place] >= _MIN_SIMILARITY]


def _dimension(prompts: dict[str, EncodedPrompt | UnreadablePromptError]) -> int:
    return next(len(each.vector) for each in prompts.values() if isinstance(each, EncodedPrompt))
