"""What every engine is asked: token ids only, so that no tokenizer is part of the figures."""

import random
from dataclasses import dataclass

Prompts = list[list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Requests that arrive at once.

    Attributes:
        name: names it in results.
        title: for people.
        num_prefix_tokens: shared by all prompts, in front of each.
        prompt_tokens: each prompt's own tokens.
        num_new_tokens: each answer's exact length.
    """

    name: str
    title: str
    num_prefix_tokens: int = 0
    prompt_tokens: tuple[int, ...]
    num_new_tokens: int

    @property
    def max_request_tokens(self) -> int:
        """Of the longest prompt and its answer."""
        return self.num_prefix_tokens + max(self.prompt_tokens) + self.num_new_tokens

    def prompts(self, vocab_size: int, seed: int) -> Prompts:
        """The prompts of one round. Each round has its own tokens: no prefix cache knows them from the round before."""
        draw = random.Random(f"{self.name} {seed}")
        prefix = draw.choices(range(vocab_size), k=self.num_prefix_tokens)
        return [prefix + draw.choices(range(vocab_size), k=length) for length in self.prompt_tokens]


def full_workloads() -> tuple[Workload, ...]:
    """The workloads of the published figures."""
    return (
        Workload(name="single", title="single stream, 128 → 128", prompt_tokens=(128,), num_new_tokens=128),
        Workload(
            name="concurrent",
            title="16 concurrent, 64-256 → 64",
            prompt_tokens=_spread(64, 256, count=16),
            num_new_tokens=64,
        ),
        Workload(
            name="shared_prefix",
            title="16 concurrent, shared 512 + 16 → 64",
            num_prefix_tokens=512,
            prompt_tokens=(16,) * 16,
            num_new_tokens=64,
        ),
    )


def quick_workloads() -> tuple[Workload, ...]:
    """The same three forms, small enough for a test."""
    return (
        Workload(name="single", title="single stream, 8 → 8", prompt_tokens=(8,), num_new_tokens=8),
        Workload(
            name="concurrent", title="4 concurrent, 4-16 → 4", prompt_tokens=_spread(4, 16, count=4), num_new_tokens=4
        ),
        Workload(
            name="shared_prefix",
            title="4 concurrent, shared 32 + 4 → 4",
            num_prefix_tokens=32,
            prompt_tokens=(4,) * 4,
            num_new_tokens=4,
        ),
    )


def _spread(least: int, most: int, *, count: int) -> tuple[int, ...]:
    """Evenly spaced lengths in mixed order, the same in every run."""
    lengths = [least + (most - least) * index // (count - 1) for index in range(count)]
    random.Random(0).shuffle(lengths)
    return tuple(lengths)
