"""What is sent. A conversation follows from the seed and its number alone, whatever the server does meanwhile."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.bench.lengths import Lengths


@dataclass(frozen=True, slots=True)
class WorkloadShape:
    """How the requests look.

    Attributes:
        prompt_tokens: new tokens of a turn, besides prefix and history.
        output_tokens: exact length of an answer.
        turns: requests of a conversation; each but the first repeats all that was said before.
        prefix_tokens: length of what stands in front of each conversation.
        num_prefixes: how many different such prefixes there are.
    """

    prompt_tokens: Lengths
    output_tokens: Lengths
    turns: Lengths
    prefix_tokens: int = 0
    num_prefixes: int = 1


@dataclass(frozen=True, slots=True)
class Turn:
    """One request: the token ids that it adds, how many the answer shall have, and the seed of its sampling."""

    new_token_ids: tuple[int, ...]
    num_output_tokens: int
    sampling_seed: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """Requests that follow each other; `is_cut` where the context had no room for all that was drawn."""

    index: int
    turns: tuple[Turn, ...]
    is_cut: bool


def plain_token_ids(vocab_size: int, eos_token_ids: Sequence[int]) -> tuple[int, ...]:
    """Token ids that stand for ordinary text: the middle half of the vocabulary.

    Tokenizers keep control tokens, single bytes and unused entries at its two ends.
    """
    return tuple(token for token in range(vocab_size // 4, vocab_size * 3 // 4) if token not in eos_token_ids)


class Workload:
    """Conversations by number.

    Args:
        shape: how they look.
        token_ids: what prompts are made of.
        context_length: most tokens of prompt and output together. Prompts, then answers, are cut to fit; a turn that
            has no room at all is left out.
        seed: decides everything.
    """

    def __init__(self, shape: WorkloadShape, *, token_ids: Sequence[int], context_length: int, seed: int) -> None:
        if shape.prefix_tokens + 2 > context_length:
            raise ValueError(
                f"a prefix of {shape.prefix_tokens} tokens leaves no room in a context of {context_length}"
            )
        self._shape = shape
        self._token_ids = token_ids
        self._context_length = context_length
        self._seed = seed
        self._prefixes = [self._prefix(index) for index in range(shape.num_prefixes)]

    def conversation(self, index: int) -> Conversation:
        """The conversation of that number, from 0."""
        rng = self._rng("conversation", index)
        num_turns = self._shape.turns.draw(rng)
        new_ids: tuple[int, ...] = rng.choice(self._prefixes)
        room = self._context_length - len(new_ids)
        turns: list[Turn] = []
        is_cut = False
        for _ in range(num_turns):
            num_prompt, num_output = self._shape.prompt_tokens.draw(rng), self._shape.output_tokens.draw(rng)
            if room < 2:  # noqa: PLR2004 - one token to ask, one to answer
                return Conversation(index, tuple(turns), is_cut=True)
            fitting_prompt = min(num_prompt, room - 1)
            fitting_output = min(num_output, room - fitting_prompt)
            is_cut |= (fitting_prompt, fitting_output) != (num_prompt, num_output)
            new_ids += self._draw_ids(rng, fitting_prompt)
            turns.append(Turn(new_ids, fitting_output, rng.getrandbits(32)))
            room -= fitting_prompt + fitting_output
            new_ids = ()
        return Conversation(index, tuple(turns), is_cut)

    def _prefix(self, index: int) -> tuple[int, ...]:
        return self._draw_ids(self._rng("prefix", index), self._shape.prefix_tokens)

    def _draw_ids(self, rng: random.Random, num_tokens: int) -> tuple[int, ...]:
        return tuple(rng.choices(self._token_ids, k=num_tokens))

    def _rng(self, kind: str, index: int) -> random.Random:
        return random.Random(f"{self._seed}/{kind}/{index}")  # noqa: S311 - a plan, not a secret
