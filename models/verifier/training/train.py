"""Makes the verifier's weights: encodings, features, trees, a head, calibration, curves.

Run: `python models/verifier/training/train.py --cache DIR`

Writes verifier.safetensors, metrics.json and curves.png into models/verifier, or where `--output` says. The weights are
fitted on the authored prompts only, so that the figures, which come from the development prompts, are figures of these
very weights; only the slope and offset of the calibration are fitted on the latter. DIR keeps the encodings between
runs.
"""

import argparse
import functools
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
from boosting import fit_trees
from encoded_prompts import Basis, load_or_encode
from head_corpus import Corpus
from heads import train_heads
from numpy.typing import NDArray
from prompts import Prompts, load_prompts
from rarity import Rarity, rarity
from replays import Group, groups
from weights_file import save_weights

from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.semantic.verification.alignment_heads import AlignmentHeads
from penstock_cache.semantic.verification.trained_verifier import TrainedVerifier, Vote
from penstock_cache.semantic.verification.trees import Trees

MODEL = Path(__file__).parents[1]
EQUAL_VOTE = Vote(trees=0.5, heads=0.5, offset=0.0)
ALIGNED_LAYERS = (0, 1, 3)
"""Places among the stored layers, for the trees."""


NO_HEADS: dict[str, NDArray[Any]] = {"rarity": np.zeros(1, np.uint8)}


@dataclass(frozen=True, slots=True)
class Examples:
    """What the trees learn from: one row a pair."""

    features: NDArray[np.float32]
    serves: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Material:
    """All that is known before anything is learned."""

    prompts: Prompts
    encoded: list[EncodedPrompt]
    basis: Basis
    rarity: Rarity

    @property
    def vectors(self) -> NDArray[np.float32]:
        """[num_prompts, dimension]."""
        return np.stack([prompt.vector for prompt in self.encoded])

    def verifier(self, trees: Trees, heads: dict[str, NDArray[Any]]) -> TrainedVerifier:
        """As the service has it."""
        return TrainedVerifier(
            self.basis.codec(),
            layers=ALIGNED_LAYERS,
            rarity=self.rarity.of_stem,
            unknown_rarity=self.rarity.unknown,
            trees=trees,
            heads=AlignmentHeads(heads),
            vote=EQUAL_VOTE,
            fingerprint="in training",
        )


@functools.cache
def material(cache: Path) -> Material:
    """Reads; encodes what is not encoded yet."""
    prompts, basis, encoded = load_or_encode(load_prompts(), cache)
    return Material(prompts, encoded, basis, rarity([prompts.texts[number] for number in prompts.authored]))


def examples(cache: Path, source: str) -> Examples:
    """Of one authored file, which is one replay: queries against their nearest stored prompts, siblings above all."""
    given = material(cache)
    no_trees = Trees(*(np.zeros((1, 1), kind) for kind in ("i2", "f4", "u4", "f4")), base=0.0)
    blank = given.verifier(no_trees, NO_HEADS)
    features, serves, vectors = [], [], given.vectors
    for group in groups(given.prompts.of_source(source), vectors, given.prompts.classes, 0):
        features.append(_features(blank, given.encoded, group))
        serves.append(given.prompts.classes[group.candidates] == given.prompts.classes[group.query])
    print(f"{source}: {sum(map(len, serves))} pairs", flush=True)
    return Examples(np.concatenate(features), np.concatenate(serves))


def trained_heads(cache: Path) -> dict[str, NDArray[Any]]:
    """The head, in a process of its own, from what the folder holds."""
    given = material(cache)
    corpus = Corpus(given.prompts, given.encoded, given.basis.codec(), given.prompts.authored)
    return train_heads(corpus, given.prompts.authored)


def _features(verifier: TrainedVerifier, encoded: list[EncodedPrompt], group: Group) -> NDArray[np.float32]:
    candidates = [encoded[number] for number in group.candidates]
    return verifier.features(encoded[group.query], candidates, group.clusters)


def main() -> None:
    """Trains, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the encodings")
    parser.add_argument("--processes", type=int, default=2, help="that work side by side")
    parser.add_argument("--output", type=Path, default=MODEL, help="folder that the weights go to")
    options = parser.parse_args()
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=spawning) as beside:
        load_or_encode(load_prompts(), options.cache, beside)
        given = material(options.cache)
        head = beside.submit(trained_heads, options.cache)
        sources = dict.fromkeys(given.prompts.sources[given.prompts.authored].tolist())
        pairs = list(beside.map(examples, [options.cache] * len(sources), sources))
        trees = fit_trees(
            np.concatenate([part.features for part in pairs]), np.concatenate([part.serves for part in pairs])
        )
        heads = head.result()
        figures = evaluate.figures(given.verifier(trees, heads), given.prompts, given.encoded, beside)
    evaluate.plot(figures, options.output)
    slope, offset = figures.calibration
    save_weights(
        options.output / "verifier.safetensors",
        basis=given.basis,
        rarity=given.rarity,
        trees=trees,
        aligned_layers=ALIGNED_LAYERS,
        heads=heads,
        vote=Vote(slope * EQUAL_VOTE.trees, slope * EQUAL_VOTE.heads, offset),
    )
    (options.output / "metrics.json").write_text(json.dumps(figures.summary(), indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures.summary(), indent=2))


if __name__ == "__main__":
    main()
