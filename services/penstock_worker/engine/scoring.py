"""Which prompt tokens a step scores: their log probabilities given the tokens before them. Needs no torch."""

from array import array
from typing import NamedTuple

from penstock_worker.engine.sequence import Sequence

# Each scored token costs a row of the output projection, and its alternatives travel to the client in one message.
_MAX_SCORED_CHUNK_TOKENS = 256


class Scoring(NamedTuple):
    """The part of a chunk's tokens after which the next prompt token is scored.

    Attributes:
        first: index in the chunk of the first of them.
        target_ids: the prompt token that follows each; int64.
        num_alternatives: most likely tokens to report beside each.
    """

    first: int
    target_ids: "array[int]"
    num_alternatives: int


def scoring_of(sequence: Sequence, start: int, end: int) -> Scoring | None:
    """What is to be scored while positions `start` to `end` are computed; None: nothing.

    Computed again after a preemption, a token that has its score gets no second one.
    """
    num_alternatives = sequence.request.prompt_logprobs
    if num_alternatives is None:
        return None
    first = max(start, sequence.num_scored_tokens - 1)
    last = min(end, len(sequence.request.prompt_token_ids) - 1)
    if first >= last:
        return None
    return Scoring(first - start, sequence.token_ids[first + 1 : last + 1], num_alternatives)


def bounded_chunk(sequence: Sequence, num_tokens: int) -> int:
    """How many of `num_tokens` tokens one step may compute: fewer while the prompt is being scored."""
    is_scoring = sequence.request.prompt_logprobs is not None
    is_scoring = is_scoring and sequence.num_scored_tokens < len(sequence.request.prompt_token_ids)
    return min(num_tokens, _MAX_SCORED_CHUNK_TOKENS) if is_scoring else num_tokens
