"""The simplest verifier: a logistic curve over the cosine. Near misses lie as near as paraphrases: it is never sure."""

from collections.abc import Sequence

from penstock_cache.semantic.prompts import EncodedPrompt

# Fitted by eye on all-MiniLM: even odds at a cosine of 0.92.
_SLOPE = 12.0
_MIDDLE = 0.92


class CosineVerifier:
    """`Verifier` has the contract.

    Attributes:
        fingerprint: of the curve.
    """

    fingerprint = "cosine-1"

    def refusal(self, prompt: EncodedPrompt) -> str:  # noqa: ARG002 - the contract's
        """A cosine is there for any."""
        return ""

    def scores(
        self,
        query: EncodedPrompt,
        candidates: Sequence[EncodedPrompt],
        clusters: Sequence[str],  # noqa: ARG002 - the contract's
    ) -> list[float]:
        """Logits, rising with the cosine."""
        return [_SLOPE * (float(query.vector @ candidate.vector) - _MIDDLE) for candidate in candidates]
