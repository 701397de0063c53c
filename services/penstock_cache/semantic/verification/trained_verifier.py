"""The verifier that ships: boosted trees over features and an attention head over the tokens vote on candidates."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.semantic.verification.alignment_heads import AlignmentHeads
from penstock_cache.semantic.verification.candidate_set import CandidateSet, candidate_set
from penstock_cache.semantic.verification.candidate_tokens import MAX_TOKENS
from penstock_cache.semantic.verification.pair_features import pair_features
from penstock_cache.semantic.verification.prompt_words import prompt_words
from penstock_cache.semantic.verification.token_codec import StoredTokens, TokenCodec
from penstock_cache.semantic.verification.trees import Trees
from penstock_shared.errors import FailedPreconditionError

# Of how features are computed here; weights of another number do not fit.
FORM = "2"


@dataclass(frozen=True, slots=True)
class Vote:
    """Makes one calibrated logit of two.

    Attributes:
        trees, heads: weights of their logits.
        offset: added.
    """

    trees: float
    heads: float
    offset: float


class TrainedVerifier:
    """`Verifier` has the contract; one call at a time.

    Args:
        codec: reads what `EncodedPrompt.detail` holds.
        layers: places, among the stored layers, of those that words are aligned in.
        rarity: of stems; how much a word decides.
        unknown_rarity: of all other stems.
        trees: over the features.
        heads: over the tokens.
        vote: of both.
        fingerprint: of all of these.

    Attributes:
        codec: makes the details that this verifier reads.
        fingerprint: of the weights.
    """

    def __init__(
        self,
        codec: TokenCodec,
        *,
        layers: tuple[int, ...],
        rarity: Mapping[str, float],
        unknown_rarity: float,
        trees: Trees,
        heads: AlignmentHeads,
        vote: Vote,
        fingerprint: str,
    ) -> None:
        self.codec = codec
        self.fingerprint = fingerprint
        self._layers = layers
        self._rarity = rarity
        self._unknown_rarity = unknown_rarity
        self._trees = trees
        self._heads = heads
        self._vote = vote

    def refusal(self, prompt: EncodedPrompt) -> str:
        """Longer prompts are unlike all that it has learned from, and the heads do not see their end."""
        is_too_long = self.codec.num_tokens(prompt.detail) > MAX_TOKENS
        return f"the prompt is longer than the {MAX_TOKENS} tokens that are compared" if is_too_long else ""

    def scores(self, query: EncodedPrompt, candidates: Sequence[EncodedPrompt], clusters: Sequence[str]) -> list[float]:
        """Calibrated logit for each candidate."""
        if not candidates:
            return []
        scores: list[float] = self.combined(*self.votes(query, candidates, clusters)).tolist()
        return scores

    def combined(self, trees: NDArray[np.float32], heads: NDArray[np.float32]) -> NDArray[np.float32]:
        """One calibrated logit of two votes."""
        return self._vote.trees * trees + self._vote.heads * heads + np.float32(self._vote.offset)

    def votes(
        self, query: EncodedPrompt, candidates: Sequence[EncodedPrompt], clusters: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits of trees and of heads for each candidate, of which there is at least one; not calibrated."""
        prompts = (query, *candidates)
        tokens = [self.codec.tokens(prompt.detail) for prompt in prompts]
        vectors = np.stack([prompt.vector for prompt in prompts])
        texts = self._candidate_set(prompts, tokens, vectors, clusters)
        return (
            self._trees.logits(pair_features(texts, self._layers)),
            self._heads.logits(tokens, vectors, texts.is_same),
        )

    def features(
        self, query: EncodedPrompt, candidates: Sequence[EncodedPrompt], clusters: Sequence[str]
    ) -> NDArray[np.float32]:
        """[num_candidates, num_features], what the trees see."""
        prompts = (query, *candidates)
        tokens = [self.codec.tokens(prompt.detail) for prompt in prompts]
        vectors = np.stack([prompt.vector for prompt in prompts])
        return pair_features(self._candidate_set(prompts, tokens, vectors, clusters), self._layers)

    def _candidate_set(
        self,
        prompts: Sequence[EncodedPrompt],
        tokens: Sequence[StoredTokens],
        vectors: NDArray[np.float32],
        clusters: Sequence[str],
    ) -> CandidateSet:
        words = [
            prompt_words(prompt.text, each, self._rarity, self._unknown_rarity)
            for prompt, each in zip(prompts, tokens, strict=True)
        ]
        return candidate_set(words, tokens, vectors[1:] @ vectors[0], clusters)


def load_verifier(path: Path) -> TrainedVerifier:
    """The verifier of a weights file.

    Raises:
        FailedPreconditionError: the file is missing or no such weights.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads(file.metadata()["verifier"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise FailedPreconditionError(f"no verifier can be loaded from {path}: {reason}") from error
    if metadata["form"] != FORM:
        raise FailedPreconditionError(f"{path} has weights of form {metadata['form']}; this version reads form {FORM}")
    return _verifier(arrays, metadata)


def _verifier(arrays: dict[str, NDArray[Any]], metadata: dict[str, Any]) -> TrainedVerifier:
    stems = arrays["rarity.stems"].tobytes().decode().split("\n")
    fields = ("feature", "threshold", "right", "value")
    codec_arrays = (arrays["codec.means"], arrays["codec.bases"])
    return TrainedVerifier(
        TokenCodec(tuple(metadata["stored_layers"]), *codec_arrays, _digest(*codec_arrays)),
        layers=tuple(metadata["aligned_layers"]),
        rarity=dict(zip(stems, arrays["rarity.values"].tolist(), strict=True)),
        unknown_rarity=metadata["unknown_rarity"],
        trees=Trees(**{name: arrays[f"trees.{name}"] for name in fields}, base=metadata["base"]),
        heads=AlignmentHeads(arrays),
        vote=Vote(**metadata["vote"]),
        fingerprint=_digest(*(arrays[name] for name in sorted(arrays)), json.dumps(metadata, sort_keys=True)),
    )


def _digest(*parts: NDArray[Any] | str) -> str:
    digest = hashlib.sha256(FORM.encode())
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
