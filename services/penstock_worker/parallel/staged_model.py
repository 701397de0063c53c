"""The part of a decoder that one process holds, behind the interface of a whole one."""

from dataclasses import replace

import torch

from penstock_worker.models.decoder import Attend, Decoder
from penstock_worker.models.model_shape import RunnableModel
from penstock_worker.parallel.stage_link import StageLink
from penstock_worker.parallel.wiring import Wiring


def staged(model: RunnableModel, wiring: Wiring) -> RunnableModel:
    """A part of a model, with its place between the stages."""
    assert isinstance(model.model, Decoder), "only our own decoders are cut into parts"
    part = StagedModel(
        model.model,
        hidden_size=model.shape.hidden_size,
        dtype=model.dtype,
        below=wiring.below,
        above=wiring.above,
    )
    return replace(model, model=part)


class StagedModel:
    """A `Model` whose hidden states come from the stage below and go to the stage above.

    Args:
        decoder: its layers.
        hidden_size: width of the residual stream.
        dtype: of hidden states.
        below: from the stage below; None: this is the first one.
        above: to the stage above; None: this is the last one.
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        hidden_size: int,
        dtype: torch.dtype,
        below: StageLink | None,
        above: StageLink | None,
    ) -> None:
        self._decoder = decoder
        self._hidden_size = hidden_size
        self._dtype = dtype
        self._below = below
        self._above = above

    def hidden_states(self, token_ids: torch.Tensor, positions: torch.Tensor, attend: Attend) -> torch.Tensor:
        """See `Decoder.hidden_states`; after the last layer of this stage."""
        if self._below is None:
            hidden = self._decoder.embed(token_ids, positions)
        else:
            size = (len(token_ids), self._hidden_size)
            hidden = self._below.receive(torch.empty(size, dtype=self._dtype, device=token_ids.device))
        hidden = self._decoder.run_layers(hidden, positions, attend)
        if self._above is not None:
            self._above.send(hidden)
        return hidden

    def final_hidden(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `Decoder.final_hidden`."""
        return self._decoder.final_hidden(hidden)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `Decoder.logits`."""
        return self._decoder.logits(hidden)
