"""What judges whether a stored answer serves a prompt."""

from collections.abc import Sequence
from typing import Protocol

from penstock_cache.semantic.prompts import EncodedPrompt


class Verifier(Protocol):
    """Scores pairs of prompts; synchronous, runs on a thread of its own, one call at a time.

    Attributes:
        fingerprint: of weights and settings; scores of different ones mean different things.
    """

    @property
    def fingerprint(self) -> str:
        """Of weights and settings."""

    def refusal(self, prompt: EncodedPrompt) -> str:
        """Why this prompt is not judged, neither as a query nor as a candidate; empty where it is."""

    def scores(self, query: EncodedPrompt, candidates: Sequence[EncodedPrompt], clusters: Sequence[str]) -> list[float]:
        """For each candidate the logit of the probability that its answer serves the query.

        All candidates are in view, for one that lies nearer speaks against the others. `clusters` says which of them
        are known to share one answer.
        """
