"""Greedy parity with transformers, fair to near-ties.

Two correct implementations add in different orders, so where the two best logits are nearly equal each may pick
another. Such a mismatch counts as equal, and the comparison goes on with the token that was picked (teacher-forced).
Any other mismatch is an error.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from transformers import AutoModelForCausalLM

TIE_GAP = 1e-4
"""Largest gap of the two best logits, in nats, at which a mismatch counts as equal; float32."""


class ReferenceModel:
    """A checkpoint run by transformers, unbatched, in float32 unless told otherwise."""

    def __init__(self, model_dir: Path, dtype: torch.dtype = torch.float32) -> None:
        model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype, attn_implementation="eager")
        self._model = model.eval()

    @torch.inference_mode()
    def logits(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Logits after each token: float32 [len(token_ids), vocab_size]."""
        logits: torch.Tensor = self._model(torch.tensor([list(token_ids)]), use_cache=False).logits[0].float()
        return logits

    @torch.inference_mode()
    def hidden(self, token_ids: Sequence[int]) -> torch.Tensor:
        """The last hidden state of each token, after the final norm: float32 [len(token_ids), hidden_size]."""
        states = self._model(torch.tensor([list(token_ids)]), use_cache=False, output_hidden_states=True).hidden_states
        hidden: torch.Tensor = states[-1][0]
        return hidden


class Reference(Protocol):
    """What says which token is right."""

    def logits(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Logits after each token: float32 [len(token_ids), vocab_size]."""
        ...


def assert_greedy_equal(
    reference: Reference,
    prompt_ids: Sequence[int],
    token_ids: Sequence[int],
    *,
    stop_token_id: int | None = None,
    tie_gap: float = TIE_GAP,
) -> None:
    """Asserts that `token_ids` is what greedy decoding of `prompt_ids` gives, but for near-ties.

    Args:
        reference: decides.
        prompt_ids: at least one token.
        token_ids: the output, without a stop token.
        stop_token_id: the token that ended the output, where one did; it must be the next greedy one.
        tie_gap: how near a tie must be.
    """
    produced = [*token_ids, *([] if stop_token_id is None else [stop_token_id])]
    assert produced, "nothing was generated"
    after = reference.logits([*prompt_ids, *produced[:-1]])[len(prompt_ids) - 1 :]
    gaps = after.max(dim=-1).values - after.gather(1, torch.tensor(produced).unsqueeze(1)).squeeze(1)
    top_two = after.topk(2, dim=-1).values
    for position, (token_id, gap) in enumerate(zip(produced, gaps.tolist(), strict=True)):
        best = int(after[position].argmax())
        assert token_id == best or gap <= tie_gap, (
            f"output token {position} is {token_id}, transformers says {best}, "
            f"whose logit is {gap:.2e} greater; top two are {top_two[position].tolist()}"
        )
