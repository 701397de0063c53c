"""How often the comparison of answers labels an exploration rightly, wrongly, or not: no service, all-MiniLM.

python bench/answer_labels.py --data models/verifier/training/data/paraphrases_dev.jsonl
"""

import argparse
import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

from penstock.bench.cache.answers import reworded
from penstock.bench.cache.paraphrases import load_paraphrases
from penstock_cache.semantic.answers.comparison import AnswerComparison
from penstock_cache.semantic.encoder import EncoderModel, UnreadablePromptError
from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.settings import CacheSettings
from penstock_cache.wiring import load_models

_WRITTEN = Path(__file__).parent / "answer_pairs.jsonl"
_NUM_TELLINGS = 3
_NAMES = {True: "same", False: "different", None: "unknown"}


@dataclass(frozen=True)
class Pair:
    """Two answers to a question, and whether they say the same."""

    question: str
    one: str
    other: str
    is_same: bool


class RememberingEncoder:
    """An `Encoder` over a model, which runs each text once."""

    def __init__(self, model: EncoderModel) -> None:
        self.fingerprint, self.dimension = model.fingerprint, model.dimension
        self._model = model
        self._seen: dict[str, EncodedPrompt | UnreadablePromptError] = {}

    async def encode(self, text: str, *, is_urgent: bool = True) -> EncodedPrompt:  # noqa: ARG002 - the seam's
        """What the model makes of the text."""
        if text not in self._seen:
            (self._seen[text],) = self._model.run([text])
        found = self._seen[text]
        if isinstance(found, UnreadablePromptError):
            raise found
        return found


def written_pairs() -> Iterator[tuple[str, Pair]]:
    """Pairs of the answers that were written for this, each with the name of its set."""
    for line in _WRITTEN.read_text().splitlines():
        each = json.loads(line)
        for one, other in combinations(each["same"], 2):
            yield f"written, {each['set']}", Pair(each["question"], one, other, is_same=True)
        for one, other in product(each["same"], each["different"]):
            yield f"written, {each['set']}", Pair(each["question"], one, other, is_same=False)


def replayed_pairs(data: Path, seed: int) -> Iterator[tuple[str, Pair]]:
    """Pairs as `penstock bench cache --labels production` words them: each class, its family, and a stranger."""
    rng = random.Random(seed)
    paraphrases = load_paraphrases(data)
    prompts, families = defaultdict(list), defaultdict(dict)
    for prompt in paraphrases.prompts:
        prompts[prompt.class_name].append(prompt.text)
        families[prompt.family][prompt.class_name] = None
    for siblings in families.values():
        for name in siblings:
            answer = paraphrases.answers[name]
            others = [other for other in siblings if other != name] + [rng.choice(list(paraphrases.answers))]
            for _ in range(_NUM_TELLINGS):
                question, told = rng.choice(prompts[name]), reworded(answer, rng)
                yield "replayed", Pair(question, told, reworded(answer, rng), is_same=True)
                for other in sorted(set(others) - {name}):
                    told_otherwise = reworded(paraphrases.answers[other], rng)
                    yield "replayed", Pair(question, told, told_otherwise, is_same=False)


def print_confusion(name: str, counts: Counter[tuple[bool, bool | None]]) -> None:
    """One line for what is the same, one for what is not."""
    for truth in (True, False):
        total = sum(counts[truth, label] for label in _NAMES)
        shares = "  ".join(f"{_NAMES[label]} {counts[truth, label] / max(total, 1):6.1%}" for label in _NAMES)
        print(f"{name:20} {_NAMES[truth]:>9}, {total:5} pairs: {shares}")


async def main(arguments: argparse.Namespace) -> None:
    """Compares all pairs and prints what came of it."""
    model, _ = load_models(CacheSettings())
    comparison = AnswerComparison(RememberingEncoder(model), timeout_s=60)
    pairs = list(written_pairs())
    if arguments.data:
        pairs += replayed_pairs(arguments.data, arguments.seed)
    counts: defaultdict[str, Counter[tuple[bool, bool | None]]] = defaultdict(Counter)
    for name, pair in pairs:
        label = await comparison.are_equivalent([pair.one], [pair.other], question=pair.question)
        counts[name][pair.is_same, label] += 1
        if name == arguments.show and label is not pair.is_same:
            print(f"--- {_NAMES[pair.is_same]}, taken for {_NAMES[label]}\n{pair.one}\n~ {pair.other}")
    for name, each in counts.items():
        print_confusion(name, each)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a file of `penstock bench cache`; its wordings are compared besides")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", default="", help="a set whose pairs are printed where they are not labelled rightly")
    asyncio.run(main(parser.parse_args()))
