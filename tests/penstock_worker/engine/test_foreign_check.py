"""The check at load sees a single row that is wrong, and a neighbour that shows through."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from penstock_worker.engine.foreign_check import check_against_transformers
from penstock_worker.models.attention_config import AttentionConfig
from penstock_worker.models.decoder import Attend
from penstock_worker.models.foreign_decoder import ATTENTION_NAME, ForeignDecoder
from penstock_worker.models.registry import read_model_config


class _OneWrongRow(ForeignDecoder):
    """The token at position 30 sees nothing right."""

    def hidden_states(self, token_ids: torch.Tensor, positions: torch.Tensor, attend: Attend) -> torch.Tensor:
        hidden = super().hidden_states(token_ids, positions, attend)
        hidden[positions == 30] *= -1.0
        return hidden


class _Leaking(ForeignDecoder):
    """A little of all that is in a step is in each token."""

    def hidden_states(self, token_ids: torch.Tensor, positions: torch.Tensor, attend: Attend) -> torch.Tensor:
        hidden = super().hidden_states(token_ids, positions, attend)
        return hidden + 5e-4 * hidden.mean(dim=0)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (_OneWrongRow, "its logits differ from transformers' own by"),
        (_Leaking, "its logits of one text differ by"),
        (ForeignDecoder, None),
    ],
)
def test_what_is_wrong_in_few_rows_or_beside_others_is_seen(
    kind: type[ForeignDecoder], reason: str | None, checkpoint: Callable[[str], Path]
) -> None:
    """Half of the rows say nothing of the rest, and one neighbour nothing of the next."""
    module = AutoModelForCausalLM.from_pretrained(checkpoint("llama"), dtype=torch.float32)
    decoder = kind(module.eval())
    module.set_attn_implementation(ATTENTION_NAME)
    _, config = read_model_config(checkpoint("llama"))
    attention = AttentionConfig(windows=(None,) * config.num_layers, scale=config.head_dim**-0.5)

    def check() -> None:
        with torch.inference_mode():
            check_against_transformers(decoder, config, attention, dtype=torch.float32, device=torch.device("cpu"))

    if reason is None:
        check()
    else:
        with pytest.raises(ValueError, match=reason):
            check()
