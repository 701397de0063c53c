"""Routed experts compute what the router chose, token by token."""

import pytest
import torch

from penstock_worker.models.experts import RoutedExperts
from penstock_worker.models.linear import Linear
from penstock_worker.models.mlp import ACTIVATIONS, GatedMlp

HIDDEN, WIDTH, NUM_EXPERTS = 8, 6, 5


def _linear(out_size: int, in_size: int) -> Linear:
    return Linear(torch.randn(out_size, in_size), None)


def _mlp() -> GatedMlp:
    return GatedMlp(_linear(2 * WIDTH, HIDDEN), _linear(HIDDEN, WIDTH), ACTIVATIONS["silu"])


def _experts(*, has_normalized_weights: bool = True, has_shared: bool = False) -> RoutedExperts:
    torch.manual_seed(3)
    return RoutedExperts(
        router=_linear(NUM_EXPERTS, HIDDEN),
        experts=tuple(_mlp() for _ in range(NUM_EXPERTS)),
        num_chosen=2,
        has_normalized_weights=has_normalized_weights,
        shared=_mlp() if has_shared else None,
        shared_gate=_linear(1, HIDDEN) if has_shared else None,
    )


def _one_by_one(experts: RoutedExperts, token: torch.Tensor) -> torch.Tensor:
    """The definition, for one token: [hidden]."""
    shares = experts.router(token).softmax(dim=-1)
    weights, chosen = shares.topk(2)
    if experts.has_normalized_weights:
        weights = weights / weights.sum()
    mixed = sum(weight * experts.experts[index](token) for weight, index in zip(weights, chosen, strict=True))
    assert isinstance(mixed, torch.Tensor)
    if experts.shared is not None and experts.shared_gate is not None:
        mixed = mixed + experts.shared(token) * experts.shared_gate(token).sigmoid()
    return mixed


@pytest.mark.parametrize("has_normalized_weights", [True, False])
@pytest.mark.parametrize("has_shared", [True, False])
@pytest.mark.parametrize("num_tokens", [1, 2, 33])
def test_each_token_gets_its_own_experts(*, has_normalized_weights: bool, has_shared: bool, num_tokens: int) -> None:
    """Sorting tokens by expert and back must not mix them up; with one token most experts have nothing to do."""
    experts = _experts(has_normalized_weights=has_normalized_weights, has_shared=has_shared)
    tokens = torch.randn(num_tokens, HIDDEN)
    expected = torch.stack([_one_by_one(experts, token) for token in tokens])
    torch.testing.assert_close(experts(tokens), expected, rtol=1e-4, atol=1e-5)


def test_every_projection_has_a_name() -> None:
    """What packs, quantizes or adapts projections finds all of them, and each once."""
    named = _experts(has_shared=True).projections
    assert len({id(linear) for linear in named.values()}) == len(named) == 1 + 2 * NUM_EXPERTS + 3
    assert {"router", "experts.4.gate_up", "experts.0.down", "shared.gate_up", "shared_gate"} <= named.keys()
