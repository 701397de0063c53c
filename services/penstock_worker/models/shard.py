"""Which part of a model one process holds. Needs no torch."""

from dataclasses import dataclass

from penstock_shared.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a model: of every layer of its stage, what belongs to its rank.

    Attributes:
        tp_rank: among the shards that hold parts of the same layers.
        tp_size: how many shards hold parts of the same layers.
        stage: which run of layers, from the lowest.
        num_stages: how many runs the layers are cut into.
    """

    tp_rank: int = 0
    tp_size: int = 1
    stage: int = 0
    num_stages: int = 1

    def __post_init__(self) -> None:
        for name, value, size in (("tp_rank", self.tp_rank, self.tp_size), ("stage", self.stage, self.num_stages)):
            if not 0 <= value < size:
                raise InvalidArgumentError(name, value, f"0 to {size - 1}")

    @property
    def num_shards(self) -> int:
        """Parts that the model is cut into."""
        return self.tp_size * self.num_stages

    @property
    def is_first_stage(self) -> bool:
        """Whether it embeds tokens."""
        return self.stage == 0

    @property
    def is_last_stage(self) -> bool:
        """Whether it computes logits."""
        return self.stage == self.num_stages - 1

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole model."""
        return self.num_shards == 1


WHOLE = Shard()
"""The whole model in one process."""
