"""Stored prompts that are near to one that is asked, scored by the verifier."""

import asyncio
from collections import OrderedDict
from concurrent.futures import Executor
from dataclasses import dataclass

from penstock_cache.entries import Neighbour, PromptScope, SemanticPart
from penstock_cache.semantic.encoder import Encoder, UnreadablePromptError
from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.semantic.question import Question
from penstock_cache.semantic.verifier import Verifier
from penstock_cache.store import Store

_MAX_RECENT = 512


@dataclass(frozen=True, slots=True)
class Match:
    """A neighbour and the verifier's logit that its answer serves."""

    neighbour: Neighbour
    score: float


class MatchFinder:
    """Encodes, searches and verifies.

    Args:
        store: has the prompts.
        encoder: of prompts.
        verifier: of pairs.
        executor: one thread, where the verifier runs.
        num_neighbours: how many of the nearest the verifier sees.
        min_similarity: what is farther away is no match.
    """

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        verifier: Verifier,
        executor: Executor,
        *,
        num_neighbours: int,
        min_similarity: float,
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._verifier = verifier
        self._executor = executor
        self._num_neighbours = num_neighbours
        self._min_similarity = min_similarity
        # An answer is put a moment after its lookup missed. Kept by tenant: how long a lookup takes must not tell what
        # another tenant has asked.
        self._recent: OrderedDict[tuple[str, str], EncodedPrompt] = OrderedDict()

    @property
    def encoder_fingerprint(self) -> str:
        """Of the encoder whose vectors are searched."""
        return self._encoder.fingerprint

    async def find(self, question: Question) -> list[Match]:
        """Matches, best first.

        Raises:
            UnreadablePromptError: the encoder or the verifier does not see the whole prompt.
            EncoderError: of the encoder.
            PenstockError: of the store.
        """
        scope = PromptScope(question.tenant, question.context_digest, self._encoder.fingerprint)
        if not await self._store.has_prompts(scope):
            return []  # as in most turns of a conversation: its history is nobody else's, and encoding is what costs
        prompt = await self._encode(question, is_urgent=True)
        found = await self._store.neighbours(scope, prompt.vector, self._num_neighbours)
        near = [neighbour for neighbour in found if self._is_comparable(neighbour)]
        if not near:
            return []
        scores = await asyncio.get_running_loop().run_in_executor(
            self._executor,
            self._verifier.scores,
            prompt,
            [neighbour.prompt for neighbour in near],
            [neighbour.cluster for neighbour in near],
        )
        matches = [Match(*pair) for pair in zip(near, scores, strict=True)]
        return sorted(matches, key=lambda match: -match.score)

    async def part_of(self, question: Question, cluster: str | None) -> SemanticPart:
        """By what an answer to this question is found.

        Raises:
            UnreadablePromptError, EncoderError: as in `find`.
        """
        prompt = await self._encode(question, is_urgent=False)
        return SemanticPart(question.context_digest, prompt, self._encoder.fingerprint, cluster)

    def _is_comparable(self, neighbour: Neighbour) -> bool:
        return neighbour.similarity >= self._min_similarity and not self._verifier.refusal(neighbour.prompt)

    async def _encode(self, question: Question, *, is_urgent: bool) -> EncodedPrompt:
        key = (question.tenant, question.prompt)
        found = self._recent.get(key)
        if found is None:
            found = await self._encoder.encode(question.prompt, is_urgent=is_urgent)
            self._recent[key] = found
            if len(self._recent) > _MAX_RECENT:
                self._recent.popitem(last=False)
        refusal = self._verifier.refusal(found)
        if refusal:
            raise UnreadablePromptError(refusal)
        return found
