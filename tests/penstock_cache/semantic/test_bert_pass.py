"""BERT's forward pass."""

import pytest
import torch
from torch.testing import assert_close
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

from penstock_cache.semantic.bert_pass import BertPass

CONFIG = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.2,
}


def test_it_computes_what_transformers_computes_padding_or_not() -> None:
    """The verifier reads every layer; half precision of the weights is all that may show."""
    torch.manual_seed(0)
    model = BertModel(BertConfig(**CONFIG)).eval()
    ids, is_token = torch.randint(50, (3, 7)), torch.arange(7)[None] < torch.tensor([[7], [4], [1]])
    with torch.inference_mode():
        for rows in (slice(None), slice(1)):  # the first has no padding
            states = BertPass(model)(ids[rows], is_token[rows])
            expected = model(ids[rows], attention_mask=is_token[rows].long(), output_hidden_states=True).hidden_states
            for own, theirs in zip(states, expected, strict=True):
                assert_close(own[is_token[rows]], theirs[is_token[rows]], atol=5e-3, rtol=0)


@pytest.mark.parametrize(
    ("model", "is_readable"),
    [
        (BertModel(BertConfig(**CONFIG)), True),
        (BertModel(BertConfig(**CONFIG, hidden_act="relu")), False),
        (BertModel(BertConfig(**CONFIG, is_decoder=True)), False),
        (DistilBertModel(DistilBertConfig(vocab_size=50, dim=32, hidden_dim=48, n_layers=1, n_heads=4)), False),
    ],
)
def test_only_what_it_computes_rightly_is_read(model: torch.nn.Module, *, is_readable: bool) -> None:
    """Any other encoder must go through Transformers, or its vectors mean nothing."""
    assert BertPass.is_readable(model) == is_readable
