"""A link between two stages of one host."""

import torch

from penstock_worker.parallel.shared_region import NUM_SLOTS, SharedRegion


class SharedMemoryLink:
    """`StageLink` for tensors on the CPU. One process sends, one receives.

    Args:
        region: shared by both.
        stage: that sends.
        tp_rank: of both.
    """

    def __init__(self, region: SharedRegion, stage: int, tp_rank: int) -> None:
        area = region.layout.link_area(stage, tp_rank)
        self._slot_bytes = region.layout.slot_bytes
        self._sent, self._received = region.counter(area, 0), region.counter(area, 1)
        memory = torch.frombuffer(region.memory, dtype=torch.uint8)
        starts = [region.slot_offset(area, index) for index in range(NUM_SLOTS)]
        self._slots = [memory[start : start + self._slot_bytes] for start in starts]

    def send(self, hidden: torch.Tensor) -> None:
        """See `StageLink`."""
        for piece in self._pieces(hidden):
            number = self._sent.value
            self._received.wait_for(number - NUM_SLOTS + 1)
            self._slots[number % NUM_SLOTS][: piece.nbytes].view(piece.dtype).copy_(piece)
            self._sent.set(number + 1)

    def receive(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `StageLink`."""
        for piece in self._pieces(hidden):
            number = self._received.value
            self._sent.wait_for(number + 1)
            piece.copy_(self._slots[number % NUM_SLOTS][: piece.nbytes].view(piece.dtype))
            self._received.set(number + 1)
        return hidden

    def _pieces(self, hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.split(hidden.view(-1), self._slot_bytes // hidden.element_size())
