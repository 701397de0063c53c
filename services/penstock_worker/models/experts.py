"""Routed experts: each token goes to a few of many small MLPs."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from penstock_worker.models.fixed_activations import sigmoid
from penstock_worker.models.linear import Linear
from penstock_worker.models.mlp import GatedMlp


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedExperts:
    """A mixture of experts (Shazeer et al. 2017, arXiv 1701.06538) without capacity limits: no token is dropped.

    Each expert runs once a step, on all of its tokens. A token's outputs are added in the order of its own choice, so
    nothing but the rounding of its expert's kernel depends on its neighbours.

    Attributes:
        router: [hidden] to [num_experts].
        experts: all of them.
        num_chosen: experts that a token goes to.
        has_normalized_weights: a token's weights add up to one; else they are shares among all experts.
        shared: the expert that every token goes to, or None.
        shared_gate: [hidden] to [1], scales the shared expert's output.
    """

    router: Linear
    experts: tuple[GatedMlp, ...]
    num_chosen: int
    has_normalized_weights: bool
    shared: GatedMlp | None = None
    shared_gate: Linear | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[num_tokens, hidden] to the same."""
        weights, chosen = self._route(x)
        outputs = self._outputs(x, chosen.flatten()).view(*chosen.shape, -1)
        mixed = torch.bmm(weights.unsqueeze(1), outputs).squeeze(1)
        if self.shared is not None and self.shared_gate is not None:
            mixed.add_(self.shared(x).mul_(sigmoid(self.shared_gate(x))))
        return mixed

    @property
    def projections(self) -> Mapping[str, Linear]:
        """Its projections by name, those of the experts as "experts.3.down"."""
        named = {"router": self.router}
        for index, expert in enumerate(self.experts):
            named |= {f"experts.{index}.{name}": linear for name, linear in expert.projections.items()}
        if self.shared is not None and self.shared_gate is not None:
            named |= {f"shared.{name}": linear for name, linear in self.shared.projections.items()}
            named["shared_gate"] = self.shared_gate
        return named

    def _route(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights, in x's dtype, and indices of each token's experts: both [num_tokens, num_chosen]."""
        shares = self.router(x).softmax(dim=-1, dtype=torch.float32)
        weights, chosen = shares.topk(self.num_chosen, dim=-1)
        if self.has_normalized_weights:
            weights.div_(weights.sum(dim=-1, keepdim=True))
        return weights.to(x.dtype), chosen

    def _outputs(self, x: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """The output of each chosen expert: [num_tokens * num_chosen, hidden], a token's together."""
        order = chosen.argsort(stable=True)
        counts = torch.bincount(chosen, minlength=len(self.experts)).tolist()
        outputs = x.new_empty(len(chosen), x.shape[-1])
        for expert, places in zip(self.experts, torch.split(order, counts), strict=True):
            if len(places):
                outputs.index_copy_(0, places, expert(x.index_select(0, places // self.num_chosen)))
        return outputs
