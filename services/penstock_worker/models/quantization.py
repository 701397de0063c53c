"""What a model's projections are rounded to at load. Needs no torch: settings and the fleet name it."""

from dataclasses import dataclass
from typing import Literal

Bits = Literal[4, 8]

OUTPUT_PROJECTION = "output_projection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How projections are rounded.

    Attributes:
        bits: of a weight. With 8 activations are rounded too, each token's by itself.
        group_size: 4-bit weights along the input that share a scale.
        eight_bit: kinds of projections that keep 8 bits where the others have 4, e.g. "down".
    """

    bits: Bits
    group_size: int = 32
    eight_bit: frozenset[str] = frozenset({OUTPUT_PROJECTION})

    def bits_of(self, kind: str) -> Bits:
        """Bits of a weight of a projection of this kind."""
        return 8 if kind in self.eight_bit else self.bits


QUANTIZATIONS: dict[str, Quantization | None] = {
    "none": None,
    "int8": Quantization(bits=8),
    "int4": Quantization(bits=4),
}
"""What an operator may ask for."""
