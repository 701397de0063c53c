"""Where the service finds the semantic layer, or why there is none."""

from penstock_cache.semantic.layer import SemanticLayer


class SemanticDoor:
    """Is opened once the layer stands; its encoder takes seconds to load, and the exact layer does not wait for it.

    Attributes:
        layer: None while there is none.
        reason: why there is none.
    """

    def __init__(self, reason: str = "answers are found by the very same request only") -> None:
        self.layer: SemanticLayer | None = None
        self.reason = reason

    def open(self, layer: SemanticLayer) -> None:
        """From now on the layer is asked."""
        self.layer = layer
