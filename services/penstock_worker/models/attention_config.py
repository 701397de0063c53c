"""How a model's layers attend. Needs no torch."""

from dataclasses import dataclass

Windows = tuple[int | None, ...]
"""Per layer, how many positions a token sees, itself included; None sees all before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionConfig:
    """What attention computes from queries, keys and values.

    Attributes:
        windows: per layer, how many positions a token sees, itself included; None sees all before it.
        scale: multiplies the product of a query and a key.
        soft_cap: a score s becomes `soft_cap * tanh(s / soft_cap)`; None leaves it.
        alibi_slopes: per query head, by how much a key's score falls with each position that it lies back (ALiBi, Press
            et al. 2021, arXiv 2108.12409); None has no such bias.
    """

    windows: Windows
    scale: float
    soft_cap: float | None = None
    alibi_slopes: tuple[float, ...] | None = None
