"""Whether a checkpoint has the tensors that its configuration implies."""

import math
from collections.abc import Iterable

import torch

from penstock_worker.models.cut import Cuts, sizes
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.loader import Checkpoint, Shape
from penstock_worker.models.rounded_checkpoint import RoundedCheckpoint
from penstock_worker.models.weight_reader import WeightReader


def check_tensors(checkpoint: Checkpoint | RoundedCheckpoint, config: DecoderConfig) -> int:
    """Compares the tensors of a checkpoint with those that its configuration implies.

    Returns:
        The number of parameters, tied ones counted once.

    Raises:
        InvalidArgumentError: names the tensors that are missing, unexpected or of another shape.
    """
    expected = _ShapeRecorder(checkpoint.names)
    WeightReader(expected, config, dtype=torch.float32, device=torch.device("meta")).read()
    suffixes, prefixes = config.names.ignored_suffixes, config.names.ignored_prefixes
    ignored = {name for name in checkpoint.names if name.endswith(suffixes) or name.startswith(prefixes)}
    if config.has_tied_embeddings:
        ignored.add(f"{config.names.output_projection}.weight")
    checkpoint.check_shapes(expected.shapes, frozenset(ignored - expected.shapes.keys()))
    return sum(map(math.prod, expected.shapes.values()))


class _ShapeRecorder:
    """A source without numbers: keeps the shapes that are asked for."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = names
        self.shapes: dict[str, Shape] = {}

    def read(self, name: str, cuts: Cuts) -> torch.Tensor:
        """An empty tensor of that shape."""
        self.shapes[name] = sizes(cuts)
        return torch.empty(self.shapes[name], device="meta")

    def grid(self, name: str, cuts: Cuts) -> None:
        """None: there are no numbers."""
