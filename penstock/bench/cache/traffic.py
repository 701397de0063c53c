"""In which order prompts are asked."""

import random
from collections.abc import Sequence
from enum import StrEnum
from itertools import accumulate

from penstock.bench.cache.paraphrases import Paraphrase

ZIPF_EXPONENT = 1.0
_DEFAULT_ZIPF_REQUESTS = 20_000


class Traffic(StrEnum):
    """How often what is asked."""

    UNIFORM = "uniform"  # every prompt once
    ZIPF = "zipf"  # few classes often, many seldom


def make_traffic(
    prompts: Sequence[Paraphrase], traffic: Traffic, *, num_requests: int | None, seed: int
) -> list[Paraphrase]:
    """The prompts of a run; the same seed gives the same.

    Args:
        prompts: of a file.
        traffic: uniform: all in random order, each once; Zipf: the class by Zipf's law with exponent 1 over a random
            ranking, then one of its prompts, all alike.
        num_requests: how many; None: all prompts, or 20,000 by Zipf's law.
        seed: decides.

    Raises:
        ValueError: there are not so many prompts.
    """
    rng = random.Random(f"{seed}/traffic")  # noqa: S311 - a plan, not a secret
    if traffic is Traffic.ZIPF:
        return _zipf(prompts, _DEFAULT_ZIPF_REQUESTS if num_requests is None else num_requests, rng)
    if num_requests is not None and num_requests > len(prompts):
        raise ValueError(
            f"got {num_requests}; allowed: at most {len(prompts)}, for uniform traffic asks every prompt once; "
            "--traffic zipf repeats them"
        )
    return rng.sample(prompts, len(prompts) if num_requests is None else num_requests)


def _zipf(prompts: Sequence[Paraphrase], num_requests: int, rng: random.Random) -> list[Paraphrase]:
    by_class: dict[str, list[Paraphrase]] = {}
    for prompt in prompts:
        by_class.setdefault(prompt.class_name, []).append(prompt)
    ranking = rng.sample(list(by_class), len(by_class))
    cumulated = list(accumulate((rank + 1) ** -ZIPF_EXPONENT for rank in range(len(ranking))))
    return [rng.choice(by_class[name]) for name in rng.choices(ranking, cum_weights=cumulated, k=num_requests)]
