"""How much of a model has been read, seen from the projections that are packed as they come."""

from collections.abc import Callable

from penstock_worker.models.linear import Linear


class PackedShare:
    """Counts the weights of projections, which are all of a model but its embedding and norms.

    Args:
        pack: takes each projection.
        num_parameters: of all that is read, about.
        tell: gets the share, from 0 to 1, after each.
    """

    def __init__(
        self, pack: Callable[[str, Linear], None], num_parameters: float, tell: Callable[[float], None]
    ) -> None:
        self._pack = pack
        self._num_parameters = num_parameters
        self._tell = tell
        self._num_packed = 0

    def pack(self, name: str, projection: Linear) -> None:
        """The next one."""
        self._num_packed += projection.weight.numel()
        self._pack(name, projection)
        self._tell(min(1.0, self._num_packed / self._num_parameters))
