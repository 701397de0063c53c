"""What a cache would reach that knows which prompts share an answer."""

from collections.abc import Sequence

from penstock.bench.cache.answers import Answers, Truth
from penstock.bench.cache.paraphrases import Paraphrase


def oracle_hit_rate(traffic: Sequence[Paraphrase], answers: Answers) -> float | None:
    """Its hits among the requests that are no exact repeats; None of no such request.

    It stores the first prompt of each answer, and serves every other prompt of it.
    """
    stored: dict[Truth, str] = {}
    num_misses = num_hits = 0
    for index, prompt in enumerate(traffic):
        truth = answers.truth(prompt.class_name, index)
        if truth not in stored:
            stored[truth] = prompt.text
            num_misses += 1
        elif stored[truth] != prompt.text:
            num_hits += 1
    return num_hits / (num_hits + num_misses) if traffic else None


def oracle_answered_rate(traffic: Sequence[Paraphrase], answers: Answers) -> float | None:
    """Its answers from the cache, exact repeats among them, a request; None of no request."""
    truths = {answers.truth(prompt.class_name, index) for index, prompt in enumerate(traffic)}
    return 1 - len(truths) / len(traffic) if traffic else None
