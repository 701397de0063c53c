"""Writes what the service loads."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from encoded_prompts import LAYERS, Basis
from numpy.typing import NDArray
from rarity import Rarity
from safetensors.numpy import save_file

from penstock_cache.semantic.verification.trained_verifier import FORM, Vote
from penstock_cache.semantic.verification.trees import Trees


def save_weights(
    path: Path,
    *,
    basis: Basis,
    rarity: Rarity,
    trees: Trees,
    aligned_layers: tuple[int, ...],
    heads: Mapping[str, NDArray[Any]],
    vote: Vote,
) -> None:
    """One safetensors file with all that a verifier is made of."""
    stems = sorted(rarity.of_stem)
    arrays = {
        "codec.means": basis.means,
        "codec.bases": basis.bases,
        "rarity.stems": np.frombuffer("\n".join(stems).encode(), np.uint8),
        "rarity.values": np.array([rarity.of_stem[stem] for stem in stems], np.float32),
        **{f"trees.{name}": getattr(trees, name) for name in ("feature", "threshold", "right", "value")},
        **heads,
    }
    metadata = {
        "form": FORM,
        "stored_layers": LAYERS,
        "aligned_layers": aligned_layers,
        "unknown_rarity": rarity.unknown,
        "base": trees.base,
        "vote": asdict(vote),
    }
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, path, {"verifier": json.dumps(metadata)}
    )
